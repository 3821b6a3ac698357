package traffic

import (
	"context"
	"fmt"
	"slices"
	"time"

	sq "github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// searchReaches are how far back (or on) each search goes; zero is all the way. Each
// goes on where the one before it ended.
var searchReaches = []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour, 0}

// searchTimeout ends a search that finds little; the page then says how far it
// went.
const searchTimeout = 5 * time.Second

// List returns a page of the list. It searches the nearest hour first, then 6
// and 24 hours, then all the rest of the range, until the page is full.
func (r *Reader) List(ctx context.Context, q ListQuery) (*Page, error) {
	return r.list(ctx, q, searchTimeout)
}

func (r *Reader) list(ctx context.Context, q ListQuery, timeout time.Duration) (*Page, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	filter, err := q.filter()
	if err != nil {
		return nil, err
	}
	var page *Page
	err = r.read(ctx, timeout, func(tx pgx.Tx) error {
		s := search{tx: tx, ListQuery: q}
		if err := s.prepare(ctx, filter); err != nil {
			return err
		}
		page, err = s.run(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list exchanges: %w", err)
	}
	return page, nil
}

// noReplays is what a search without a selector asks of the endpoints: not
// worth naming all the others.
var noReplays = selector.ExcludeReplays(nil).String()

// fewEndpoints is how many are named in a statement, so that their index can
// be used; more are joined.
const fewEndpoints = 1000

type search struct {
	tx pgx.Tx
	ListQuery
	endpoints []int64        // nil: all that rest chooses
	none      bool           // no endpoint can match
	rest      *selector.Expr // what the endpoints do not answer
	start     time.Time      // where the list begins, see prepare
}

// prepare asks the dictionary for the endpoints and finds where the list begins.
func (s *search) prepare(ctx context.Context, filter *selector.Expr) error {
	about, rest := split(filter)
	s.rest = filter
	if narrow := !about.All() && about.String() != noReplays; narrow {
		list, err := endpointsOf(ctx, s.tx, about)
		if err != nil {
			return err
		}
		s.none = len(list) == 0
		if len(list) <= fewEndpoints {
			s.endpoints, s.rest = endpointIDs(list), rest
		}
	}
	found := false
	for _, table := range []string{"exchanges", "open_exchanges"} {
		t, ok, err := endOf(ctx, s.tx, table, s.remaining(), s.Oldest)
		switch {
		case err != nil:
			return err
		case !ok:
		case !found, s.Oldest && t.Before(s.start), !s.Oldest && t.After(s.start):
			s.start, found = t, true
		}
	}
	if !s.Oldest {
		s.start = s.start.Add(time.Microsecond) // the upper bound is outside
	}
	s.none = s.none || !found
	return nil
}

// remaining is the range behind the cursor.
func (s *search) remaining() *Query {
	q := s.Query
	switch c := s.Cursor.Time; {
	case s.Cursor.IsZero():
	case s.Oldest && c.After(q.From):
		q.From = c
	case !s.Oldest && (q.To.IsZero() || c.Before(q.To)):
		q.To = c.Add(time.Microsecond)
	}
	return &q
}

func (s *search) run(ctx context.Context) (*Page, error) {
	page := &Page{Exchanges: []events.Row{}, Searched: s.end()}
	if s.none {
		return page, nil
	}
	near := s.start
	for _, reach := range searchReaches {
		far := s.farEnd(reach)
		err := s.page(ctx, page, near, far)
		if timedOut(err) && near != s.start {
			page.Next, page.Searched = s.cursorAt(near), near
			return page, nil
		}
		if err != nil {
			return nil, err
		}
		if len(page.Exchanges) == s.Limit {
			last := &page.Exchanges[s.Limit-1]
			page.Next, page.Searched = After(last), last.Time
			return page, nil
		}
		near = far
	}
	return page, nil
}

// end is where the list ends.
func (s *search) end() time.Time {
	if s.Oldest {
		return s.To
	}
	return s.From
}

// farEnd is how far a search goes: zero is to the end of all.
func (s *search) farEnd(reach time.Duration) time.Time {
	switch {
	case reach == 0:
		return s.end()
	case s.Oldest:
		if far := s.start.Add(reach); s.To.IsZero() || far.Before(s.To) {
			return far
		}
		return s.To
	}
	if far := s.start.Add(-reach); far.After(s.From) {
		return far
	}
	return s.From
}

// cursorAt continues at a time: behind everything before it in the list.
func (s *search) cursorAt(t time.Time) Cursor {
	if s.Oldest {
		return Cursor{Time: t.Add(-time.Microsecond), ID: events.ID(slices.Repeat([]byte{0xff}, 16))}
	}
	return Cursor{Time: t} // no id is below the zero id
}

// page appends what lies between near and far, up to the limit.
func (s *search) page(ctx context.Context, page *Page, near, far time.Time) error {
	from, to := far, near
	if s.Oldest {
		from, to = near, far
	}
	limit := s.Limit - len(page.Exchanges)
	found := make([]events.Row, 0, limit)
	scan := func(open bool) func(pgx.CollectableRow) error {
		return func(row pgx.CollectableRow) error {
			var r events.Row
			if err := scanRow(row, &r); err != nil {
				return err
			}
			if open {
				r.Kind, r.Open = events.Kind_OPEN, true
			}
			found = append(found, r)
			return nil
		}
	}
	ended := s.statement(rowsFrom("exchanges"), from, to, limit)
	if err := query(ctx, s.tx, ended, scan(false)); err != nil {
		return err
	}
	if err := query(ctx, s.tx, s.statement(openRows(), from, to, limit), scan(true)); err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b events.Row) int {
		if s.Oldest {
			return compareRows(&a, &b)
		}
		return compareRows(&b, &a)
	})
	page.Exchanges = append(page.Exchanges, found[:min(limit, len(found))]...)
	return nil
}

// statement reads a page. The bound on time stands beside the row comparison
// because that one alone excludes no chunk.
func (s *search) statement(b sq.SelectBuilder, from, to time.Time, limit int) sq.SelectBuilder {
	order, operator, bound := "x.time desc, x.id desc", "<", sq.Sqlizer(sq.LtOrEq{"x.time": s.Cursor.Time})
	if s.Oldest {
		order, operator, bound = "x.time, x.id", ">", sq.GtOrEq{"x.time": s.Cursor.Time}
	}
	if !s.Cursor.IsZero() {
		b = b.Where(bound).Where("(x.time, x.id) "+operator+" (?, ?::uuid)", s.Cursor.Time, s.Cursor.ID.String())
	}
	if s.endpoints != nil {
		b = b.Where("x.endpoint_id = any (?)", s.endpoints)
	}
	return b.Where(inRange("x.time", from, to)).Where(where(s.rest)).OrderBy(order).Limit(uint64(limit))
}
