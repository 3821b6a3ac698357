-- What only the owner of a hypertable may do, for an indexer that is not its
-- owner: on our tables alone, and never to what is younger than an hour.
create function drop_old_chunks(hypertable text, older_than timestamptz) returns int8
language plpgsql security definer set search_path from current as $$
begin
	if hypertable not in ('exchanges', 'open_exchanges', 'rollup_10s', 'rollup_1m', 'rollup_10m', 'rollup_1h', 'rollup_1d') then
		raise exception 'chunks of % are not dropped here', hypertable;
	end if;
	if older_than > now() - interval '1 hour' then
		raise exception 'what is younger than an hour is not dropped';
	end if;
	return (select count(*) from drop_chunks(hypertable::regclass, older_than => $2));
end $$;

-- The time span of chunks of exchanges that are made from now on.
create function set_exchange_chunks(span interval) returns void
language plpgsql security definer set search_path from current as $$
begin
	if span < interval '1 minute' then
		raise exception 'a chunk of % is too short', span;
	end if;
	perform set_chunk_time_interval('exchanges', span), set_chunk_time_interval('open_exchanges', span);
end $$;

revoke all on function drop_old_chunks, set_exchange_chunks from public;
