package traffic

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

// Tombstone says that an exchange is purged; Time is that of its row.
type Tombstone struct {
	Exchange events.ID
	Time     time.Time
}

// Purged is what a purge has removed.
type Purged struct {
	Exchanges int // rows that counted
	Open      int // entries of exchanges that have not ended
}

// Purge removes exchanges in one transaction: their rows, what they added to
// every rollup, and, by a tombstone each, what of them is yet to come. The
// ledger counts them as purged. It may be done again.
func (s *Store) Purge(ctx context.Context, list []Tombstone) (done Purged, err error) {
	err = transaction(ctx, s.pool, func(tx pgx.Tx) error {
		var free bool
		if err := tx.QueryRow(ctx, "select pg_try_advisory_xact_lock_shared($1)", int64(rebuildLock)).Scan(&free); err != nil {
			return fmt.Errorf("lock: %w", err)
		}
		if !free {
			return ErrRebuilding
		}
		for _, key := range []int64{purgeLock, mergeLock} {
			if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", key); err != nil {
				return fmt.Errorf("lock: %w", err)
			}
		}
		p := purging{tx: tx, rollup: rollup{}, tapes: map[events.ID]int{}}
		if err := p.remove(ctx, list); err != nil {
			return err
		}
		if err := p.count(ctx); err != nil {
			return err
		}
		done = p.done
		return p.subtract(ctx)
	})
	if err != nil {
		return Purged{}, fmt.Errorf("purge %d exchanges: %w", len(list), err)
	}
	return done, nil
}

// purging is one transaction.
type purging struct {
	tx     pgx.Tx
	done   Purged
	rollup rollup            // what the removed rows had added, in buckets of 10 s
	tapes  map[events.ID]int // rows removed of each
}

func (p *purging) remove(ctx context.Context, list []Tombstone) error {
	ids, times := make([][16]byte, len(list)), make([]time.Time, len(list))
	for i, t := range list {
		ids[i], times[i] = t.Exchange, t.Time
	}
	if len(list) == 0 {
		return nil
	}
	_, err := p.tx.Exec(ctx, "insert into tombstones (id) select distinct unnest($1::uuid[]) on conflict do nothing", ids)
	if err != nil {
		return fmt.Errorf("write tombstones: %w", err)
	}
	const (
		// The bounds on time choose the chunks.
		byTime = " x using unnest($1::uuid[], $2::timestamptz[]) g (id, time) where x.time = g.time and x.id = g.id and x.time between $3 and $4 "
		// Where the clock was corrected another time may be known.
		byClock  = " x where flags & 8 <> 0 and id = any ($1) "
		returned = "returning x.tape, x.time, x.endpoint_id, x.class, x.request_bytes, x.response_bytes, x.duration_us"
	)
	first, last := slices.MinFunc(times, time.Time.Compare), slices.MaxFunc(times, time.Time.Compare)
	if err := p.take(ctx, "delete from exchanges"+byTime+returned, ids, times, first, last); err != nil {
		return err
	}
	if err := p.take(ctx, "delete from exchanges"+byClock+returned, ids); err != nil {
		return err
	}
	tag, err := p.tx.Exec(ctx, "delete from open_exchanges"+byTime, ids, times, first, last)
	if err != nil {
		return fmt.Errorf("remove open rows: %w", err)
	}
	p.done.Open += int(tag.RowsAffected())
	return nil
}

func (p *purging) take(ctx context.Context, sql string, args ...any) error {
	rows, err := p.tx.Query(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf("remove rows: %w", err)
	}
	var tape [16]byte
	var at time.Time
	var endpoint int64
	var class int16
	var e events.Entry
	_, err = pgx.ForEachRow(rows, []any{&tape, &at, &endpoint, &class, &e.RequestBytes, &e.ResponseBytes, &e.DurationUs}, func() error {
		e.Class = events.StatusClass(class)
		p.rollup.at(rollupKey{bucketStart(at.UnixMicro(), partSeconds), endpoint}).count(&e)
		p.tapes[tape]++
		p.done.Exchanges++
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove rows: %w", err)
	}
	return nil
}

// count tells the ledger.
func (p *purging) count(ctx context.Context) error {
	var tapes [][16]byte
	var counts []int32
	for id, n := range p.tapes {
		tapes, counts = append(tapes, id), append(counts, int32(n))
	}
	_, err := p.tx.Exec(ctx, `update tapes set purged = purged + g.n from unnest($1::uuid[], $2::int4[]) g (id, n) where tapes.id = g.id`, tapes, counts)
	if err != nil {
		return fmt.Errorf("count in the ledger: %w", err)
	}
	return nil
}

// subtract takes what was removed out of the rollups. The queue is emptied
// first: what was removed may be in it, and parts can't be negative.
func (p *purging) subtract(ctx context.Context) error {
	if len(p.rollup) == 0 {
		return nil
	}
	for {
		n, err := mergeParts(ctx, p.tx)
		if err != nil {
			return err
		}
		if n < MergeParts {
			break
		}
	}
	gone, finer := p.rollup, Level{Table: "exchanges"}
	for _, l := range Levels {
		gone = gone.coarsen(l.Bucket)
		if err := subtractFrom(ctx, p.tx, l, finer, gone); err != nil {
			return fmt.Errorf("subtract from %s: %w", l.Table, err)
		}
		finer = l
	}
	return nil
}
