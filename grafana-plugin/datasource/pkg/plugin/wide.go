package plugin

import (
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

const (
	// The finest rollup: shorter buckets would have to read every row.
	minStep = 10 * time.Second
	// Series of one answer, those with the most requests.
	maxSeries = 100
)

// curve is one series of a wide frame.
type curve struct {
	name, unit string // unit is Grafana's
	labels     data.Labels
	legend     string
	values     []*float64 // one for each time, nil where there is none
}

// wide has one time field for all series, as alert rules want it. Without
// series it has no fields, which they understand.
func wide(times []time.Time, step time.Duration, curves []curve, notice string) *data.Frame {
	frame := data.NewFrame("")
	frame.Meta = &data.FrameMeta{Type: data.FrameTypeTimeSeriesWide, TypeVersion: data.FrameTypeVersion{0, 1}}
	warn(frame, notice)
	if len(curves) == 0 {
		return frame
	}
	interval := float64(step.Milliseconds())
	frame.Fields = append(frame.Fields, data.NewField("time", nil, times).SetConfig(&data.FieldConfig{Interval: interval}))
	for _, c := range curves {
		frame.Fields = append(frame.Fields, data.NewField(c.name, c.labels, c.values).SetConfig(&data.FieldConfig{
			Unit: c.unit, Interval: interval, DisplayNameFromDS: c.legend,
		}))
	}
	return frame
}

func warn(frame *data.Frame, notice string) {
	if notice != "" {
		frame.AppendNotices(data.Notice{Severity: data.NoticeSeverityWarning, Text: notice})
	}
}

// buckets are the starts of the range's buckets. Nothing is known yet of one
// that has not ended: it is left out.
func buckets(r *traffic.SeriesRange, now time.Time) (times []time.Time) {
	times = []time.Time{}
	for at := r.From; r.Step > 0 && at.Before(r.To) && !at.Add(r.Step).After(now); at = at.Add(r.Step) {
		times = append(times, at)
	}
	return times
}

// numbered are the places of times.
func numbered(times []time.Time) map[int64]int {
	places := make(map[int64]int, len(times))
	for i, at := range times {
		places[at.UnixNano()] = i
	}
	return places
}

func labelsOf(l traffic.Labels, by []selector.Key) data.Labels {
	labels := make(data.Labels, len(by))
	for _, key := range by {
		labels[string(key)] = l[key]
	}
	return labels
}

// legend names a series by what makes it differ from the others; name is for
// the only one.
func legend(labels data.Labels, by []selector.Key, name string) string {
	var words []string
	for _, key := range by {
		words = append(words, labels[string(key)])
	}
	if len(words) == 0 {
		return name
	}
	return strings.Join(words, " ")
}

// millis is a duration in the unit that panels are given.
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
