package plugin

import (
	"context"
	"strconv"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/indexer/traffic"
)

// heatmapRows is the type of frame that the Heatmap panel reads as rows of
// counts; the SDK has no name for it.
const heatmapRows = "heatmap-rows"

// heatmap answers with how many exchanges took how long, over time.
func heatmap(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	m, err := index.HeatMap(ctx, q.series(nil))
	if err != nil {
		return nil, err
	}
	return data.Frames{heatmapFrame(m, time.Now())}, nil
}

// heatmapFrame has a field of counts for each row, from short to long, none of
// which holds the one below. Its name is the upper bound in seconds, which the
// panel writes in its unit; the panel takes the time for the end of a bucket.
func heatmapFrame(m *traffic.HeatMap, now time.Time) *data.Frame {
	frame := data.NewFrame("")
	frame.Meta = &data.FrameMeta{Type: heatmapRows}
	warn(frame, m.Notice)
	if len(m.Bounds) == 0 {
		return frame
	}
	times := buckets(&m.SeriesRange, now)
	places := numbered(times)
	ends := make([]time.Time, len(times))
	for i, at := range times {
		ends[i] = at.Add(m.Step)
	}
	frame.Fields = append(frame.Fields, data.NewField("Time", nil, ends).
		SetConfig(&data.FieldConfig{Interval: float64(m.Step.Milliseconds())}))
	for row, bound := range m.Bounds {
		counts := make([]float64, len(times))
		for _, p := range m.Points {
			if at, ended := places[p.Time.UnixNano()]; ended {
				counts[at] = float64(p.Counts[row])
			}
		}
		name := strconv.FormatFloat(bound.Seconds(), 'g', 4, 64)
		frame.Fields = append(frame.Fields, data.NewField(name, data.Labels{"le": name}, counts).
			SetConfig(&data.FieldConfig{Unit: "short", DisplayNameFromDS: name}))
	}
	return frame
}
