package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/events/selector"
)

// chosen finds the newest limit exchanges that have ended, the oldest of them
// first. Without an index all tapes are read once, however many pages a list
// of that length would have.
func (s *source) chosen(ctx context.Context, q query, limit int) ([]events.Row, error) {
	if s.index != nil {
		rows, err := s.rows(ctx, q, limit)
		return slices.DeleteFunc(rows, func(r events.Row) bool { return r.Open }), err
	}
	filter := selector.ExcludeReplays(q.Selector)
	var rows []events.Row
	newest := func() { // the newest limit, the oldest of them first
		slices.SortFunc(rows, func(a, b events.Row) int {
			if c := a.Time.Compare(b.Time); c != 0 {
				return c
			}
			return bytes.Compare(a.ID[:], b.ID[:])
		})
		rows = slices.Delete(rows, 0, max(0, len(rows)-limit))
	}
	for r, err := range s.scan(ctx, q.From) {
		if err != nil {
			return nil, err
		}
		if r.Open || r.Time.Before(q.From) || !q.To.IsZero() && !r.Time.Before(q.To) || !filter.Match(&r) {
			continue
		}
		r.Tags = nil // what is kept of each row counts
		if rows = append(rows, r); len(rows) >= 2*max(limit, 1000) {
			newest()
		}
	}
	newest()
	return rows, nil
}

const (
	tapesAtHand = 16 // whole ones, of half a MiB
	worthATape  = 4  // exchanges: reading the whole of it costs less
)

// tapeReader reads many exchanges of few tapes: a tape once and each of its
// blocks once, as long as they are asked for about in order.
type tapeReader struct {
	source *source
	wanted map[events.ID]int // exchanges by tape
	atHand []*openTape       // the one used last is the last
}

type openTape struct {
	*events.Tape
	place tapes.Place
	block uint32
	raw   []byte // of block; nil: none yet
}

func newTapeReader(s *source, rows []events.Row) *tapeReader {
	t := &tapeReader{source: s, wanted: map[events.ID]int{}}
	for i := range rows {
		t.wanted[rows[i].Tape]++
	}
	return t
}

// exchange reads one with its whole bodies.
func (t *tapeReader) exchange(ctx context.Context, r events.Row) (*events.Exchange, error) {
	if t.wanted[r.Tape] < worthATape {
		return t.source.exchange(ctx, r)
	}
	x, err := t.read(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("read exchange %s: %w", r.ID, err)
	}
	at := events.Service{Cluster: r.Cluster, Namespace: r.Namespace, Service: r.Service}
	if err := t.source.archive.Complete(ctx, at, x); err != nil {
		return nil, fmt.Errorf("read exchange %s: %w", r.ID, err)
	}
	return x, nil
}

func (t *tapeReader) read(ctx context.Context, r events.Row) (*events.Exchange, error) {
	o, err := t.open(ctx, r)
	if err != nil {
		return nil, err
	}
	if o.raw == nil || o.block != r.Block {
		raw, err := o.Block(r.Block)
		if err != nil {
			return nil, err
		}
		o.block, o.raw = r.Block, raw
	}
	record, err := events.RecordAt(o.raw, r.Position)
	if err != nil {
		return nil, err
	}
	x := record.GetExchange()
	if x == nil || string(x.Id) != string(r.ID[:]) {
		return nil, fmt.Errorf("%w: at %s block %d position %d is something else", events.ErrTape, o.place, r.Block, r.Position)
	}
	return x, nil
}

func (t *tapeReader) open(ctx context.Context, r events.Row) (*openTape, error) {
	if i := slices.IndexFunc(t.atHand, func(o *openTape) bool { return o.TapeID() == r.Tape }); i >= 0 {
		o := t.atHand[i]
		t.atHand = append(slices.Delete(t.atHand, i, i+1), o)
		return o, nil
	}
	place, err := t.source.place(ctx, events.Service{Cluster: r.Cluster, Namespace: r.Namespace, Service: r.Service}, r)
	if err != nil {
		return nil, err
	}
	whole, err := t.source.archive.Tape(ctx, place)
	if err != nil {
		return nil, err
	}
	if whole.TapeID() != r.Tape {
		return nil, fmt.Errorf("%w: at %s lies tape %s, want %s", events.ErrTape, place, whole.TapeID(), r.Tape)
	}
	if len(t.atHand) == tapesAtHand {
		t.atHand = slices.Delete(t.atHand, 0, 1)
	}
	o := &openTape{Tape: whole, place: place}
	t.atHand = append(t.atHand, o)
	return o, nil
}
