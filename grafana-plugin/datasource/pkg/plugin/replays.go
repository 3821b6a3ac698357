package plugin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
)

// replays answers with the replays that ran in the range. It is a table, and
// has what annotations are made of: time, timeEnd, title, text, tags and id.
func replays(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	list, err := index.Replays(ctx, q.outcomes())
	if err != nil {
		return nil, err
	}
	type run = events.ReplayResult
	text := func(name string, of func(*run) string) *data.Field { return column(name, "", list, of) }
	count := func(name string, of func(*run) int) *data.Field {
		return column(name, "short", list, func(r *run) float64 { return float64(of(r)) })
	}
	took := func(name string, of func(*run) time.Duration) *data.Field {
		return column(name, "ms", list, func(r *run) float64 { return millis(of(r)) })
	}
	frame := data.NewFrame("",
		column("time", "", list, func(r *run) *time.Time { return known(r.StartedAt) }),
		column("timeEnd", "", list, func(r *run) *time.Time { return known(r.EndedAt) }),
		text("verdict", func(r *run) string { return string(r.Verdict) }),
		text("scenario", func(r *run) string { return r.Scenario }),
		text("version", func(r *run) string { return r.Version }),
		text("target", func(r *run) string { return r.Target }),
		text("by", func(r *run) string { return r.By }),
		count("tests", func(r *run) int { return r.Tests.Total }),
		count("passed", func(r *run) int { return r.Tests.Passed }),
		count("missed", func(r *run) int { return r.Tests.Missed }),
		count("failed", func(r *run) int { return r.Tests.Failed }),
		count("errors", func(r *run) int { return r.Errors }),
		column("throughput", "reqps", list, func(r *run) float64 { return r.Throughput }),
		took("p50", func(r *run) time.Duration { return r.Latency.P50 }),
		took("p95", func(r *run) time.Duration { return r.Latency.P95 }),
		took("p99", func(r *run) time.Duration { return r.Latency.P99 }),
		text("isolation", func(r *run) string { return r.Isolation }),
		text("reason", func(r *run) string { return r.Reason }),
		linked(text("id", func(r *run) string { return r.ID }), q.links.to("Exchanges of the replay",
			map[string]any{"queryType": "traffic", "selector": "{replay=`${__value.raw}`}"})),
		text("title", func(r *run) string { return fmt.Sprintf("Replay of %s: %s", r.Scenario, r.Verdict) }),
		text("text", replayText),
		text("tags", func(r *run) string { return strings.Join([]string{"replay", string(r.Verdict)}, ",") }),
	)
	frame.Meta = &data.FrameMeta{Type: data.FrameTypeTable, PreferredVisualization: data.VisTypeTable}
	return data.Frames{frame}, nil
}

func replayText(r *events.ReplayResult) string {
	text := fmt.Sprintf("%d of %d tests passed against %s", r.Tests.Passed, r.Tests.Total, r.Target)
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}
