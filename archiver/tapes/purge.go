package tapes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tapedeck/events"
)

// Purge is the removal of exchanges, at most MaxPurged. It may be stopped at any
// moment and done again.
type Purge struct {
	ID         events.ID
	Tombstones []Tombstone
	Done       bool
}

// MaxPurged bounds the exchanges of one Purge.
const MaxPurged = 5000

// Gone are its exchanges.
func (p *Purge) Gone() Gone {
	gone := make(Gone, len(p.Tombstones))
	for _, t := range p.Tombstones {
		gone[t.Exchange] = struct{}{}
	}
	return gone
}

// Bury writes tombstones: when it returns, this archive honours them, and
// every other process that reads the same does TombstoneAge later.
func (a *Archive) Bury(ctx context.Context, list []Tombstone) (*Purge, error) {
	p := &Purge{ID: events.NewID(time.Now()), Tombstones: list}
	key := tombstonesRoot + p.ID.String()
	if err := a.Put(ctx, key, formatTombstones(list)); err != nil {
		return nil, fmt.Errorf("write tombstones: %w", err)
	}
	a.purged.mu.Lock()
	defer a.purged.mu.Unlock()
	a.purged.add(key, list)
	return p, nil
}

// Purges are all purges that were begun, the oldest first.
func (a *Archive) Purges(ctx context.Context) ([]*Purge, error) {
	done := map[string]bool{}
	for o, err := range a.List(ctx, purgesRoot) {
		if err != nil {
			return nil, fmt.Errorf("list purges: %w", err)
		}
		done[strings.TrimPrefix(o.Key, purgesRoot)] = true
	}
	var all []*Purge
	for o, err := range a.List(ctx, tombstonesRoot) {
		if err != nil {
			return nil, fmt.Errorf("list purges: %w", err)
		}
		name := strings.TrimPrefix(o.Key, tombstonesRoot)
		id, err := events.ParseID(name)
		if err != nil {
			continue // not ours
		}
		list, err := readTombstones(ctx, a.Bucket, o.Key)
		if err != nil {
			return nil, err
		}
		all = append(all, &Purge{id, list, done[name]})
	}
	slices.SortFunc(all, func(x, y *Purge) int { return slices.Compare(x.ID[:], y.ID[:]) })
	return all, nil
}

// Finish notes that a purge is done.
func (a *Archive) Finish(ctx context.Context, p *Purge) error {
	if err := a.Put(ctx, purgesRoot+p.ID.String(), nil); err != nil {
		return fmt.Errorf("finish purge %s: %w", p.ID, err)
	}
	p.Done = true
	return nil
}

// Erase removes the exchanges of a purge from all tapes: it writes each object
// that holds something of them anew, calls moved with where its tapes lie now,
// and then deletes the old one. It returns how many objects that were.
func (a *Archive) Erase(ctx context.Context, p *Purge, moved func(ctx context.Context, old string, now []events.Archived) error) (objects int, err error) {
	keys, err := a.objectsOf(ctx, p)
	if err != nil {
		return 0, err
	}
	gone := p.Gone()
	for _, o := range keys {
		now, err := a.rewrite(ctx, o, gone)
		if err != nil {
			return objects, fmt.Errorf("rewrite %s: %w", o.Key, err)
		}
		if now == nil {
			continue
		}
		if err := moved(ctx, o.Key, now); err != nil {
			return objects, err
		}
		if err := a.Delete(ctx, o.Key); err != nil {
			return objects, err
		}
		objects++
	}
	return objects, nil
}

