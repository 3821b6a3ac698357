package traffic

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"tapedeck/events"
)

// Moved notes where the tapes of an object of the archive lie now that it was
// written anew.
func (s *Store) Moved(ctx context.Context, old string, now []events.Archived) error {
	for _, a := range now {
		for _, t := range a.Tapes {
			_, err := s.pool.Exec(ctx, "update places set object = $3, start = $4, length = $5 where tape = $1 and object = $2",
				[16]byte(t.ID), text(old, maxPath), text(a.Object, maxPath), t.Offset, t.Length)
			if err != nil {
				return fmt.Errorf("note where tape %s lies: %w", t.ID, err)
			}
		}
	}
	return nil
}

// Archived notes where tapes lie in the archive. It does not matter whether
// their ledger rows are there yet, or how often it is said: a tape that lies
// at two places keeps the first.
func (s *Store) Archived(ctx context.Context, list []events.Archived) error {
	type place struct {
		tape          [16]byte
		object        string
		start, length int64
	}
	var places []place
	for _, a := range list {
		for _, t := range a.Tapes {
			places = append(places, place{t.ID, text(a.Object, maxPath), t.Offset, t.Length})
		}
	}
	// Sorted, so that two indexers can't lock each other out.
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Or(slices.Compare(a.tape[:], b.tape[:]), cmp.Compare(a.object, b.object))
	})
	var tapes [][16]byte
	var objects []string
	var starts, lengths []int64
	for _, p := range places {
		tapes, objects = append(tapes, p.tape), append(objects, p.object)
		starts, lengths = append(starts, p.start), append(lengths, p.length)
	}
	_, err := s.pool.Exec(ctx, `
		insert into places (tape, object, start, length)
		select * from unnest($1::uuid[], $2::text[], $3::int8[], $4::int8[])
		on conflict do nothing`, tapes, objects, starts, lengths)
	if err != nil {
		return fmt.Errorf("note %d archived tapes: %w", len(tapes), err)
	}
	return nil
}
