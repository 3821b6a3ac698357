package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
)

// Lines of one answer. Grafana's Logs panel asks for the next ones by the
// millisecond of the last one, so a page has to hold more than fit into one.
const (
	minLines = 500
	maxLines = 5000
)

// lineLimit is how many lines a panel gets that asks for so many data points.
func lineLimit(maxDataPoints int64) int {
	return int(min(max(maxDataPoints, minLines), maxLines))
}

// lines answers with one line for each exchange, newest first.
func lines(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	list := traffic.ListQuery{Query: q.chosen()}
	// The whole last millisecond: Grafana cuts the end of a page down to it.
	list.To = list.To.Add(time.Millisecond)
	limit := lineLimit(q.MaxDataPoints)
	rows, searched, err := readLines(ctx, index, list, limit)
	if err != nil {
		return nil, err
	}
	frame, err := trafficFrame(rows, limit, q.links)
	if err != nil {
		return nil, err
	}
	if !searched.IsZero() {
		warn(frame, "Only what came after "+stamp(searched)+" was searched: the rest would take too long. A shorter range or more conditions help.")
	}
	return data.Frames{frame}, nil
}

// readLines reads pages, newest first, until there are limit rows. searched is
// where a search was stopped for taking too long.
func readLines(ctx context.Context, index *traffic.Reader, q traffic.ListQuery, limit int) (rows []events.Row, searched time.Time, err error) {
	for len(rows) < limit {
		q.Limit = min(limit-len(rows), traffic.MaxPage)
		page, err := index.List(ctx, q)
		if err != nil {
			return nil, time.Time{}, err
		}
		rows = append(rows, page.Exchanges...)
		if page.Next.IsZero() {
			break
		}
		if len(page.Exchanges) < q.Limit {
			return rows, page.Searched, nil
		}
		q.Cursor = page.Next
	}
	return rows, time.Time{}, nil
}

// newestLine is the newest exchange of the hour before now, nil for none.
func newestLine(ctx context.Context, index *traffic.Reader, now time.Time) (*events.Row, error) {
	page, err := index.List(ctx, traffic.ListQuery{Query: traffic.Query{From: now.Add(-time.Hour)}, Limit: 1})
	if err != nil || len(page.Exchanges) == 0 {
		return nil, err
	}
	return &page.Exchanges[0], nil
}

// stamp writes a time as executed queries show it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// trafficFrame makes log lines of rows that are newest first. The lines are
// ascending: Grafana merges pages by a search that takes that for granted.
func trafficFrame(rows []events.Row, limit int, l links) (*data.Frame, error) {
	n := len(rows)
	times, ids := make([]time.Time, n), make([]string, n)
	bodies, severities := make([]string, n), make([]string, n)
	traces, sessions := make([]string, n), make([]string, n)
	labels, kinds := make([]json.RawMessage, n), make([]json.RawMessage, n)
	write := labeller{kinds: map[string]json.RawMessage{}}
	for i := range rows {
		row, at := &rows[i], n-1-i
		text, kind, err := write.labels(row)
		if err != nil {
			return nil, err
		}
		times[at], ids[at] = row.Time, row.ID.String()
		bodies[at], severities[at] = line(row), severity(row)
		labels[at], kinds[at] = text, kind
		traces[at], sessions[at] = row.Trace.String(), row.Session.String()
	}
	frame := data.NewFrame("",
		data.NewField("timestamp", nil, times),
		data.NewField("body", nil, bodies),
		data.NewField("severity", nil, severities),
		data.NewField("id", nil, ids),
		data.NewField("labels", nil, labels),
		data.NewField("labelTypes", nil, kinds),
		// Texts beyond the contract: the details of a line show their links.
		withLink("exchange_id", ids, l.to("Exchange", map[string]any{"queryType": "exchange", "exchange": "${__value.raw}"})),
		withLink("trace_id", traces, l.trace("${__value.raw}")...),
		withLink("session_id", sessions, l.to("Calls of the session", map[string]any{"queryType": "sequence", "session": "${__value.raw}"})),
	)
	frame.Meta = &data.FrameMeta{
		Type:                   data.FrameTypeLogLines,
		PreferredVisualization: data.VisTypeLogs,
		Custom:                 map[string]any{"limit": limit},
	}
	return frame, nil
}

func withLink(name string, values []string, to ...data.DataLink) *data.Field {
	return data.NewField(name, nil, values).SetConfig(&data.FieldConfig{Links: to})
}

