package traffic

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

const (
	// catchUpTapes are copied in one transaction.
	catchUpTapes = 500
	// swapTries bounds how often the locks of a swap are tried for.
	swapTries = 20
	// swapPause lets others work between two tries.
	swapPause = 500 * time.Millisecond
)

// Swapped is what a swap has copied from the old index.
type Swapped struct {
	Tapes     int `json:"tapes"`     // that the archive does not have: not yet, or not any more
	Exchanges int `json:"exchanges"` // of these
	Forgotten int `json:"forgotten"` // of these, exchanges that only rollups still knew
}

// Swap adds the tapes that only the index in use has, and puts the fresh tables
// in its place, in one transaction under the lock of migrations. Whoever writes
// waits, and goes on with the fresh ones: nothing that was committed is missing.
func (r *Rebuild) Swap(ctx context.Context) (done Swapped, err error) {
	for { // most of it while others work
		n, err := r.catchUp(ctx, &done)
		if err != nil {
			return done, fmt.Errorf("catch up with the index in use: %w", err)
		}
		if n < catchUpTapes {
			break
		}
	}
	if err := r.mergeAll(ctx); err != nil {
		return done, err
	}
	for try := 1; ; try++ {
		before := done
		err := transaction(ctx, r.Store.pool, func(tx pgx.Tx) error { return r.swap(ctx, tx, &done) })
		if err == nil {
			return done, r.finish(ctx)
		}
		if done = before; try == swapTries || !Unavailable(err) || ctx.Err() != nil {
			return done, fmt.Errorf("swap: %w", err)
		}
		pause(ctx, swapPause)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (r *Rebuild) catchUp(ctx context.Context, done *Swapped) (tapes int, err error) {
	err = transaction(ctx, r.Store.pool, func(tx pgx.Tx) error {
		tapes, err = r.copyTapes(ctx, tx, done)
		return err
	})
	return tapes, err
}

// copyTapes copies some tapes that only the index in use has, with their rows
// and what these add to the rollups.
func (r *Rebuild) copyTapes(ctx context.Context, tx pgx.Tx, done *Swapped) (int, error) {
	if err := r.copyDictionary(ctx, tx); err != nil {
		return 0, err
	}
	const columns = "id, source, number, workload_id, closed_at, received_at, indexed_at, first_time, last_time, begun, taped, dropped, open, " +
		"spooled_tapes, bytes, exchanges, opens, dead, last, redaction_key, drops, purged"
	rows, err := tx.Query(ctx, `insert into `+freshSchema+`.tapes (`+columns+`) select `+columns+` from `+r.schema+`.tapes o
		where not exists (select from `+freshSchema+`.tapes f where f.id = o.id) order by id limit $1
		returning id, first_time, last_time, exchanges - dead - purged, opens`, catchUpTapes)
	if err != nil {
		return 0, fmt.Errorf("copy the ledger: %w", err)
	}
	var ids [][16]byte
	var from, to []time.Time
	var id [16]byte
	var first, last *time.Time
	var exchanges, opens, allExchanges, allOpens int
	_, err = pgx.ForEachRow(rows, []any{&id, &first, &last, &exchanges, &opens}, func() error {
		ids = append(ids, id)
		allExchanges, allOpens = allExchanges+exchanges, allOpens+opens
		if first != nil && last != nil {
			from, to = append(from, *first), append(to, *last)
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	copied := 0
	if len(from) > 0 {
		first, last := slices.MinFunc(from, time.Time.Compare), slices.MaxFunc(to, time.Time.Compare)
		if copied, err = r.copyRows(ctx, tx, ids, first, last); err != nil {
			return 0, err
		}
	}
	if allOpens > 0 {
		_, err := tx.Exec(ctx, `insert into `+freshSchema+`.open_exchanges (`+exchangeColumns+`)
			select `+exchangeColumns+` from `+r.schema+`.open_exchanges where tape = any ($1::uuid[])`, ids)
		if err != nil {
			return 0, fmt.Errorf("copy open rows: %w", err)
		}
	}
	done.Tapes += len(ids)
	done.Exchanges += copied
	done.Forgotten += allExchanges - copied
	return len(ids), nil
}

func (r *Rebuild) copyRows(ctx context.Context, tx pgx.Tx, ids [][16]byte, from, to time.Time) (int, error) {
	rows, err := tx.Query(ctx, `insert into `+freshSchema+`.exchanges (`+exchangeColumns+`)
		select `+exchangeColumns+` from `+r.schema+`.exchanges where tape = any ($1::uuid[]) and time between $2 and $3
		returning time, endpoint_id, class, request_bytes, response_bytes, duration_us`, ids, from, to)
	if err != nil {
		return 0, fmt.Errorf("copy rows: %w", err)
	}
	parts, n := rollup{}, 0
	var at time.Time
	var endpoint int64
	var class int16
	var e events.Entry
	_, err = pgx.ForEachRow(rows, []any{&at, &endpoint, &class, &e.RequestBytes, &e.ResponseBytes, &e.DurationUs}, func() error {
		e.Class = events.StatusClass(class)
		parts.at(rollupKey{bucketStart(at.UnixMicro(), partSeconds), endpoint}).count(&e)
		n++
		return nil
	})
	if err != nil || n == 0 {
		return 0, err
	}
	return n, parts.copy(ctx, tx, freshSchema+".rollup_part")
}

// mergeAll empties the queue of the fresh tables. The merger of the index in
// use has the same lock now and then.
func (r *Rebuild) mergeAll(ctx context.Context) error {
	for {
		n, err := r.Store.Merge(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		var more bool
		if err := r.Store.pool.QueryRow(ctx, "select exists (select from rollup_part)").Scan(&more); err != nil || !more {
			return err
		}
		if pause(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// swap is the transaction in which the fresh tables become those in use.
func (r *Rebuild) swap(ctx context.Context, tx pgx.Tx, done *Swapped) error {
	tables := make([]string, len(derived))
	for i, t := range derived {
		tables[i] = r.schema + "." + t
	}
	for _, sql := range []string{
		"set local statement_timeout = 0",
		fmt.Sprintf("select pg_advisory_xact_lock(%d)", int64(migrationLock)),
		fmt.Sprintf("select pg_advisory_xact_lock(%d)", int64(purgeLock)), // no writer has begun behind this
		fmt.Sprintf("select pg_advisory_xact_lock(%d)", int64(mergeLock)),
		"lock table " + strings.Join(tables, ", ") + " in access exclusive mode", // nor one that does not know it
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	for {
		n, err := r.copyTapes(ctx, tx, done)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	_, err := tx.Exec(ctx, `update `+freshSchema+`.tapes f set indexed_at = o.indexed_at from `+r.schema+`.tapes o where o.id = f.id and o.indexed_at <> f.indexed_at`)
	if err != nil {
		return fmt.Errorf("copy the ledger: %w", err)
	}
	return r.move(ctx, tx)
}

func (r *Rebuild) move(ctx context.Context, tx pgx.Tx) error {
	var roles bool
	err := tx.QueryRow(ctx, "select exists (select from pg_tables where schemaname = $1 and tablename = 'tapes' and tableowner = $2)", r.old, OwnerRole).Scan(&roles)
	if err != nil {
		return err
	}
	statements := []string{"create schema " + oldSchema}
	for _, t := range derived {
		statements = append(statements,
			"alter table "+r.schema+"."+t+" set schema "+oldSchema,
			"alter table "+freshSchema+"."+t+" set schema "+r.schema)
	}
	statements = append(statements, "set local search_path = "+r.schema)
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	if roles {
		return grant(ctx, tx)
	}
	return nil
}

// finish drops what is not in use any more.
func (r *Rebuild) finish(ctx context.Context) error {
	if err := r.dropOld(ctx); err != nil {
		return err
	}
	_, err := r.lock.Exec(ctx, "set client_min_messages = warning; drop schema "+freshSchema+" cascade; reset client_min_messages")
	return err
}
