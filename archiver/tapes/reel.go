package tapes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tapedeck/events"
)

// Reel is many tapes of one cluster and namespace that are archived as one
// object. Its key is fixed when it is made, so that a PUT that is tried again
// can't make a second reel.
type Reel struct {
	key     string
	bytes   []byte
	entries []reelEntry
	first   *events.Header
}

// NewReel makes a reel of tapes at time now.
func NewReel(now time.Time, ts []*events.Tape) (*Reel, error) {
	if len(ts) == 0 {
		return nil, errors.New("a reel of no tapes")
	}
	w := ts[0].Header.Workload
	oldest := ts[0].TapeID().Time()
	for _, t := range ts {
		if o := t.Header.Workload; o.Cluster != w.Cluster || o.Namespace != w.Namespace {
			return nil, fmt.Errorf("a reel of %s/%s and %s/%s", w.Cluster, w.Namespace, o.Cluster, o.Namespace)
		}
		if at := t.TapeID().Time(); at.Before(oldest) {
			oldest = at
		}
	}
	bytes, entries, err := packReel(ts)
	if err != nil {
		return nil, err
	}
	id := events.NewID(now)
	key := fmt.Sprintf("%s%s%s%s_%d%s", reelsRoot, tokens(w.Cluster, w.Namespace), hourFolder(id.Time()), id, oldest.UnixMilli(), reelEnd)
	return &Reel{key, bytes, entries, ts[0].Header}, nil
}

// PutReel archives a reel and says where the tapes of each of its services lie.
func (a *Archive) PutReel(ctx context.Context, r *Reel) ([]events.Archived, error) {
	if err := a.Put(ctx, r.key, r.bytes); err != nil {
		return nil, fmt.Errorf("archive reel of %d tapes: %w", len(r.entries), err)
	}
	a.tables.put(r.key, r.entries)
	var archived []events.Archived
	for _, e := range r.entries {
		a.places.put(e.id, e.place(r.key))
		i := slices.IndexFunc(archived, func(x events.Archived) bool { return x.Service.Service == e.service })
		if i < 0 {
			i = len(archived)
			s := serviceOf(r.first)
			s.Service = e.service
			archived = append(archived, events.Archived{Service: s, Object: r.key})
		}
		archived[i].Tapes = append(archived[i].Tapes, events.ArchivedTape{ID: e.id, Offset: e.offset, Length: e.length})
	}
	return archived, nil
}

// reelName is what a reel's key says.
type reelName struct {
	written time.Time
	oldest  time.Time // of its tapes; the newest is not newer than written, but for clocks
}

func parseReelKey(key string) (reelName, bool) {
	name, isReel := strings.CutSuffix(key[strings.LastIndexByte(key, '/')+1:], reelEnd)
	id, oldest, found := strings.Cut(name, "_")
	if !isReel || !found {
		return reelName{}, false
	}
	reel, err := events.ParseID(id)
	ms, err2 := strconv.ParseInt(oldest, 10, 64)
	return reelName{reel.Time(), time.UnixMilli(ms)}, err == nil && err2 == nil
}

// table reads the table of a reel.
func (a *Archive) table(ctx context.Context, o ObjectInfo) ([]reelEntry, error) {
	if entries, known := a.tables.get(o.Key); known {
		return entries, nil
	}
	end, err := a.Get(ctx, o.Key, max(0, o.Size-reelGuess), -1)
	if err != nil {
		return nil, err
	}
	n, err := tableSize(end, o.Size)
	if err == nil && n > int64(len(end)) {
		if end, err = a.Get(ctx, o.Key, o.Size-n, -1); err != nil {
			return nil, err
		}
	}
	entries, err := parseTable(end, o.Size)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.Key, err)
	}
	a.tables.put(o.Key, entries)
	return entries, nil
}

// Size is the reel's size in bytes, 0 before it is made.
func (r *Reel) Size() int {
	if r == nil {
		return 0
	}
	return len(r.bytes)
}
