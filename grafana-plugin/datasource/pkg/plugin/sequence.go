package plugin

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
)

// sequence answers with the calls of a trace or a session, one below the one
// that caused it, as the Traces panel reads it.
func sequence(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	id, steps, err := steps(ctx, index, q)
	if err != nil {
		return nil, err
	}
	frame, err := sequenceFrame(id, steps, q.links)
	if err != nil {
		return nil, err
	}
	return data.Frames{frame}, nil
}

// steps are those of what is asked for: a trace, a session, or an exchange,
// for its trace or else its session.
func steps(ctx context.Context, index *traffic.Reader, q *question) (id string, list []traffic.Step, err error) {
	switch {
	case q.Trace != "":
		trace, err := parseHex(q.Trace)
		if err != nil {
			return "", nil, err
		}
		list, err = index.Trace(ctx, trace)
		return hex.EncodeToString(trace[:]), list, err
	case q.Session != "":
		session, err := parseHex(q.Session)
		if err != nil {
			return "", nil, err
		}
		list, err = index.Session(ctx, traffic.SessionQuery{Session: session})
		return hex.EncodeToString(session[:]), list, err
	case q.Exchange != "":
		return stepsAround(ctx, index, q.Exchange)
	}
	return "", nil, badf("name a trace, a session or an exchange")
}

func stepsAround(ctx context.Context, index *traffic.Reader, text string) (string, []traffic.Step, error) {
	id, err := events.ParseID(strings.TrimSpace(text))
	if err != nil {
		return "", nil, badQuery{err}
	}
	found, err := index.Get(ctx, id)
	if err != nil {
		return "", nil, err
	}
	if found.Trace != (events.TraceID{}) {
		list, err := index.Trace(ctx, found.Trace)
		return found.Trace.String(), list, err
	}
	if found.Session != (events.SessionID{}) {
		list, err := index.Session(ctx, traffic.SessionQuery{Session: found.Session, At: found.Time})
		return found.Session.String(), list, err
	}
	return found.ID.String(), []traffic.Step{{Row: found.Row}}, nil
}

// parseHex reads 32 hex digits, as traces and sessions are written; dashes do
// not count.
func parseHex(text string) (id [16]byte, err error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), "-", ""))
	if err != nil || len(raw) != len(id) {
		return id, badf("%.60q is no trace and no session: they have 32 hex digits", text)
	}
	return [16]byte(raw), nil
}

// keyValue is how the Traces panel has tags.
type keyValue struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

// sequenceFrame has a span for each exchange. The ids of spans are those of
// exchanges: a call that was recorded at both sides is two exchanges of one span.
func sequenceFrame(id string, steps []traffic.Step, l links) (*data.Frame, error) {
	tags, serviceTags := make([]json.RawMessage, len(steps)), make([]json.RawMessage, len(steps))
	for i := range steps {
		var err error
		if tags[i], serviceTags[i], err = spanTags(&steps[i].Row); err != nil {
			return nil, err
		}
	}
	text := func(name string, of func(*traffic.Step) string) *data.Field { return column(name, "", steps, of) }
	frame := data.NewFrame("",
		text("traceID", func(*traffic.Step) string { return id }),
		linked(text("spanID", func(s *traffic.Step) string { return s.ID.String() }),
			l.to("Exchange", map[string]any{"queryType": "exchange", "exchange": "${__value.raw}"})),
		text("parentSpanID", func(s *traffic.Step) string {
			if s.Parent.IsZero() {
				return ""
			}
			return s.Parent.String()
		}),
		text("operationName", func(s *traffic.Step) string { return strings.TrimSpace(s.Method + " " + s.Template) }),
		text("serviceName", func(s *traffic.Step) string { return s.Service }),
		text("kind", func(s *traffic.Step) string {
			if s.Direction == events.Direction_OUTBOUND {
				return "client"
			}
			return "server"
		}),
		column("startTime", "", steps, func(s *traffic.Step) float64 { return float64(s.Time.UnixMicro()) / 1000 }),
		column("duration", "ms", steps, func(s *traffic.Step) float64 { return millis(s.Duration) }),
		column("statusCode", "", steps, statusCode),
		text("statusMessage", func(s *traffic.Step) string { return s.Status }),
		data.NewField("serviceTags", nil, serviceTags),
		data.NewField("tags", nil, tags),
	)
	frame.Meta = &data.FrameMeta{PreferredVisualization: data.VisTypeTrace}
	return frame, nil
}

// statusCode is OpenTelemetry's: 0 unset, 1 ok, 2 error.
func statusCode(s *traffic.Step) int64 {
	switch {
	case s.Failed():
		return 2
	case s.Open:
		return 0
	}
	return 1
}

func spanTags(r *events.Row) (tags, service json.RawMessage, err error) {
	ofSpan, ofService := []keyValue{}, []keyValue{}
	for _, p := range lineProperties(r) {
		if p.part == "workload" {
			ofService = append(ofService, keyValue{p.name, p.value})
			continue
		}
		ofSpan = append(ofSpan, keyValue{p.name, p.value})
	}
	if r.Failed() { // marks the span
		ofSpan = append(ofSpan, keyValue{"error", true})
	}
	if tags, err = json.Marshal(ofSpan); err != nil {
		return nil, nil, err
	}
	service, err = json.Marshal(ofService)
	return tags, service, err
}