// objectsOf lists the objects that have a tape of the purge in them, every copy.
func (a *Archive) objectsOf(ctx context.Context, p *Purge) ([]ObjectInfo, error) {
	wanted := map[events.ID]bool{}
	var o ScanOptions
	for _, t := range p.Tombstones {
		for _, tape := range t.Tapes {
			wanted[tape] = true
			if at := tape.Time(); o.From.IsZero() || at.Before(o.From) {
				o.From = at
			}
			if at := tape.Time(); at.After(o.To) {
				o.To = at
			}
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	var objects []ObjectInfo
	listed := map[string]bool{}
	for found, err := range a.eachHour(ctx, o) {
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			// A reel that can't be read was told of when it was looked through.
			if c.err == nil && wanted[c.id] && !listed[c.place.Object] {
				listed[c.place.Object] = true
				objects = append(objects, ObjectInfo{Key: c.place.Object})
			}
		}
	}
	return objects, nil
}

// rewrite writes what is to stay of an object as a reel of the same hour. It
// returns nil when nothing has to go.
func (a *Archive) rewrite(ctx context.Context, o ObjectInfo, gone Gone) ([]events.Archived, error) {
	raw, err := a.Get(ctx, o.Key, 0, maxTape)
	if errors.Is(err, ErrNotFound) { // another purge was faster
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, at, err := unpackObject(o.Key, raw)
	if err != nil {
		return nil, err
	}
	changed := false
	for i, t := range all {
		if all[i], err = t.Without(gone.Has); err != nil {
			return nil, err
		}
		changed = changed || all[i] != t
	}
	if !changed {
		return nil, nil
	}
	reel, err := NewReel(at, all)
	if err != nil {
		return nil, err
	}
	return a.PutReel(ctx, reel)
}

// unpackObject reads the tapes in an object, and when it was written by its key.
func unpackObject(key string, raw []byte) (all []*events.Tape, at time.Time, err error) {
	if id, alone := parseTapeKey(key); alone {
		t, err := events.ParseTape(raw)
		return []*events.Tape{t}, id.Time(), err
	}
	name, isReel := parseReelKey(key)
	if !isReel {
		return nil, at, fmt.Errorf("%w: %s is neither a tape nor a reel", events.ErrTape, key)
	}
	entries, err := parseTable(raw, int64(len(raw)))
	if err != nil {
		return nil, at, err
	}
	for _, e := range entries {
		t, err := events.ParseTape(raw[e.offset : e.offset+e.length])
		if err != nil {
			return nil, at, fmt.Errorf("tape %s: %w", e.id, err)
		}
		all = append(all, t)
	}
	return all, name.written, nil
}

// putRewritten archives a tape that has lost exchanges, where a reader that
// knows its place of before finds it.
func (a *Archive) putRewritten(ctx context.Context, t *events.Tape) (events.Archived, error) {
	reel, err := NewReel(t.TapeID().Time(), []*events.Tape{t})
	if err != nil {
		return events.Archived{}, err
	}
	archived, err := a.PutReel(ctx, reel)
	if err != nil {
		return events.Archived{}, err
	}
	return archived[0], nil
}

// moved finds a tape whose object is gone: a purge has written what stays of it
// into a reel of the same hour.
func (a *Archive) moved(ctx context.Context, p Place, tape events.ID) (Place, bool) {
	folder := p.Object[:strings.LastIndexByte(p.Object, '/')+1]
	if segments := strings.Split(folder, "/"); strings.HasPrefix(folder, tapesRoot) && len(segments) == 9 {
		// tapes/<cluster>/<namespace>/<service>/<yyyy>/<mm>/<dd>/<hh>/
		folder = reelsRoot + strings.Join(slices.Delete(segments[1:], 2, 3), "/")
	}
	if tape.IsZero() || !strings.HasPrefix(folder, reelsRoot) {
		return Place{}, false
	}
	for o, err := range a.List(ctx, folder) {
		if err != nil {
			return Place{}, false
		}
		if _, isReel := parseReelKey(o.Key); !isReel || o.Key == p.Object {
			continue
		}
		entries, err := a.table(ctx, o)
		if err != nil {
			continue
		}
		if i := slices.IndexFunc(entries, func(e reelEntry) bool { return e.id == tape }); i >= 0 {
			now := entries[i].place(o.Key)
			a.places.put(tape, now)
			return now, true
		}
	}
	return Place{}, false
}

// tapeAt is the id of the tape at a place, as far as that was read lately or the
// key says it.
func (a *Archive) tapeAt(p Place) events.ID {
	if id, alone := parseTapeKey(p.Object); alone {
		return id
	}
	if f, known := a.fronts.get(Place{Object: p.Object, Offset: p.Offset}); known {
		return f.TapeID()
	}
	return events.ID{}
}
