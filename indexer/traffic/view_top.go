package traffic

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"tapedeck/events/selector"
)

// TopQuery asks for the groups of exchanges with the most of something.
type TopQuery struct {
	Query
	By    []selector.Key `json:"by,omitempty"`    // as in SeriesQuery
	Order Order          `json:"order,omitempty"` // most first; default requests
	Limit int            `json:"limit,omitempty"` // default 20, at most 1000
}

// Order is what groups are ranked by.
type Order string

const (
	defaultTop = 20
	maxTop     = 1000
)

var orders = map[Order]func(*TopGroup) float64{
	"requests":   func(g *TopGroup) float64 { return float64(g.Requests) },
	"errors":     func(g *TopGroup) float64 { return float64(g.Errors()) },
	"error_rate": func(g *TopGroup) float64 { return float64(g.Errors()) / float64(g.Requests) },
	"p50":        func(g *TopGroup) float64 { return float64(g.P50) },
	"p95":        func(g *TopGroup) float64 { return float64(g.P95) },
	"p99":        func(g *TopGroup) float64 { return float64(g.P99) },
	"max":        func(g *TopGroup) float64 { return float64(g.Max) },
	"bytes":      func(g *TopGroup) float64 { return float64(g.RequestBytes) + float64(g.ResponseBytes) },
}

// Orders are all that there are, in alphabetical order.
func Orders() []Order { return slices.Sorted(maps.Keys(orders)) }

func (q *TopQuery) check() error {
	if q.Order == "" {
		q.Order = "requests"
	}
	if orders[q.Order] == nil {
		var names []string
		for _, o := range Orders() {
			names = append(names, string(o))
		}
		return queryError("there is no order by %q, but by %s", q.Order, strings.Join(names, ", "))
	}
	if q.Limit <= 0 {
		q.Limit = defaultTop
	}
	q.Limit = min(q.Limit, maxTop)
	return nil
}

// Top is a ranking.
type Top struct {
	Range
	Groups []TopGroup `json:"groups"`
	More   int        `json:"more,omitempty"` // groups beyond the limit
}

// TopGroup is what happened in one group in the whole range.
type TopGroup struct {
	Labels Labels `json:"labels"`
	Totals
	Quantiles
}

func wholeCut(from, to time.Time) (window, error) { return wholeWindow(from, to), nil }

func (d *seriesData) top(q *TopQuery) *Top {
	total := d.sums()
	groups := make([]TopGroup, len(d.groups.labels))
	order := slices.Collect(maps.Keys(total))
	for _, n := range order {
		groups[n] = TopGroup{Labels: d.groups.labels[n], Totals: total[n].view(), Quantiles: quantiles(&total[n].histogram)}
	}
	rank := orders[q.Order]
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(rank(&groups[b]), rank(&groups[a])), cmp.Compare(groups[b].Requests, groups[a].Requests), d.groups.compare(a, b))
	})
	top := &Top{Range: d.Range, Groups: []TopGroup{}, More: max(0, len(order)-q.Limit)}
	for _, n := range order[:min(len(order), q.Limit)] {
		top.Groups = append(top.Groups, groups[n])
	}
	return top
}