// line is an exchange in one line: "POST /v1/orders 503 412ms client→orders".
func line(r *events.Row) string {
	status := cmp.Or(r.Status, r.Class.Name())
	if r.Open {
		status = "open"
	}
	caller, callee := hostOf(r.Peer), r.Service
	if r.Direction == events.Direction_OUTBOUND {
		caller, callee = r.Service, r.Host
	}
	words := []string{r.Method, r.Path, status, short(r.Duration), caller + "→" + callee}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// hostOf leaves a client's port out: it is another one each time.
func hostOf(peer string) string {
	if host, _, err := net.SplitHostPort(peer); err == nil {
		return host
	}
	return peer
}

// short rounds to three digits: 412ms, 1.23s, 89µs.
func short(d time.Duration) string {
	for unit := 1000 * time.Second; unit > time.Microsecond; unit /= 10 {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}

func severity(r *events.Row) string {
	switch r.Class {
	case events.StatusClass_OK:
		return "info"
	case events.StatusClass_CLIENT:
		return "warning"
	case events.StatusClass_SERVER:
		return "error"
	case events.StatusClass_FAILED:
		return "critical"
	}
	return "unknown"
}

// labeller writes what a line shows when it is opened, by the selector's keys.
// All values are text: Grafana adds up numbers of a line that it gets twice.
type labeller struct {
	kinds map[string]json.RawMessage // by the names: most lines have the same
}

func (l *labeller) labels(r *events.Row) (labels, kinds json.RawMessage, err error) {
	list := lineProperties(r)
	labels = make(json.RawMessage, 0, 512)
	var names []byte
	for i, p := range list {
		labels = append(labels, separator(i))
		if labels, err = appendText(labels, p.name); err != nil {
			return nil, nil, err
		}
		labels = append(labels, ':')
		if labels, err = appendText(labels, p.value); err != nil {
			return nil, nil, err
		}
		names = append(append(names, p.name...), 0)
	}
	kinds, known := l.kinds[string(names)]
	if !known {
		kind := make(map[string]string, len(list))
		for _, p := range list {
			kind[p.name] = kindOf[p.part]
		}
		if kinds, err = json.Marshal(kind); err != nil {
			return nil, nil, err
		}
		l.kinds[string(names)] = kinds
	}
	return append(labels, '}'), kinds, nil
}

func separator(i int) byte {
	if i == 0 {
		return '{'
	}
	return ','
}

// appendText writes a text as JSON has it. Nearly all need no escape.
func appendText(b []byte, text string) ([]byte, error) {
	plain := func(c byte) bool { return c >= ' ' && c < 0x7f && c != '"' && c != '\\' }
	for i := range len(text) {
		if !plain(text[i]) {
			quoted, err := json.Marshal(text)
			return append(b, quoted...), err
		}
	}
	return append(append(append(b, '"'), text...), '"'), nil
}

// kindOf are the kinds of labels; datasource.ts has their headings.
var kindOf = map[string]string{"endpoint": "E", "workload": "W", "exchange": "X", "tags": "T"}

// lineProperties are those of an exchange that people look for, without the
// empty ones, each once.
func lineProperties(r *events.Row) []property {
	list := make([]property, 0, 28)
	add := func(part, name, value string) {
		if value != "" {
			list = append(list, property{part, name, value})
		}
	}
	add("workload", "cluster", r.Cluster)
	add("workload", "namespace", r.Namespace)
	add("workload", "service", r.Service)
	add("workload", "version", r.Version)
	add("workload", "instance", r.Instance)
	add("endpoint", "direction", r.Direction.Name())
	add("endpoint", "protocol", r.Protocol)
	add("endpoint", "host", r.Host)
	add("endpoint", "method", r.Method)
	add("endpoint", "endpoint", r.Template)
	add("exchange", "path", r.Path)
	add("exchange", "peer", r.Peer)
	add("exchange", "status", r.Status)
	if !r.Open {
		add("exchange", "class", r.Class.Name())
	}
	add("exchange", "duration", r.Duration.String())
	add("exchange", "ttfb", r.TTFB.String())
	add("exchange", "request_bytes", strconv.FormatInt(r.RequestBytes, 10))
	add("exchange", "response_bytes", strconv.FormatInt(r.ResponseBytes, 10))
	add("exchange", "session", r.Session.String())
	add("exchange", "trace", r.Trace.String())
	add("exchange", "replay", r.ReplayID)
	for i, tag := range r.Tags {
		first := !slices.ContainsFunc(r.Tags[:i], func(t *events.Tag) bool { return t.Key == tag.Key })
		if first {
			add("tags", "tag."+tag.Key, tag.Value)
		}
	}
	return list
}
