package traffic

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	sq "github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"

	"tapedeck/events"
	"tapedeck/events/selector"
)

const rowColumns = "x.time, x.id, x.duration_us, x.ttfb_us, x.request_bytes, x.response_bytes, x.span, x.parent_span, " +
	"x.tape, x.connection, x.session, x.trace, x.cause, x.block, x.position, x.flags, x.cause_confidence, x.class, " +
	"x.status, x.path, x.peer, x.replay_id, x.tags, " +
	"e.replay, e.direction, e.cluster, e.namespace, e.service, e.protocol, e.host, e.method, e.template, w.version, w.instance"

// scanRow reads rowColumns and, behind them, more.
func scanRow(row pgx.CollectableRow, r *events.Row, more ...any) error {
	var durationMicros, ttfbMicros int64
	var span, parentSpan *int64
	var connection, session, trace, cause *[16]byte
	var block, position, flags int32
	var class int16
	var replayID *string
	var tags []byte
	var direction string
	err := row.Scan(append([]any{
		&r.Time, (*[16]byte)(&r.ID), &durationMicros, &ttfbMicros, &r.RequestBytes, &r.ResponseBytes, &span, &parentSpan,
		(*[16]byte)(&r.Tape), &connection, &session, &trace, &cause, &block, &position, &flags, &r.CauseConfidence, &class,
		&r.Status, &r.Path, &r.Peer, &replayID, &tags,
		&r.Replay, &direction, &r.Cluster, &r.Namespace, &r.Service, &r.Protocol, &r.Host, &r.Method, &r.Template, &r.Version, &r.Instance,
	}, more...)...)
	if err != nil {
		return err
	}
	r.Kind, r.Time = events.Kind_EXCHANGE, r.Time.UTC()
	r.Duration, r.TTFB = time.Duration(durationMicros)*time.Microsecond, time.Duration(ttfbMicros)*time.Microsecond
	r.Block, r.Position, r.Flags, r.Class = uint32(block), uint32(position), uint32(flags), events.StatusClass(class)
	r.Direction, _ = events.ParseDirection(direction) // the table's check holds it
	r.Span, r.ParentSpan = spanOf(span), spanOf(parentSpan)
	r.Connection, r.Session = events.ID(valueOf(connection)), events.SessionID(valueOf(session))
	r.Trace, r.Cause = events.TraceID(valueOf(trace)), events.ID(valueOf(cause))
	r.ReplayID = valueOf(replayID)
	r.Tags, err = tagsOf(tags)
	return err
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func spanOf(p *int64) (s events.SpanID) {
	binary.BigEndian.PutUint64(s[:], uint64(valueOf(p)))
	return s
}

// tagsOf reads tags in the order of their keys: jsonb keeps no other.
func tagsOf(b []byte) ([]*events.Tag, error) {
	if b == nil {
		return nil, nil
	}
	values := map[string]string{}
	if err := json.Unmarshal(b, &values); err != nil {
		return nil, fmt.Errorf("read tags: %w", err)
	}
	var tags []*events.Tag
	for k, v := range values {
		tags = append(tags, &events.Tag{Key: k, Value: v})
	}
	sortTags(tags)
	return tags, nil
}

func sortTags(tags []*events.Tag) {
	slices.SortFunc(tags, func(a, b *events.Tag) int { return strings.Compare(a.Key, b.Key) })
}

// rowsFrom selects rows of exchanges or open_exchanges.
func rowsFrom(table string) sq.SelectBuilder {
	return dollar.Select(rowColumns).From(table + " x").
		Join(endpointSource + " e on e.id = x.endpoint_id").
		Join("workloads w on w.id = x.workload_id")
}

// openSource reads as exchanges does. What has not ended has not failed.
var openSource = "(select " + strings.Replace(exchangeColumns, " class,", " case when class = 4 then 0::int2 else class end as class,", 1) +
	" from open_exchanges)"

// openRows selects the newest state of each open exchange that has no row of
// its own yet.
func openRows() sq.SelectBuilder {
	return rowsFrom(openSource).
		Where("not exists (select from exchanges n where n.time = x.time and n.id = x.id)").
		Where("not exists (select from open_exchanges n where n.time = x.time and n.id = x.id and n.tape > x.tape)")
}

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
