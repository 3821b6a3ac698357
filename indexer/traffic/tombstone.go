package traffic

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

// purgeLock is held, shared, by every transaction that writes exchanges, and
// alone by one that purges: what was written before is found by it, and what is
// written later leaves out what it has buried.
const purgeLock = 0x7461706564656b04

// buried remembers the tombstones of the database.
type buried struct {
	number int64 // of the newest
	ids    map[events.ID]struct{}
}

// leaveOutPurged takes out of tapes what has a tombstone. It may be done again.
func (s *Store) leaveOutPurged(ctx context.Context, tx pgx.Tx, list []*prepared) error {
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock_shared($1)", int64(purgeLock)); err != nil {
		return fmt.Errorf("wait for a purge: %w", err)
	}
	gone, err := s.tombstones(ctx, tx)
	if err != nil || len(gone) == 0 {
		return err
	}
	for _, p := range list {
		p.leaveOut(gone)
	}
	return nil
}

// tombstones are all that there are. The result is not to be changed.
func (s *Store) tombstones(ctx context.Context, tx pgx.Tx) (map[events.ID]struct{}, error) {
	s.buriedLock.Lock()
	defer s.buriedLock.Unlock()
	rows, err := tx.Query(ctx, "select number, id from tombstones where number > $1 order by number", s.buried.number)
	if err != nil {
		return nil, fmt.Errorf("read tombstones: %w", err)
	}
	newest := s.buried.number
	var found []events.ID
	var id [16]byte
	_, err = pgx.ForEachRow(rows, []any{&newest, &id}, func() error { found = append(found, id); return nil })
	if err != nil {
		return nil, fmt.Errorf("read tombstones: %w", err)
	}
	if len(found) > 0 { // others may be reading the old one
		ids := make(map[events.ID]struct{}, len(s.buried.ids)+len(found))
		for id := range s.buried.ids {
			ids[id] = struct{}{}
		}
		for _, id := range found {
			ids[id] = struct{}{}
		}
		s.buried = buried{newest, ids}
	}
	return s.buried.ids, nil
}

func (p *prepared) leaveOut(gone map[events.ID]struct{}) {
	purged := func(r row) bool {
		_, has := gone[events.ID(r.entry.Id)]
		return has
	}
	before := len(p.rows)
	p.rows = slices.DeleteFunc(p.rows, purged)
	p.opens = slices.DeleteFunc(p.opens, purged)
	p.purged += before - len(p.rows)
}

// Buried says whether an exchange has a tombstone here.
func (s *Store) Buried(ctx context.Context, id events.ID) (has bool, err error) {
	err = s.pool.QueryRow(ctx, "select exists (select from tombstones where id = $1)", [16]byte(id)).Scan(&has)
	if err != nil {
		return false, fmt.Errorf("read tombstones: %w", err)
	}
	return has, nil
}
