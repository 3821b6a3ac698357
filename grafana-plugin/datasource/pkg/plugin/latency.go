package plugin

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

var (
	standardPercentiles = []float64{50, 95, 99}
	maxPercentiles      = 8
)

// latency answers with percentiles over time by group. They are made of
// histograms that add up, so that those of a group are never averages.
func latency(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	percentiles := q.Percentiles
	if len(percentiles) == 0 {
		percentiles = standardPercentiles
	}
	if len(percentiles) > maxPercentiles {
		return nil, badf("%d percentiles, at most %d", len(percentiles), maxPercentiles)
	}
	for _, p := range percentiles {
		if !(p > 0 && p <= 100) {
			return nil, badf("percentile %v is not above 0 and at most 100", p)
		}
	}
	by := q.by()
	series := q.series(by)
	series.Limit = max(1, series.Limit/len(percentiles))
	took, err := index.Latency(ctx, series)
	if err != nil {
		return nil, err
	}
	return q.linkSeries(latencyFrame(took, by, percentiles, time.Now())), nil
}

func latencyFrame(took *traffic.Latency, by []selector.Key, percentiles []float64, now time.Time) *data.Frame {
	times := buckets(&took.SeriesRange, now)
	places := numbered(times)
	var curves []curve
	for _, s := range took.Series {
		for _, p := range percentiles {
			labels := maps.Clone(labelsOf(s.Labels, by))
			name := percentileName(p)
			c := curve{name: name, unit: "ms", labels: labels, values: make([]*float64, len(times))}
			c.legend = strings.TrimSpace(legend(labels, by, "") + " " + name)
			labels["quantile"] = strconv.FormatFloat(p/100, 'g', 6, 64)
			for i := range s.Points {
				if at, ended := places[s.Points[i].Time.UnixNano()]; ended {
					c.values[at] = new(millis(percentileOf(&s.Points[i], p)))
				}
			}
			curves = append(curves, c)
		}
	}
	return wide(times, took.Step, curves, took.Notice)
}

func percentileName(p float64) string {
	if p == 100 {
		return "max"
	}
	return "p" + strconv.FormatFloat(p, 'f', -1, 64)
}

// percentileOf is no more than the longest that was seen, which is exact.
func percentileOf(at *traffic.LatencyPoint, p float64) time.Duration {
	if p == 100 {
		return at.Max
	}
	return min(at.Histogram.Quantile(p/100), at.Max)
}
