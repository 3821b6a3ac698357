package tapes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"tapedeck/events"
)

// scanReads is how many fronts are read at a time.
const scanReads = 16

// ScanOptions says what Scan looks for.
type ScanOptions struct {
	// Service: empty fields match all.
	Service events.Service
	// From and To bound the times of tape ids, which are when the tapes were
	// begun; zero: no bound. A tape holds exchanges that began up to a few
	// seconds after that, or long before it.
	From, To time.Time
	// Newest: the newest hours come first.
	Newest bool
}

// Located is the front of a tape and where the tape lies.
type Located struct {
	Place
	*events.Front
}

// candidate is a tape that a scan has found.
type candidate struct {
	id    events.ID
	place Place
	front int64 // length; 0: not known
	err   error // why the reel at place can't be read
}

// Listed is a tape that the archive has.
type Listed struct {
	Place
	ID events.ID
}

// Tapes lists all tapes that fit, each once and without reading it: hour by hour
// (a reel counts by the hour of its writing), in the order of their ids within
// an hour. A reel that can't be read is an error with its place, and the list
// goes on if the caller does; other errors end it.
func (a *Archive) Tapes(ctx context.Context, o ScanOptions) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		seen := map[events.ID]bool{}
		for found, err := range a.eachHour(ctx, o) {
			if err != nil {
				yield(Listed{}, err)
				return
			}
			for _, c := range found {
				if c.err == nil && seen[c.id] {
					continue
				}
				if !yield(Listed{c.place, c.id}, c.err) {
					return
				}
				seen[c.id] = true
			}
		}
	}
}

// Scan reads the fronts of all tapes that fit, each once, in the order of
// Tapes. An object that can't be read is an error with its place, and the scan
// goes on if the caller does; other errors end it.
func (a *Archive) Scan(ctx context.Context, o ScanOptions) iter.Seq2[Located, error] {
	return func(yield func(Located, error) bool) {
		seen := map[events.ID]bool{}
		for found, err := range a.eachHour(ctx, o) {
			if err != nil {
				yield(Located{}, err)
				return
			}
			found = slices.DeleteFunc(found, func(c candidate) bool { return seen[c.id] })
			for chunk := range slices.Chunk(found, scanReads) {
				if !a.yieldFronts(ctx, chunk, seen, yield) {
					return
				}
			}
		}
	}
}

// eachHour lists what fits, an hour of all services at a time.
func (a *Archive) eachHour(ctx context.Context, o ScanOptions) iter.Seq2[[]candidate, error] {
	return func(yield func([]candidate, error) bool) {
		hours, err := a.scanHours(ctx, o)
		if err != nil {
			yield(nil, err)
			return
		}
		for len(hours) > 0 {
			n := 1
			for n < len(hours) && sameHour(hours[0], hours[n]) {
				n++
			}
			found, err := a.candidates(ctx, hours[:n], o)
			hours = hours[n:]
			if !yield(found, err) || err != nil {
				return
			}
		}
	}
}

// hour is a folder of the archive.
type hour struct {
	at     time.Time
	folder string
}

// sameHour says whether the folders of two services are of one hour.
func sameHour(x, y hour) bool { return x.at.Equal(y.at) }

// scanHours finds the hours, of every service, that can hold what is looked for.
func (a *Archive) scanHours(ctx context.Context, o ScanOptions) ([]hour, error) {
	s := o.Service
	alone, err := a.roots(ctx, tapesRoot, []string{s.Cluster, s.Namespace, s.Service})
	if err != nil {
		return nil, err
	}
	reels, err := a.roots(ctx, reelsRoot, []string{s.Cluster, s.Namespace})
	if err != nil {
		return nil, err
	}
	var all []hour
	for _, root := range append(alone, reels...) {
		from, to := o.From, o.To
		if strings.HasPrefix(root, reelsRoot) { // a reel may be written long after its tapes
			to = time.Time{}
			if !from.IsZero() {
				from = from.Add(-clockSkew)
			}
		}
		hours, err := a.hours(ctx, root, from, to)
		if err != nil {
			return nil, err
		}
		all = append(all, hours...)
	}
	slices.SortFunc(all, func(x, y hour) int { return cmp.Or(x.at.Compare(y.at), strings.Compare(x.folder, y.folder)) })
	if o.Newest {
		slices.Reverse(all)
	}
	return all, nil
}

