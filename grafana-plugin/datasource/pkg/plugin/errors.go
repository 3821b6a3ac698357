package plugin

import (
	"context"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

var errorMeasures = map[string]measure{
	"error_rate":  measures["error_rate"],
	"errors":      measures["errors"],
	"error_count": {"errors", "short", func(t traffic.Totals, _ float64) *float64 { return new(float64(t.Errors())) }},
}

// errorClasses are the classes of exchanges that did not go well. Of those
// server and failed are errors; client is the caller's doing.
var errorClasses = []struct {
	name string
	of   func(traffic.Totals) int64
}{
	{"client", func(t traffic.Totals) int64 { return t.Client }},
	{"server", func(t traffic.Totals) int64 { return t.Server }},
	{"failed", func(t traffic.Totals) int64 { return t.Failed }},
}

// errorSeries answers with errors over time by group. The class is a group like
// any other, though the index counts it in columns.
func errorSeries(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	m, err := choose(errorMeasures, q.Measure, "error_rate")
	if err != nil {
		return nil, err
	}
	by := q.by()
	byClass := slices.Contains(by, selector.Class)
	by = slices.DeleteFunc(slices.Clone(by), func(k selector.Key) bool { return k == selector.Class })
	counted, err := index.Throughput(ctx, q.series(by))
	if err != nil {
		return nil, err
	}
	if byClass {
		counted.Series, by = splitClasses(orNothing(counted, by)), append(by, selector.Class)
	} else if q.expr, err = narrowed(q.expr, selector.Error, "true"); err != nil { // what the links list
		return nil, err
	}
	return q.linkSeries(throughputFrame(counted, by, m, time.Now())), nil
}

func narrowed(expr *selector.Expr, key selector.Key, value string) (*selector.Expr, error) {
	condition, err := selector.Equals(string(key), value)
	return selector.Join(expr, condition), err
}

// splitClasses makes a series of each class, in which only it counts as errors.
func splitClasses(list []traffic.ThroughputSeries) (split []traffic.ThroughputSeries) {
	for _, s := range list {
		for _, class := range errorClasses {
			one := traffic.ThroughputSeries{Labels: traffic.Labels{selector.Class: class.name}}
			for key, value := range s.Labels {
				one.Labels[key] = value
			}
			for _, p := range s.Points {
				only := traffic.Totals{Requests: p.Requests, Server: class.of(p.Totals)}
				one.Points = append(one.Points, traffic.ThroughputPoint{Time: p.Time, Totals: only})
			}
			split = append(split, one)
		}
	}
	return split
}
