package traffic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"tapedeck/events"
)

// Schemas of a rebuild, beside the one that is in use.
const (
	freshSchema = "tapedeck_fresh"
	oldSchema   = "tapedeck_old"
)

// rebuildLock is held by a rebuild, and shared by purges: what is purged must
// not come back by a table that was made before.
const rebuildLock = 0x7461706564656b05

// ErrRebuilding is wrapped when an index is being rebuilt, so that nothing can
// be purged, or rebuilt, at the same time.
var ErrRebuilding = errors.New("the index is being rebuilt")

// derived are the tables that are made of tapes, in the order in which writers
// lock them. The others stay as they are.
var derived = []string{"workloads", "endpoints", "tapes", "exchanges", "open_exchanges", "rollup_part",
	"rollup_10s", "rollup_1m", "rollup_10m", "rollup_1h", "rollup_1d", "places"}

// Rebuild makes an index anew beside the one in use. Tapes are written by its
// Store; Swap adds what only the old one has and takes its place.
type Rebuild struct {
	*Store         // of the fresh tables
	Reader *Reader // of the fresh tables

	old    string // schema in use
	schema string // the same, quoted
	lock   *pgxpool.Conn
	parent *Store
}

// Rebuild begins to make the index anew, or goes on where it was stopped. No
// other one can until it is closed.
func (s *Store) Rebuild(ctx context.Context) (*Rebuild, error) {
	r := &Rebuild{parent: s}
	if err := r.begin(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("rebuild the index: %w", err)
	}
	return r, nil
}

func (r *Rebuild) begin(ctx context.Context) (err error) {
	if r.lock, err = r.parent.pool.Acquire(ctx); err != nil {
		return err
	}
	var alone bool
	err = r.lock.QueryRow(ctx, "select pg_try_advisory_lock($1), current_schema(), quote_ident(current_schema())", int64(rebuildLock)).Scan(&alone, &r.old, &r.schema)
	if err == nil && !alone {
		err = ErrRebuilding
	}
	if err == nil {
		err = r.makeSchema(ctx)
	}
	if err == nil {
		err = r.open(ctx)
	}
	if err == nil {
		err = r.copyKnown(ctx)
	}
	return err
}

// Close ends the work, done or not.
func (r *Rebuild) Close() {
	if r.Store != nil {
		r.Store.Close()
	}
	if r.Reader != nil {
		r.Reader.Close()
	}
	if r.lock != nil {
		r.lock.Exec(context.Background(), "select pg_advisory_unlock($1)", int64(rebuildLock)) // else the connection ends
		r.lock.Release()
	}
}

// makeSchema keeps what an earlier rebuild has made, unless something was purged
// since or it is of another version.
func (r *Rebuild) makeSchema(ctx context.Context) error {
	if err := r.dropOld(ctx); err != nil {
		return err
	}
	usable, err := r.usable(ctx)
	if err != nil {
		return err
	}
	if !usable {
		if _, err := r.lock.Exec(ctx, "drop schema if exists "+freshSchema+" cascade"); err != nil {
			return err
		}
	}
	_, err = r.lock.Exec(ctx, "create schema if not exists "+freshSchema)
	return err
}

func (r *Rebuild) usable(ctx context.Context) (usable bool, err error) {
	err = r.lock.QueryRow(ctx, "select to_regclass('"+freshSchema+".migrations') is not null").Scan(&usable)
	if err != nil || !usable {
		return false, err
	}
	err = r.lock.QueryRow(ctx, `select (select max(version) from `+freshSchema+`.migrations) is not distinct from (select max(version) from migrations)
		and not exists (select from tombstones where purged_at >= (select min(applied_at) from `+freshSchema+`.migrations))`).Scan(&usable)
	return usable, err
}

func (r *Rebuild) dropOld(ctx context.Context) error {
	_, err := r.lock.Exec(ctx, "set client_min_messages = warning; drop schema if exists "+oldSchema+" cascade; reset client_min_messages")
	return err
}

// open connects to the fresh tables. What is not derived is that in use: its
// schema comes next in the path.
func (r *Rebuild) open(ctx context.Context) error {
	var path string
	if err := r.lock.QueryRow(ctx, "show search_path").Scan(&path); err != nil {
		return err
	}
	connectFresh := func(p *pgxpool.Pool) (*pgxpool.Pool, error) {
		config := p.Config()
		config.ConnConfig.RuntimeParams["search_path"] = freshSchema + ", " + path
		return pgxpool.NewWithConfig(ctx, config)
	}
	pool, err := connectFresh(r.parent.pool)
	if err != nil {
		return err
	}
	r.Store = &Store{pool: pool}
	if _, err := r.Store.Migrate(ctx); err != nil {
		return err
	}
	for _, table := range ownTables {
		if !isDerived(table) && table != "migrations" {
			if _, err := pool.Exec(ctx, "drop table if exists "+freshSchema+"."+table); err != nil {
				return err
			}
		}
	}
	for _, table := range []string{"exchanges", "open_exchanges"} {
		_, err := pool.Exec(ctx, `select set_chunk_time_interval($1::text::regclass, time_interval) from timescaledb_information.dimensions
			where hypertable_schema = $2 and hypertable_name = $3`, freshSchema+"."+table, r.old, table)
		if err != nil {
			return err
		}
	}
	readers, err := connectFresh(r.parent.pool)
	if err != nil {
		return err
	}
	r.Reader = &Reader{pool: readers}
	return nil
}

func isDerived(table string) bool {
	for _, d := range derived {
		if d == table {
			return true
		}
	}
	return false
}

// copyKnown copies what tapes do not say: when a name was first seen, what it is
// shown as, where a tape that lies twice was first.
func (r *Rebuild) copyKnown(ctx context.Context) error {
	return transaction(ctx, r.Store.pool, func(tx pgx.Tx) error { return r.copyDictionary(ctx, tx) })
}

func (r *Rebuild) copyDictionary(ctx context.Context, tx pgx.Tx) error {
	for _, table := range []string{"workloads", "endpoints", "places"} {
		_, err := tx.Exec(ctx, "insert into "+freshSchema+"."+table+" select * from "+r.schema+"."+table+" on conflict do nothing")
		if err != nil {
			return fmt.Errorf("copy %s: %w", table, err)
		}
	}
	return nil
}

// ReceivedAt says when the queue got tapes, as far as the index in use knows.
func (r *Rebuild) ReceivedAt(ctx context.Context, tapes []events.ID) (map[events.ID]time.Time, error) {
	ids := make([][16]byte, len(tapes))
	for i, id := range tapes {
		ids[i] = id
	}
	rows, err := r.parent.pool.Query(ctx, "select id, received_at from tapes where id = any ($1::uuid[])", ids)
	if err != nil {
		return nil, fmt.Errorf("ask the ledger for %d tapes: %w", len(ids), err)
	}
	at := map[events.ID]time.Time{}
	var id [16]byte
	var t time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &t}, func() error { at[id] = t; return nil })
	if err != nil {
		return nil, fmt.Errorf("ask the ledger for %d tapes: %w", len(ids), err)
	}
	return at, nil
}
