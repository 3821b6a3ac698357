package plugin

import (
	"context"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
)

func (q *question) outcomes() traffic.OutcomeQuery {
	return traffic.OutcomeQuery{From: q.TimeRange.From, To: q.TimeRange.To, Scenario: q.Scenario, Limit: q.Limit}
}

// scenarios answers with the scenarios that were made in the range.
func scenarios(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	list, err := index.Scenarios(ctx, q.outcomes())
	if err != nil {
		return nil, err
	}
	type ready = events.ScenarioReady
	count := func(name string, of func(*ready) int) *data.Field {
		return column(name, "short", list, func(s *ready) float64 { return float64(of(s)) })
	}
	frame := data.NewFrame("",
		column("time", "", list, func(s *ready) time.Time { return s.CreatedAt }),
		linked(column("scenario", "", list, func(s *ready) string { return s.Name }),
			q.links.to("Replays", map[string]any{"queryType": "replays", "scenario": "${__value.raw}"})),
		column("version", "", list, func(s *ready) string { return s.Version }),
		column("error", "", list, func(s *ready) string { return s.Error }),
		count("tests", func(s *ready) int { return s.Tests }),
		count("sessions", func(s *ready) int { return s.Sessions }),
		count("mocks", func(s *ready) int { return s.Mocks }),
		count("credentials", func(s *ready) int { return s.Credentials }),
		column("dependencies", "", list, func(s *ready) string {
			var names []string
			for _, d := range s.Dependencies {
				names = append(names, d.Name)
			}
			return strings.Join(names, ", ")
		}),
		column("recorded_from", "", list, func(s *ready) *time.Time { return known(s.From) }),
		column("recorded_to", "", list, func(s *ready) *time.Time { return known(s.To) }),
		column("location", "", list, func(s *ready) string { return s.Location }),
	)
	frame.Meta = &data.FrameMeta{Type: data.FrameTypeTable, PreferredVisualization: data.VisTypeTable}
	return data.Frames{frame}, nil
}

// known is nil for a time that is not.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
