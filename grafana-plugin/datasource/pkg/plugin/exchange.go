package plugin

import (
	"context"
	"fmt"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
)

// property is a row of the table about one exchange.
type property struct{ part, name, value string }

// exchange answers with what the index has of one exchange. Its bodies are in
// the archive.
func exchange(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	id, err := events.ParseID(strings.TrimSpace(q.Exchange))
	if err != nil {
		return nil, badQuery{err}
	}
	found, err := index.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	list := properties(found)
	to := []data.DataLink{q.links.to("Calls of its trace or session", map[string]any{"queryType": "sequence", "exchange": id.String()})}
	if found.Trace != (events.TraceID{}) {
		to = q.links.trace(found.Trace.String())
	}
	frame := data.NewFrame("exchange",
		column("part", "", list, func(p *property) string { return p.part }),
		column("name", "", list, func(p *property) string { return p.name }),
		linked(column("value", "", list, func(p *property) string { return p.value }), to...),
	)
	frame.Meta = &data.FrameMeta{Type: data.FrameTypeTable, PreferredVisualization: data.VisTypeTable}
	return data.Frames{frame}, nil
}

func properties(x *traffic.Located) []property {
	list := []property{{"exchange", "id", x.ID.String()}, {"exchange", "time", stamp(x.Time)}}
	list = append(list, lineProperties(&x.Row)...)
	add := func(part, name, value string) {
		if value != "" {
			list = append(list, property{part, name, value})
		}
	}
	add("exchange", "span", x.Span.String())
	add("exchange", "parent span", x.ParentSpan.String())
	if !x.Connection.IsZero() {
		add("exchange", "connection", x.Connection.String())
	}
	if !x.Cause.IsZero() {
		add("cause", "exchange", x.Cause.String())
		add("cause", "confidence", fmt.Sprintf("%.2f", x.CauseConfidence))
	}
	if x.Open {
		add("exchange", "open", "has not ended yet")
	}
	add("tape", "id", x.Tape.String())
	if x.Place == nil {
		add("tape", "archived", "not yet")
	} else {
		add("tape", "object", x.Place.Object)
		add("tape", "bytes", fmt.Sprintf("%d to %d", x.Place.Offset, x.Place.Offset+x.Place.Length))
	}
	return list
}
