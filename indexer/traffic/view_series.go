package traffic

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"tapedeck/events/selector"
)

// SeriesQuery asks for what happened over time.
type SeriesQuery struct {
	Query
	// Step is the length of a bucket; zero chooses one. It is rounded up to
	// whole seconds, from 10 s on to a multiple of 10 s, and so that no series
	// has more than MaxPoints.
	Step time.Duration
	// By splits: cluster, namespace, service, direction, protocol, host,
	// method, endpoint.
	By []selector.Key
	// Limit is how many series come back, those with the most requests;
	// default 50, at most 500.
	Limit int
}

// Bounds of series.
const (
	MaxPoints     = 2000
	maxSeries     = 500
	defaultSeries = 50
	// MaxRawRange is how far back series go which only raw rows can answer.
	MaxRawRange = 24 * time.Hour
)

// Range says what a view is of.
type Range struct {
	From   time.Time `json:"from,omitzero"`    // inclusive; zero when there is nothing at all
	To     time.Time `json:"to,omitzero"`      // exclusive
	Source string    `json:"source"`           // the table that answered; "tapes" of a Scan
	Notice string    `json:"notice,omitempty"` // what was left out, in words
}

// SeriesRange is on the edges of steps.
type SeriesRange struct {
	Range
	Step time.Duration `json:"step_ns"`
}

// Throughput is how much happened.
type Throughput struct {
	SeriesRange
	Series []ThroughputSeries `json:"series"` // by requests, most first
}

// ThroughputSeries has a point for every step of the range.
type ThroughputSeries struct {
	Labels Labels            `json:"labels"`
	Total  Totals            `json:"total"`
	Points []ThroughputPoint `json:"points"`
}

// ThroughputPoint is one bucket; divide by the step for rates.
type ThroughputPoint struct {
	Time time.Time `json:"time"` // start of the bucket
	Totals
}

// Latency is how long it took.
type Latency struct {
	SeriesRange
	Series []LatencySeries `json:"series"` // by requests, most first
}

// LatencySeries has a point for every step with an exchange.
type LatencySeries struct {
	Labels Labels         `json:"labels"`
	Total  LatencyPoint   `json:"total"` // its time is the range's
	Points []LatencyPoint `json:"points"`
}

// LatencyPoint is the duration of the exchanges of one bucket.
type LatencyPoint struct {
	Time  time.Time     `json:"time"`
	Count int64         `json:"count"`
	Mean  time.Duration `json:"mean_ns"`
	Max   time.Duration `json:"max_ns"`
	Quantiles
	Histogram *Histogram `json:"-"` // for heat maps: adds up
}

// cells are totals by bucket (its start, Unix µs) and group.
type cells map[cellKey]*totals

type cellKey struct {
	bucket int64
	group  int
}

func (c cells) at(k cellKey) *totals {
	t := c[k]
	if t == nil {
		t = &totals{}
		c[k] = t
	}
	return t
}

// groups number the distinct labels of endpoints.
type groups struct {
	by     []selector.Key
	labels []Labels
	names  map[string]int
}

func newGroups(by []selector.Key) *groups { return &groups{by: by, names: map[string]int{}} }

func (g *groups) of(e *endpointInfo) int {
	var name strings.Builder
	for _, k := range g.by {
		v := e.value(k)
		fmt.Fprintf(&name, "%d:%s", len(v), v)
	}
	n, known := g.names[name.String()]
	if !known {
		n = len(g.labels)
		g.names[name.String()] = n
		g.labels = append(g.labels, e.labels(g.by))
	}
	return n
}

func (g *groups) compare(a, b int) int {
	for _, k := range g.by {
		if c := cmp.Compare(g.labels[a][k], g.labels[b][k]); c != 0 {
			return c
		}
	}
	return 0
}

func (r *Range) leftOut(more int) {
	if more > 0 {
		r.note(fmt.Sprintf("%d more series are not shown", more))
	}
}

func (r *Range) note(s string) {
	if r.Notice != "" {
		r.Notice += "; "
	}
	r.Notice += s
}

// seriesData is what Throughput and Latency are made of.
type seriesData struct {
	cells  cells
	groups *groups
	window window
	SeriesRange
}

func newSeriesData(by []selector.Key) *seriesData {
	return &seriesData{cells: cells{}, groups: newGroups(by)}
}

func (d *seriesData) set(w window) {
	d.window, d.From, d.To, d.Step = w, w.from, w.to, w.step
}

// sums are the groups with exchanges.
func (d *seriesData) sums() map[int]*totals {
	total := map[int]*totals{}
	for k, t := range d.cells {
		if total[k.group] == nil {
			total[k.group] = &totals{}
		}
		total[k.group].add(t)
	}
	return total
}

// ranked are the groups with exchanges, most requests first, at most limit.
func (d *seriesData) ranked(limit int) (order []int, total map[int]*totals) {
	total = d.sums()
	order = slices.SortedFunc(maps.Keys(total), func(a, b int) int {
		return cmp.Or(cmp.Compare(total[b].requests, total[a].requests), d.groups.compare(a, b))
	})
	if limit <= 0 {
		limit = defaultSeries
	}
	if limit = min(limit, maxSeries); len(order) > limit {
		d.leftOut(len(order) - limit)
		order = order[:limit]
	}
	return order, total
}

// at yields the start of each step with its cell, nil where there is none.
func (d *seriesData) at(group int) iter.Seq2[time.Time, *totals] {
	return func(yield func(time.Time, *totals) bool) {
		for at := d.window.from; at.Before(d.window.to); at = at.Add(d.window.step) {
			if !yield(at, d.cells[cellKey{at.UnixMicro(), group}]) {
				return
			}
		}
	}
}

func (d *seriesData) throughput(limit int) *Throughput {
	order, total := d.ranked(limit)
	result := &Throughput{SeriesRange: d.SeriesRange, Series: make([]ThroughputSeries, 0, len(order))}
	for _, n := range order {
		s := ThroughputSeries{Labels: d.groups.labels[n], Total: total[n].view()}
		for at, t := range d.at(n) {
			p := ThroughputPoint{Time: at}
			if t != nil {
				p.Totals = t.view()
			}
			s.Points = append(s.Points, p)
		}
		result.Series = append(result.Series, s)
	}
	return result
}

func (d *seriesData) latency(limit int) *Latency {
	order, total := d.ranked(limit)
	result := &Latency{SeriesRange: d.SeriesRange, Series: make([]LatencySeries, 0, len(order))}
	for _, n := range order {
		s := LatencySeries{Labels: d.groups.labels[n], Total: latencyPoint(d.window.from, total[n])}
		for at, t := range d.at(n) {
			if t != nil {
				s.Points = append(s.Points, latencyPoint(at, t))
			}
		}
		result.Series = append(result.Series, s)
	}
	return result
}

func latencyPoint(at time.Time, t *totals) LatencyPoint {
	v := t.view()
	return LatencyPoint{Time: at, Count: v.Requests, Mean: v.Mean, Max: v.Max, Quantiles: quantiles(&t.histogram), Histogram: &t.histogram}
}
