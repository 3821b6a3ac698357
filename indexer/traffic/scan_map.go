package traffic

import (
	"context"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// Map draws the service map. The selector chooses edges: one is shown whole
// when it chooses an exchange of it. Only a selector that mentions replays
// chooses what is counted.
func (s *Scan) Map(ctx context.Context, q Query) (*Graph, error) {
	g := &Graph{Nodes: []Node{}, Edges: []Edge{}}
	base, chosen := mapSelectors(q.Selector)
	t, err := s.topology(ctx, &q, base, chosen, &g.Range)
	if err != nil || t == nil {
		return g, err
	}
	g.Nodes, g.Edges = t.graph()
	return g, nil
}

// Dependencies lists what services call.
func (s *Scan) Dependencies(ctx context.Context, q Query) (*DependencyList, error) {
	l := &DependencyList{Dependencies: []Dependency{}}
	t, err := s.topology(ctx, &q, outboundOnly(q.Selector), nil, &l.Range)
	if err != nil || t == nil {
		return l, err
	}
	l.Dependencies = t.dependencies()
	return l, nil
}

// topology is nil when there is nothing in the range.
func (s *Scan) topology(ctx context.Context, q *Query, base, chosen *selector.Expr, r *Range) (*topology, error) {
	from, to, ok, err := s.bounds(ctx, q)
	if err != nil || !ok {
		return nil, err
	}
	w := wholeWindow(from, to)
	r.From, r.To, r.Source = w.from, w.to, scanSource
	newest, err := s.newestIn(ctx, &Query{From: w.from, To: w.to})
	if err != nil {
		return nil, err
	}
	spans := &spans{window: w, replays: mentionsReplay(q.Selector), sides: map[spanKey]*sides{}}
	if from := newest.Add(-spanReach); from.After(w.from) {
		spans.from = from
	}
	t := &topology{}
	if chosen != nil {
		t.chosen = map[int64]bool{}
	}
	seen, c := newSeen(), cells{}
	err = s.all(ctx, func(row *events.Row) {
		n := seen.add(row)
		if row.Open || !w.includes(row.Time) {
			return
		}
		spans.add(row, n)
		if base.Match(row) {
			c.at(cellKey{group: n}).countRow(row)
		}
		if chosen != nil && chosen.Match(row) {
			t.chosen[seen.endpoints[n].id] = true
		}
	})
	t.dictionary, t.used, t.calls = seen.endpoints, c.used(seen.endpoints), spans.calls(seen.endpoints)
	return t, err
}

// spans finds calls that were recorded at both sides.
type spans struct {
	window
	replays bool
	sides   map[spanKey]*sides
}

// sides are the exchanges of one span.
type sides struct{ outbound, inbound []sideOfCall }

type sideOfCall struct {
	endpoint int
	micros   int64
}

func (s *spans) add(r *events.Row, endpoint int) {
	if !s.includes(r.Time) || r.Trace == (events.TraceID{}) || r.Span == (events.SpanID{}) || r.Replay && !s.replays {
		return
	}
	k := spanKey{r.Trace, r.Span}
	if s.sides[k] == nil {
		s.sides[k] = &sides{}
	}
	side := &s.sides[k].outbound
	if r.Direction == events.Direction_INBOUND {
		side = &s.sides[k].inbound
	}
	*side = append(*side, sideOfCall{endpoint, r.Duration.Microseconds()})
}

func (s *spans) calls(endpoints []endpointInfo) []call {
	sums := map[[2]int64]call{}
	for _, k := range s.sides {
		for _, o := range k.outbound {
			for _, i := range k.inbound {
				c := call{outbound: endpoints[o.endpoint].id, inbound: endpoints[i.endpoint].id}
				old := sums[[2]int64{c.outbound, c.inbound}]
				c.count, c.differenceMicros = old.count+1, old.differenceMicros+o.micros-i.micros
				sums[[2]int64{c.outbound, c.inbound}] = c
			}
		}
	}
	var list []call
	for _, c := range sums {
		list = append(list, c)
	}
	return list
}
