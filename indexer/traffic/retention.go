package traffic

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Retention says how long what is kept; zero is for ever. It goes by whole
// chunks (a day of rows), so a little more is kept.
type Retention struct {
	Exchanges time.Duration // raw rows, open ones included
	Rollup10s time.Duration
	Rollup1m  time.Duration
	Rollup10m time.Duration
	Rollup1h  time.Duration
	Rollup1d  time.Duration
	// Ledger is how long a tape is remembered after its end: at least as long
	// as it can come back out of a spool or the archive, or it counts twice.
	Ledger time.Duration
}

// Validate refuses what the database would.
func (r Retention) Validate() error {
	for _, keep := range []time.Duration{r.Exchanges, r.Rollup10s, r.Rollup1m, r.Rollup10m, r.Rollup1h, r.Rollup1d} {
		if keep > 0 && keep < time.Hour {
			return fmt.Errorf("a retention of %s is too short, want an hour or more (0: for ever)", keep)
		}
	}
	return nil
}

// SetChunk sets the time span of chunks of exchanges that are made from now on.
func (s *Store) SetChunk(ctx context.Context, span time.Duration) error {
	if _, err := s.pool.Exec(ctx, "select set_exchange_chunks($1::interval)", span); err != nil {
		return fmt.Errorf("set chunks to %s: %w", span, err)
	}
	return nil
}

// Retain drops what is older than the retention, which is an hour at least, and returns how many chunks
// and ledger rows that were. When another one is at work it does nothing.
func (s *Store) Retain(ctx context.Context, keep Retention) (dropped int, err error) {
	now, err := s.now(ctx)
	if err != nil {
		return 0, err
	}
	tables := []struct {
		name string
		keep time.Duration
	}{
		{"exchanges", keep.Exchanges}, {"open_exchanges", keep.Exchanges},
		{"rollup_10s", keep.Rollup10s}, {"rollup_1m", keep.Rollup1m}, {"rollup_10m", keep.Rollup10m},
		{"rollup_1h", keep.Rollup1h}, {"rollup_1d", keep.Rollup1d},
	}
	for _, t := range tables {
		if t.keep <= 0 {
			continue
		}
		// One table a transaction: a lock on each chunk is enough.
		n, err := s.drop(ctx, "select drop_old_chunks($1, $2)", t.name, now.Add(-t.keep))
		if err != nil {
			return dropped, fmt.Errorf("drop old chunks of %s: %w", t.name, err)
		}
		dropped += n
	}
	if keep.Ledger <= 0 {
		return dropped, nil
	}
	for _, sql := range []string{
		"with old as (delete from tapes where closed_at < $1 and indexed_at < $1 returning id) select count(*) from old",
		"with old as (delete from places where archived_at < $1 returning tape) select count(*) from old",
	} {
		n, err := s.drop(ctx, sql, now.Add(-keep.Ledger))
		if err != nil {
			return dropped, fmt.Errorf("drop old ledger rows: %w", err)
		}
		dropped += n
	}
	return dropped, nil
}

func (s *Store) drop(ctx context.Context, sql string, args ...any) (n int, err error) {
	err = transaction(ctx, s.pool, func(tx pgx.Tx) error {
		if alone, err := lock(ctx, tx, retainLock); err != nil || !alone {
			return err
		}
		return tx.QueryRow(ctx, sql, args...).Scan(&n)
	})
	return n, err
}

// now is the earlier one of two clocks, so that one that runs ahead deletes
// nothing.
func (s *Store) now(ctx context.Context) (time.Time, error) {
	var theirs time.Time
	if err := s.pool.QueryRow(ctx, "select now()").Scan(&theirs); err != nil {
		return theirs, fmt.Errorf("ask for the time: %w", err)
	}
	if ours := time.Now(); ours.Before(theirs) {
		return ours, nil
	}
	return theirs, nil
}
