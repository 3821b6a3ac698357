package traffic

import (
	"container/heap"
	"context"
	"fmt"
	"slices"

	"tapedeck/events"
)

// List returns a page of the list.
func (s *Scan) List(ctx context.Context, q ListQuery) (*Page, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	filter, err := q.filter()
	if err != nil {
		return nil, err
	}
	// The first rows of the list seen so far, the last of them on top.
	first := &rowHeap{less: func(a, b *events.Row) bool {
		if q.Oldest {
			return compareRows(a, b) > 0
		}
		return compareRows(a, b) < 0
	}}
	visit := func(r *events.Row) {
		if !q.includes(r.Time) || !q.behind(r) || !filter.Match(r) {
			return
		}
		if len(first.rows) == q.Limit {
			if !first.less(first.rows[0], r) {
				return
			}
			heap.Pop(first)
		}
		heap.Push(first, clone(r))
	}
	open, err := s.separate(ctx, visit)
	if err != nil {
		return nil, err
	}
	for _, r := range open {
		visit(&r)
	}
	return first.page(&q), nil
}

// page empties the heap.
func (h *rowHeap) page(q *ListQuery) *Page {
	p := &Page{Exchanges: make([]events.Row, len(h.rows)), Searched: q.From}
	if q.Oldest {
		p.Searched = q.To
	}
	for i := len(h.rows) - 1; i >= 0; i-- {
		p.Exchanges[i] = *heap.Pop(h).(*events.Row)
	}
	if n := len(p.Exchanges); n == q.Limit {
		last := &p.Exchanges[n-1]
		p.Next, p.Searched = After(last), last.Time
	}
	return p
}

type rowHeap struct {
	rows []*events.Row
	less func(a, b *events.Row) bool
}

func (h *rowHeap) Len() int           { return len(h.rows) }
func (h *rowHeap) Less(i, j int) bool { return h.less(h.rows[i], h.rows[j]) }
func (h *rowHeap) Swap(i, j int)      { h.rows[i], h.rows[j] = h.rows[j], h.rows[i] }
func (h *rowHeap) Push(x any)         { h.rows = append(h.rows, x.(*events.Row)) }
func (h *rowHeap) Pop() any {
	last := h.rows[len(h.rows)-1]
	h.rows = h.rows[:len(h.rows)-1]
	return last
}

// separate visits the exchanges that have ended and returns the others, in
// their newest state.
func (s *Scan) separate(ctx context.Context, visit func(*events.Row)) (map[Cursor]events.Row, error) {
	open := map[Cursor]events.Row{}
	err := s.all(ctx, func(r *events.Row) {
		if !r.Open {
			visit(r)
			return
		}
		if known, ok := open[After(r)]; !ok || slices.Compare(known.Tape[:], r.Tape[:]) < 0 {
			open[After(r)] = *r
		}
	})
	if err != nil || len(open) == 0 {
		return open, err
	}
	err = s.each(ctx, func(r *events.Row) { delete(open, After(r)) })
	return open, err
}

// Get finds one exchange by its id, without its place. It is ErrNotFound when
// there is none.
func (s *Scan) Get(ctx context.Context, id events.ID) (*Located, error) {
	var ended, open *events.Row
	err := s.all(ctx, func(r *events.Row) {
		switch x := *r; {
		case r.ID != id:
		case !r.Open:
			ended = &x
		case open == nil || slices.Compare(open.Tape[:], r.Tape[:]) < 0:
			open = &x
		}
	})
	switch {
	case err != nil:
		return nil, err
	case ended != nil:
		return &Located{Row: *ended}, nil
	case open != nil:
		return &Located{Row: *open}, nil
	}
	return nil, fmt.Errorf("get exchange %s: %w", id, ErrNotFound)
}

// Trace returns the exchanges of a trace in the order of their causes: at most
// 2000, the oldest ones.
func (s *Scan) Trace(ctx context.Context, id events.TraceID) ([]Step, error) {
	return s.sequence(ctx, func(r *events.Row) bool { return r.Trace == id && id != (events.TraceID{}) })
}

// Session returns the exchanges of a session in the order of their causes: at
// most 2000, the oldest ones within 12 hours of the time.
func (s *Scan) Session(ctx context.Context, q SessionQuery) ([]Step, error) {
	if q.Session == (events.SessionID{}) {
		return []Step{}, nil
	}
	if q.At.IsZero() {
		err := s.each(ctx, func(r *events.Row) {
			if r.Session == q.Session && r.Time.After(q.At) {
				q.At = r.Time
			}
		})
		if err != nil {
			return nil, err
		}
	}
	around := Query{From: q.At.Add(-sessionReach), To: q.At.Add(sessionReach)}
	return s.sequence(ctx, func(r *events.Row) bool { return r.Session == q.Session && around.includes(r.Time) })
}

func (s *Scan) sequence(ctx context.Context, belongs func(*events.Row) bool) ([]Step, error) {
	first := &rowHeap{less: func(a, b *events.Row) bool { return compareRows(a, b) > 0 }}
	err := s.each(ctx, func(r *events.Row) {
		if !belongs(r) {
			return
		}
		heap.Push(first, clone(r))
		if len(first.rows) > maxSequence {
			heap.Pop(first)
		}
	})
	if err != nil {
		return nil, err
	}
	rows := make([]events.Row, len(first.rows))
	for i, r := range first.rows {
		rows[i] = *r
	}
	return sequence(rows), nil
}

func clone(r *events.Row) *events.Row {
	c := *r
	return &c
}
