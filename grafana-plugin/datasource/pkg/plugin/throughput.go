package plugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/experimental/concurrent"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

const (
	// The finest rollup: shorter buckets would have to read every row.
	minStep = 10 * time.Second
	// Series of one answer, those with the most requests.
	maxSeries = 100
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

func measureOf(name string) (measure, error) {
	if name == "" {
		name = "requests"
	}
	m, known := measures[name]
	if !known {
		return measure{}, badQuery{fmt.Errorf("measure %q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(measures)), ", "))}
	}
	return m, nil
}

// throughput answers with one series for each group, over time.
func (d *DataSource) throughput(ctx context.Context, q concurrent.Query) backend.DataResponse {
	frame, err := d.series(ctx, q.DataQuery)
	if err != nil {
		return failed(d.inWords(err))
	}
	return backend.DataResponse{Frames: data.Frames{frame}}
}

func (d *DataSource) series(ctx context.Context, q backend.DataQuery) (*data.Frame, error) {
	asked, expr, err := readQuery(q)
	if err != nil {
		return nil, err
	}
	m, err := measureOf(asked.Measure)
	if err != nil {
		return nil, err
	}
	index, err := d.reader(ctx)
	if err != nil {
		return nil, err
	}
	series := traffic.SeriesQuery{
		Query: traffic.Query{Selector: expr, From: q.TimeRange.From, To: q.TimeRange.To},
		Step:  max(q.Interval, minStep), Limit: maxSeries,
	}
	for _, key := range asked.GroupBy {
		series.By = append(series.By, selector.Key(key))
	}
	counted, err := index.Throughput(ctx, series)
	if err != nil {
		return nil, err
	}
	frame := throughputFrame(counted, series.By, m, time.Now())
	frame.Meta.ExecutedQueryString = fmt.Sprintf("%s by %v\nfrom %s to %s in steps of %s, out of %s",
		expr, series.By, stamp(counted.From), stamp(counted.To), counted.Step, counted.Source)
	return frame, nil
}

// throughputFrame has one time field for all series, as alert rules want it.
// Nothing is known yet of a bucket that has not ended: it is left out.
func throughputFrame(counted *traffic.Throughput, by []selector.Key, m measure, now time.Time) *data.Frame {
	frame := data.NewFrame("")
	frame.Meta = &data.FrameMeta{Type: data.FrameTypeTimeSeriesWide, TypeVersion: data.FrameTypeVersion{0, 1}}
	if counted.Notice != "" {
		frame.AppendNotices(data.Notice{Severity: data.NoticeSeverityWarning, Text: counted.Notice})
	}
	list := counted.Series
	if len(list) == 0 && len(by) == 0 && counted.Step > 0 {
		// Nothing at all is a count as well: a rule for "no traffic" needs it.
		list = []traffic.ThroughputSeries{{}}
	}
	if len(list) == 0 {
		return frame
	}
	times := buckets(counted, now)
	interval := float64(counted.Step.Milliseconds())
	frame.Fields = append(frame.Fields, data.NewField("time", nil, times).SetConfig(&data.FieldConfig{Interval: interval}))
	for _, s := range list {
		labels := labelsOf(s.Labels, by)
		field := data.NewField(m.name, labels, values(s.Points, len(times), m, counted.Step))
		frame.Fields = append(frame.Fields, field.SetConfig(&data.FieldConfig{
			Unit: m.unit, Interval: interval, DisplayNameFromDS: legend(labels, by, m),
		}))
	}
	return frame
}

func buckets(counted *traffic.Throughput, now time.Time) (times []time.Time) {
	times = []time.Time{}
	for at := counted.From; at.Before(counted.To) && !at.Add(counted.Step).After(now); at = at.Add(counted.Step) {
		times = append(times, at)
	}
	return times
}

// values are those of the first n buckets. A series has a point for each.
func values(points []traffic.ThroughputPoint, n int, m measure, step time.Duration) []*float64 {
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

func labelsOf(l traffic.Labels, by []selector.Key) data.Labels {
	labels := make(data.Labels, len(by))
	for _, key := range by {
		labels[string(key)] = l[key]
	}
	return labels
}

// legend names a series by what makes it differ from the others.
func legend(labels data.Labels, by []selector.Key, m measure) string {
	var words []string
	for _, key := range by {
		words = append(words, labels[string(key)])
	}
	if len(words) == 0 {
		return m.name
	}
	return strings.Join(words, " ")
}
