-- The index: who, what, when, how long, where. Applied once, in one
-- transaction, under an advisory lock; migrations only go forward.
--
-- Text here is sanitised by the writer: valid UTF-8 without NUL, cut to a bound
-- on a rune boundary. Absent ids are NULL, never zero. Times are microseconds
-- (the tape has the nanoseconds, cut, not rounded). Durations and sizes are
-- int8: streams last for hours and bodies pass 2 GiB.
--
-- Ids of workloads and endpoints are the first 8 bytes of SHA-256 over their
-- (sanitised) fields, see events.Row.WorkloadID and EndpointID: the same in
-- every indexer, every shard and after every reindex. An orphan is harmless.
-- No foreign keys: on a hypertable they deadlock with the making of chunks.

create table workloads (
	id         int8        primary key,
	first_seen timestamptz not null default now(),
	cluster    text        not null,
	namespace  text        not null,
	service    text        not null,
	version    text        not null,
	instance   text        not null
);
create index workloads_service on workloads (service, namespace, cluster);

create table endpoints (
	id         int8        primary key,
	alias_of   int8,                     -- endpoint that this one is shown as; applied at read
	first_seen timestamptz not null default now(),
	replay     boolean     not null,     -- sent or caused by a replay: apart everywhere
	direction  text        not null check (direction in ('inbound', 'outbound')),
	cluster    text        not null,
	namespace  text        not null,
	service    text        not null,
	protocol   text        not null,
	host       text        not null,
	method     text        not null,
	template   text        not null      -- of the path, or a normalised statement
);
create index endpoints_service on endpoints (service, namespace, cluster);

-- One row an ended exchange; alone counts. Rows are written by COPY in the
-- transaction of their tape's ledger row and never updated.
create table exchanges (
	time             timestamptz not null, -- of the first byte
	workload_id      int8        not null,
	endpoint_id      int8        not null,
	duration_us      int8        not null, -- to the last byte of the response
	ttfb_us          int8        not null, -- to the first byte of the response; 0 without one
	request_bytes    int8        not null,
	response_bytes   int8        not null,
	span             int8,                 -- the 8 bytes of the W3C span id, big endian
	parent_span      int8,
	id               uuid        not null, -- UUIDv7; holds its own time, so (time, id) finds it by id alone
	tape             uuid        not null,
	connection       uuid,
	session          uuid,                 -- events.SessionID
	trace            uuid,                 -- events.TraceID
	cause            uuid,                 -- exchange that caused this one
	block            int4        not null, -- place of the record in the tape
	position         int4        not null,
	code             int4,                 -- status as a number when it is 1 to 9 digits, else NULL
	flags            int4        not null, -- bits of events.Flag
	cause_confidence real        not null, -- 0 to 1; 0 without a cause
	class            int2        not null, -- events.StatusClass: 1 ok, 2 client, 3 server, 4 failed (and unset)
	status           text        not null, -- as the protocol writes it: '200', 'OUT_OF_RANGE', '40001'
	path             text        not null, -- redacted, without the query, at most 1 KiB
	peer             text        not null, -- address of the other side, host:port
	replay_id        text,
	tags             jsonb                 -- object of strings, at most 8; of equal keys the first
);
select create_hypertable('exchanges', by_range('time', interval '1 day'), create_default_indexes => false);
-- Ascending, never DESC: rows come in that order, and it is scanned backwards
-- at the same speed.
create index exchanges_time     on exchanges (time, id);
create index exchanges_endpoint on exchanges (endpoint_id, time);
create index exchanges_failed   on exchanges (time, id)        where class >= 3;
create index exchanges_trace    on exchanges (trace)           where trace is not null;
create index exchanges_replay   on exchanges (replay_id, time) where replay_id is not null;
-- Where the time was corrected or imported (events.Flag_CLOCK), the id may hold
-- another one.
create index exchanges_clock    on exchanges (id)              where flags & 8 <> 0;

-- Exchanges that were open for longer than 1 s when their tape was closed: same
-- columns, same (time, id) as the row that follows. One exchange may be here
-- many times (the one with the greatest tape is the newest) and is shown only
-- while exchanges has no row of that (time, id).
create table open_exchanges (like exchanges);
select create_hypertable('open_exchanges', by_range('time', interval '1 day'), create_default_indexes => false);
create index open_exchanges_time on open_exchanges (time, id);

