package traffic

import (
	"context"
	"fmt"
	"time"

	sq "github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// spanReach is how much of the range, at its end, is searched for calls that
// were recorded at both sides: it only teaches which host is which service.
const spanReach = time.Hour

// mentionsReplay says that replays are wanted or asked about.
func mentionsReplay(e *selector.Expr) bool { return e.Mentions(selector.Replay) }

// Map draws the service map. The selector chooses edges: one is shown whole
// when it chooses an exchange of it. Only a selector that mentions replays
// chooses what is counted.
func (r *Reader) Map(ctx context.Context, q Query) (*Graph, error) {
	g := &Graph{Nodes: []Node{}, Edges: []Edge{}}
	err := r.read(ctx, queryTimeout, func(tx pgx.Tx) error {
		base, chosen := mapSelectors(q.Selector)
		t, err := readTopology(ctx, tx, &q, base, &g.Range)
		if err != nil || t == nil {
			return err
		}
		if chosen != nil {
			if t.chosen, err = chosenEndpoints(ctx, tx, chosen, &g.Range); err != nil {
				return err
			}
		}
		g.Nodes, g.Edges = t.graph()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("draw service map: %w", err)
	}
	return g, nil
}

// mapSelectors are what a map counts and, when that is not all of it, what
// chooses the edges to show.
func mapSelectors(e *selector.Expr) (base, chosen *selector.Expr) {
	switch {
	case mentionsReplay(e):
		return e, nil
	case e.All():
		return selector.ExcludeReplays(nil), nil
	}
	return selector.ExcludeReplays(nil), selector.ExcludeReplays(e)
}

// outboundOnly is what a list of dependencies counts.
func outboundOnly(e *selector.Expr) *selector.Expr {
	return selector.Join(selector.ExcludeReplays(e), &selector.Expr{Kind: selector.Is, Condition: &selector.Condition{
		Key: selector.Direction, Op: selector.Equal, Text: "outbound",
	}})
}

// Dependencies lists what services call.
func (r *Reader) Dependencies(ctx context.Context, q Query) (*DependencyList, error) {
	l := &DependencyList{Dependencies: []Dependency{}}
	err := r.read(ctx, queryTimeout, func(tx pgx.Tx) error {
		t, err := readTopology(ctx, tx, &q, outboundOnly(q.Selector), &l.Range)
		if err != nil || t == nil {
			return err
		}
		l.Dependencies = t.dependencies()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list dependencies: %w", err)
	}
	return l, nil
}

// readTopology is nil when there is nothing in the range.
func readTopology(ctx context.Context, tx pgx.Tx, q *Query, base *selector.Expr, r *Range) (*topology, error) {
	from, to, ok, err := bounds(ctx, tx, q)
	if err != nil || !ok {
		return nil, err
	}
	t := &topology{}
	w := wholeWindow(from, to)
	if t.used, err = readUsed(ctx, tx, w, base, r); err != nil {
		return nil, err
	}
	if t.dictionary, err = endpointsOf(ctx, tx, nil); err != nil {
		return nil, err
	}
	w.from, w.to = r.From, r.To
	t.calls, err = readCalls(ctx, tx, w, t.dictionary, mentionsReplay(q.Selector))
	return t, err
}

// readUsed counts the endpoints in the window.
func readUsed(ctx context.Context, tx pgx.Tx, w window, e *selector.Expr, r *Range) ([]used, error) {
	about, rest := split(e)
	list, err := endpointsOf(ctx, tx, about)
	if err != nil {
		return nil, err
	}
	q := cellQuery{window: w, whole: true, histograms: true, rest: rest, endpoints: endpointIDs(list)}
	for i := range list {
		q.groups = append(q.groups, int32(i))
	}
	q.bound(r)
	if err := q.reach(ctx, tx, r); err != nil {
		return nil, err
	}
	r.From, r.To = q.from, q.to
	c := cells{}
	if r.Source, err = q.fetch(ctx, tx, c); err != nil {
		return nil, err
	}
	return c.used(list), nil
}

// used are the endpoints that have a cell; groups are the list's indexes.
func (c cells) used(list []endpointInfo) []used {
	var found []used
	for k, t := range c {
		found = append(found, used{list[k.group], *t})
	}
	return found
}

// chosenEndpoints are those of which the selector chooses an exchange.
func chosenEndpoints(ctx context.Context, tx pgx.Tx, e *selector.Expr, r *Range) (map[int64]bool, error) {
	about, rest := split(e)
	list, err := endpointsOf(ctx, tx, about)
	if err != nil {
		return nil, err
	}
	chosen := make(map[int64]bool, len(list))
	if rest.All() {
		for i := range list {
			chosen[list[i].id] = true
		}
		return chosen, nil
	}
	statement := dollar.Select("x.endpoint_id").Distinct().From("exchanges x").
		Join(endpointSource+" e on e.id = x.endpoint_id").Join("workloads w on w.id = x.workload_id").
		Where(inRange("x.time", r.From, r.To)).Where("x.endpoint_id = any (?)", endpointIDs(list)).Where(where(rest))
	err = query(ctx, tx, statement, func(row pgx.CollectableRow) error {
		var id int64
		err := row.Scan(&id)
		chosen[id] = true
		return err
	})
	return chosen, err
}

// readCalls finds calls that were recorded at both sides, by their spans.
func readCalls(ctx context.Context, tx pgx.Tx, w window, endpoints []endpointInfo, replays bool) ([]call, error) {
	newest, ok, err := endOf(ctx, tx, "exchanges", &Query{From: w.from, To: w.to}, false)
	if err != nil || !ok {
		return nil, err
	}
	if from := newest.Add(-spanReach); from.After(w.from) {
		w.from = from
	}
	var outbound, inbound []int64
	for _, e := range endpoints {
		switch {
		case e.replay && !replays:
		case e.direction == events.Direction_OUTBOUND:
			outbound = append(outbound, e.id)
		default:
			inbound = append(inbound, e.id)
		}
	}
	side := func(ids []int64) sq.Sqlizer {
		return sq.Select("trace, span, endpoint_id, duration_us").From("exchanges").
			Where("trace is not null and span is not null").Where(inRange("time", w.from, w.to)).
			Where("endpoint_id = any (?)", ids)
	}
	// Materialized: the planner underestimates the join by far and would loop.
	statement := dollar.Select("o.endpoint_id, i.endpoint_id, count(*), "+
		"least(greatest(sum(o.duration_us - i.duration_us), -9223372036854775807), 9223372036854775807)::int8").
		PrefixExpr(sq.Expr("with o as materialized (?), i as materialized (?)", side(outbound), side(inbound))).
		From("o").Join("i using (trace, span)").GroupBy("o.endpoint_id", "i.endpoint_id")
	var calls []call
	err = query(ctx, tx, statement, func(row pgx.CollectableRow) error {
		var c call
		err := row.Scan(&c.outbound, &c.inbound, &c.count, &c.differenceMicros)
		calls = append(calls, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find calls by their spans: %w", err)
	}
	return calls, nil
}
