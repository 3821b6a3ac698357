package tapes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tapedeck/events"
)

// clockSkew is how far the clocks of captures and archivers may be apart for a
// search by time to find everything.
const clockSkew = 5 * time.Minute

// Find finds a tape of a service: in what this archive read or wrote lately,
// through Ledger, alone, then in the reels since the tape was begun. An error
// wrapping ErrNotArchived means that it is in none of them.
func (a *Archive) Find(ctx context.Context, s events.Service, tape events.ID) (Place, error) {
	if p, known := a.places.get(tape); known {
		return p, nil
	}
	if a.Ledger != nil {
		if p, err := a.Ledger(ctx, tape); err == nil {
			return p, nil
		}
	}
	alone := Place{Object: tapeKey(s, tape)}
	f, aloneErr := a.front(ctx, alone, 0)
	if aloneErr == nil {
		alone.Length = f.Total
		return alone, nil
	}
	damaged := errors.Is(aloneErr, events.ErrTape)
	if !damaged && !errors.Is(aloneErr, ErrNotFound) {
		return Place{}, fmt.Errorf("find tape %s: %w", tape, aloneErr)
	}
	p, err := a.findInReels(ctx, s, tape)
	if damaged && errors.Is(err, ErrNotArchived) { // and there is no other copy
		err = aloneErr
	}
	if err != nil {
		return Place{}, fmt.Errorf("find tape %s: %w", tape, err)
	}
	a.places.put(tape, p)
	return p, nil
}

// findInReels looks first where a tape lies when nothing was delayed, then in
// all reels that were written later.
func (a *Archive) findInReels(ctx context.Context, s events.Service, tape events.ID) (Place, error) {
	root := reelsRoot + tokens(s.Cluster, s.Namespace)
	from, to := tape.Time().Add(-clockSkew), tape.Time().Add(clockSkew)
	near := []string{hourFolder(from)}
	if next := hourFolder(to); next != near[0] {
		near = append(near, next)
	}
	for _, hour := range near {
		if p, err := a.findInHour(ctx, root+hour, s, tape); !errors.Is(err, ErrNotArchived) {
			return p, err
		}
	}
	hours, err := a.hours(ctx, root, to, time.Now().Add(clockSkew))
	if err != nil {
		return Place{}, err
	}
	for _, h := range hours {
		if slices.Contains(near, h.folder[len(root):]) {
			continue
		}
		if p, err := a.findInHour(ctx, h.folder, s, tape); !errors.Is(err, ErrNotArchived) {
			return p, err
		}
	}
	return Place{}, ErrNotArchived
}

func (a *Archive) findInHour(ctx context.Context, folder string, s events.Service, tape events.ID) (Place, error) {
	for o, err := range a.List(ctx, folder) {
		if err != nil {
			return Place{}, err
		}
		name, isReel := parseReelKey(o.Key)
		if !isReel || !name.mayHold(tape.Time(), tape.Time()) {
			continue
		}
		entries, err := a.table(ctx, o)
		if errors.Is(err, events.ErrTape) {
			continue // a damaged reel must not hide a copy in another
		}
		if err != nil {
			return Place{}, err
		}
		for _, e := range entries {
			if e.id == tape && e.service == s.Service {
				return e.place(o.Key), nil
			}
		}
	}
	return Place{}, ErrNotArchived
}

// mayHold says whether a reel can hold tapes that were begun between from and
// to; zero times are no bounds.
func (n reelName) mayHold(from, to time.Time) bool {
	// The name has milliseconds: it was rounded down.
	return (to.IsZero() || !n.oldest.After(to)) && (from.IsZero() || !n.written.Add(clockSkew).Before(from))
}
