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

// pipelineMeasure is what is shown of the way of tapes into the index.
type pipelineMeasure struct {
	name, unit string
	empty      *float64 // of a bucket without a tape
	of         func(p *traffic.PipelinePoint, seconds float64) float64
}

var zero = new(float64(0))

var pipelineMeasures = map[string]pipelineMeasure{
	"lag":       {"lag", "s", nil, func(p *traffic.PipelinePoint, _ float64) float64 { return p.MaxLag.Seconds() }},
	"mean_lag":  {"mean lag", "s", nil, func(p *traffic.PipelinePoint, _ float64) float64 { return p.MeanLag.Seconds() }},
	"tapes":     {"tapes/s", "cps", zero, func(p *traffic.PipelinePoint, s float64) float64 { return float64(p.Tapes) / s }},
	"bytes":     {"tape bytes/s", "Bps", zero, func(p *traffic.PipelinePoint, s float64) float64 { return float64(p.Bytes) / s }},
	"exchanges": {"exchanges/s", "cps", zero, func(p *traffic.PipelinePoint, s float64) float64 { return float64(p.Exchanges) / s }},
	"dropped":   {"dropped", "short", zero, func(p *traffic.PipelinePoint, _ float64) float64 { return float64(p.Dropped) }},
	"dead":      {"dead", "short", zero, func(p *traffic.PipelinePoint, _ float64) float64 { return float64(p.Dead) }},
}

// pipeline answers with how tapes come into the index: over time by service, or
// as a table of sources, or how old the newest of each service is.
func pipeline(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	switch q.Measure {
	case "sources":
		return sources(ctx, index, q)
	case "freshness":
		return freshness(ctx, index, q)
	case "":
		q.Measure = "lag"
	}
	m, known := pipelineMeasures[q.Measure]
	if !known {
		names := append(slices.Collect(maps.Keys(pipelineMeasures)), "sources", "freshness")
		slices.Sort(names)
		return nil, badf("measure %q is none of %s", q.Measure, strings.Join(names, ", "))
	}
	p, err := index.Pipeline(ctx, traffic.PipelineQuery{Query: q.chosen(), Step: max(q.Interval, minStep), Limit: maxSeries})
	if err != nil {
		return nil, err
	}
	return data.Frames{pipelineFrame(p, m, time.Now())}, nil
}

func pipelineFrame(p *traffic.Pipeline, m pipelineMeasure, now time.Time) *data.Frame {
	times := buckets(&p.SeriesRange, now)
	places := numbered(times)
	var curves []curve
	for _, s := range p.Series {
		labels := data.Labels{"cluster": s.Cluster, "namespace": s.Namespace, "service": s.Service.Service}
		c := curve{m.name, m.unit, labels, legend(labels, []selector.Key{selector.Service}, m.name), make([]*float64, len(times))}
		for i := range c.values {
			c.values[i] = m.empty
		}
		for i := range s.Points {
			if at, ended := places[s.Points[i].Time.UnixNano()]; ended {
				c.values[at] = new(m.of(&s.Points[i], p.Step.Seconds()))
			}
		}
		curves = append(curves, c)
	}
	return wide(times, p.Step, curves, p.Notice)
}