-- The ledger: one row a tape, written in the transaction of its rows. What it
-- has is indexed; what it does not have is not. Counters are cumulative since
-- the source began, so the row with a source's greatest number has them all.
create table tapes (
	id             uuid        primary key,
	source         uuid        not null,
	number         int8        not null,  -- at the source, from 1
	workload_id    int8        not null,
	closed_at      timestamptz not null,  -- by the source's clock
	received_at    timestamptz not null,  -- JetStream's time of the message (closed_at when it came from the archive)
	indexed_at     timestamptz not null default now(),
	first_time     timestamptz,           -- of the rows written; NULL without rows
	last_time      timestamptz,
	begun          int8        not null,  -- cumulative, from here …
	taped          int8        not null,
	dropped        int8        not null,  -- sum over all reasons
	open           int8        not null,
	spooled_tapes  int8        not null,  -- … to here
	bytes          int8        not null,  -- of the tape
	exchanges      int4        not null,  -- entries of kind exchange in this tape
	opens          int4        not null,  -- entries of kind open in this tape
	dead           int4        not null,  -- exchanges of this tape that could not be stored: in the DLQ
	last           boolean     not null,  -- the source ended with this tape
	redaction_key  text        not null,  -- '' for none
	drops          jsonb       not null   -- {"reason": count}, cumulative
);
create index tapes_source on tapes (source, number);
create index tapes_closed on tapes (closed_at);

-- Where archived tapes lie. Apart from the ledger, so that it does not matter
-- whether a tape is first archived or first indexed, and no row is rewritten.
-- A tape without a row here is not archived yet.
create table places (
	tape        uuid        primary key,
	archived_at timestamptz not null default now(),
	start       int8        not null,     -- of the tape's first byte in the object
	length      int8        not null,     -- bytes
	object      text        not null      -- key in the archive
);

-- Rollups. Writers COPY parts into a queue in the transaction of the rows; one
-- merger at a time moves them, adding up, into every level in one transaction.
-- A query reads level and queue in one snapshot and is exact at any moment.
-- bucket is the start of the interval; all numbers add up, except duration_max_us
-- (greatest). ok + client + server + failed = requests (class unset counts as failed).
-- histogram: traffic.Histogram of duration_us, 4 buckets a doubling, packed.
create table rollup_part (
	bucket          timestamptz not null, -- 10 s
	endpoint_id     int8        not null,
	requests        int8        not null,
	ok              int8        not null,
	client          int8        not null,
	server          int8        not null,
	failed          int8        not null,
	request_bytes   int8        not null,
	response_bytes  int8        not null,
	duration_us     int8        not null, -- sum
	duration_max_us int8        not null,
	histogram       bytea       not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

create table rollup_10s (like rollup_part, primary key (bucket, endpoint_id)) with (fillfactor = 80);
create table rollup_1m  (like rollup_part, primary key (bucket, endpoint_id)) with (fillfactor = 80);
create table rollup_10m (like rollup_part, primary key (bucket, endpoint_id)) with (fillfactor = 80);
create table rollup_1h  (like rollup_part, primary key (bucket, endpoint_id)) with (fillfactor = 80);
create table rollup_1d  (like rollup_part, primary key (bucket, endpoint_id)) with (fillfactor = 80);
select create_hypertable('rollup_10s', by_range('bucket', interval '1 day'),    create_default_indexes => false);
select create_hypertable('rollup_1m',  by_range('bucket', interval '7 days'),   create_default_indexes => false);
select create_hypertable('rollup_10m', by_range('bucket', interval '30 days'),  create_default_indexes => false);
select create_hypertable('rollup_1h',  by_range('bucket', interval '180 days'), create_default_indexes => false);
select create_hypertable('rollup_1d',  by_range('bucket', interval '1800 days'), create_default_indexes => false);

-- What scenario.ready and replay.result said; data is the event as it came.
create table scenarios (
	name       text        not null,
	version    text        not null,
	id         text        not null,      -- of the request
	created_at timestamptz not null,
	error      text        not null,      -- '' for none
	data       json        not null,      -- events.ScenarioReady
	primary key (name, version)
);
create table replays (
	id         text        primary key,
	scenario   text        not null,
	version    text        not null,
	target     text        not null,
	verdict    text        not null,
	started_at timestamptz,
	ended_at   timestamptz,
	stored_at  timestamptz not null default now(),
	data       json        not null       -- events.ReplayResult
);
create index replays_started on replays (started_at);
