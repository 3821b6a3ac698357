package plugin

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

// measure is what is counted. of is nil where there is no value.
type measure struct {
	name string
	unit string // of Grafana
	of   func(t traffic.Totals, seconds float64) *float64
}

var measures = map[string]measure{
	"requests":       {"requests/s", "reqps", func(t traffic.Totals, s float64) *float64 { return perSecond(t.Requests, s) }},
	"errors":         {"errors/s", "reqps", func(t traffic.Totals, s float64) *float64 { return perSecond(t.Errors(), s) }},
	"request_bytes":  {"request bytes/s", "Bps", func(t traffic.Totals, s float64) *float64 { return perSecond(t.RequestBytes, s) }},
	"response_bytes": {"response bytes/s", "Bps", func(t traffic.Totals, s float64) *float64 { return perSecond(t.ResponseBytes, s) }},
	"error_rate":     {"error rate", "percentunit", func(t traffic.Totals, _ float64) *float64 { return share(t.Errors(), t.Requests) }},
}

func perSecond(n int64, seconds float64) *float64 { return new(float64(n) / seconds) }

func share(n, of int64) *float64 {
	if of == 0 {
		return nil
	}
	return new(float64(n) / float64(of))
}

func choose(known map[string]measure, name, standard string) (measure, error) {
	if name == "" {
		name = standard
	}
	m, ok := known[name]
	if !ok {
		return measure{}, badf("measure %q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	return m, nil
}

// throughput answers with one series for each group, over time.
func throughput(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	m, err := choose(measures, q.Measure, "requests")
	if err != nil {
		return nil, err
	}
	by := q.by()
	counted, err := index.Throughput(ctx, q.series(by))
	if err != nil {
		return nil, err
	}
	return q.linkSeries(throughputFrame(counted, by, m, time.Now())), nil
}

func throughputFrame(counted *traffic.Throughput, by []selector.Key, m measure, now time.Time) *data.Frame {
	times := buckets(&counted.SeriesRange, now)
	var curves []curve
	for _, s := range orNothing(counted, by) {
		labels := labelsOf(s.Labels, by)
		curves = append(curves, curve{m.name, m.unit, labels, legend(labels, by, m.name), measured(s.Points, len(times), m, counted.Step)})
	}
	return wide(times, counted.Step, curves, counted.Notice)
}

// orNothing are the series. Nothing at all is a count as well: a rule for "no
// traffic" needs it.
func orNothing(counted *traffic.Throughput, by []selector.Key) []traffic.ThroughputSeries {
	if len(counted.Series) == 0 && len(by) == 0 && counted.Step > 0 {
		return []traffic.ThroughputSeries{{}}
	}
	return counted.Series
}

// measured are the values of the first n buckets. A series has a point for each.
func measured(points []traffic.ThroughputPoint, n int, m measure, step time.Duration) []*float64 {
	list := make([]*float64, n)
	for i := range list {
		var t traffic.Totals
		if i < len(points) {
			t = points[i].Totals
		}
		list[i] = m.of(t, step.Seconds())
	}
	return list
}
