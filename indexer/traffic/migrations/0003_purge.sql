-- Exchanges that were purged: writers leave out what has a tombstone. They hold
-- purgeLock, shared, before they look, and whoever buries holds it alone; so
-- numbers are seen in their order, and a writer reads only those it has not seen.
create table tombstones (
	id        uuid        primary key,
	number    int8        generated always as identity,
	purged_at timestamptz not null default now()
);
create index tombstones_number on tombstones (number);

-- Of the exchanges of a tape, those that were purged. Older indexers know
-- nothing of it.
alter table tapes add column purged int4 not null default 0;

-- Sources of which an operator has said that no more will come. It holds for
-- what was lost at that time.
create table acknowledged (
	source          uuid        primary key,
	acknowledged_at timestamptz not null default now(),
	exchanges       int8        not null, -- taped and missing in the index then
	tapes           int8        not null  -- the same in tapes
);