// roots are the folders below which the years begin; an empty name matches all.
func (a *Archive) roots(ctx context.Context, root string, names []string) ([]string, error) {
	folders := []string{root}
	for _, name := range names {
		var next []string
		for _, f := range folders {
			if name != "" {
				next = append(next, f+tokens(name))
				continue
			}
			found, err := a.Folders(ctx, f)
			if err != nil {
				return nil, err
			}
			for _, n := range found {
				next = append(next, f+n+"/")
			}
		}
		folders = next
	}
	return folders, nil
}

// hours are the hours below root that overlap with from..to, in their order.
func (a *Archive) hours(ctx context.Context, root string, from, to time.Time) ([]hour, error) {
	levels := []struct {
		layout string
		next   func(time.Time) time.Time
	}{
		{"2006/", func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
		{"2006/01/", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
		{"2006/01/02/", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
		{"2006/01/02/15/", func(t time.Time) time.Time { return t.Add(time.Hour) }},
	}
	found := []hour{{folder: root}}
	for _, level := range levels {
		var next []hour
		for _, h := range found {
			names, err := a.Folders(ctx, h.folder)
			if err != nil {
				return nil, err
			}
			for _, n := range names {
				folder := h.folder + n + "/"
				at, err := time.Parse(level.layout, folder[len(root):])
				if err != nil || !to.IsZero() && at.After(to) || !from.IsZero() && !level.next(at).After(from) {
					continue // not ours, or outside
				}
				next = append(next, hour{at, folder})
			}
		}
		found = next
	}
	return found, nil
}

// candidates lists the tapes of one hour that fit, in the order of their ids.
func (a *Archive) candidates(ctx context.Context, folders []hour, o ScanOptions) ([]candidate, error) {
	var found []candidate
	for _, h := range folders {
		some, err := a.candidatesIn(ctx, h.folder, o)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	slices.SortFunc(found, func(x, y candidate) int { return slices.Compare(x.id[:], y.id[:]) })
	if o.Newest {
		slices.Reverse(found)
	}
	return found, nil
}

func (a *Archive) candidatesIn(ctx context.Context, folder string, o ScanOptions) ([]candidate, error) {
	var found []candidate
	for object, err := range a.List(ctx, folder) {
		if err != nil {
			return nil, err
		}
		if id, alone := parseTapeKey(object.Key); alone {
			found = append(found, candidate{id: id, place: Place{Object: object.Key, Length: object.Size}})
			continue
		}
		name, isReel := parseReelKey(object.Key)
		if !isReel || !name.mayHold(o.From, o.To) {
			continue
		}
		entries, err := a.table(ctx, object)
		if err != nil {
			found = append(found, candidate{place: Place{Object: object.Key}, err: err})
		}
		for _, e := range entries {
			if o.Service.Service == "" || o.Service.Service == e.service {
				found = append(found, candidate{id: e.id, place: e.place(object.Key), front: e.front})
			}
		}
	}
	return slices.DeleteFunc(found, func(c candidate) bool { return c.err == nil && !o.includes(c.id.Time()) }), nil
}

func (o *ScanOptions) includes(t time.Time) bool {
	return (o.From.IsZero() || !t.Before(o.From)) && (o.To.IsZero() || !t.After(o.To))
}

// yieldFronts reads fronts at the same time and yields them in their order,
// but for copies of what was seen.
func (a *Archive) yieldFronts(ctx context.Context, chunk []candidate, seen map[events.ID]bool, yield func(Located, error) bool) bool {
	fronts, errs := make([]*events.Front, len(chunk)), make([]error, len(chunk))
	var group sync.WaitGroup
	for i, c := range chunk {
		group.Go(func() { fronts[i], errs[i] = a.candidateFront(ctx, c) })
	}
	group.Wait()
	for i, c := range chunk {
		if errs[i] == nil && seen[c.id] {
			continue
		}
		if !yield(Located{c.place, fronts[i]}, errs[i]) {
			return false
		}
		if errs[i] == nil {
			seen[c.id] = true
		}
	}
	return true
}

func (a *Archive) candidateFront(ctx context.Context, c candidate) (*events.Front, error) {
	if c.err != nil {
		return nil, c.err
	}
	f, err := a.front(ctx, c.place, c.front)
	if errors.Is(err, ErrNotFound) { // a purge came between
		if moved, ok := a.moved(ctx, c.place, c.id); ok {
			c.place = moved
			f, err = a.front(ctx, moved, 0)
		}
	}
	if err != nil {
		return nil, err
	}
	if f.TapeID() != c.id {
		return nil, fmt.Errorf("read tape at %s: %w: it is tape %s, want %s", c.place, events.ErrTape, f.TapeID(), c.id)
	}
	return f, nil
}
