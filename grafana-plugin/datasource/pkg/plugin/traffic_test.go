package plugin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events"
)

func rowAt(at time.Time) events.Row {
	return events.Row{
		ID: events.NewID(at), Time: at, Duration: 412_345 * time.Microsecond, TTFB: 400 * time.Millisecond,
		Cluster: "c", Namespace: "shop", Service: "orders", Direction: events.Direction_INBOUND,
		Protocol: "http", Host: "orders:80", Method: "POST", Template: "/v1/orders", Path: "/v1/orders",
		Peer: "10.0.0.1:40000", Status: "503", Class: events.StatusClass_SERVER, RequestBytes: 10, ResponseBytes: 20,
		Tags: []*events.Tag{{Key: "tenant", Value: "a"}, {Key: "tenant", Value: "second"}},
	}
}

func TestTrafficFrame(t *testing.T) {
	start := time.Now().UTC().Truncate(time.Microsecond)
	newestFirst := []events.Row{rowAt(start.Add(time.Second)), rowAt(start)}
	frame, err := trafficFrame(newestFirst, 500, links{})
	if err != nil {
		t.Fatal(err)
	}
	checkLogLines(t, frame)
	if got := frame.Fields[0].At(0).(time.Time); !got.Equal(start) {
		t.Errorf("first line is of %s, want the oldest, %s", got, start)
	}
	if got, want := frame.Fields[1].At(0), "POST /v1/orders 503 412ms 10.0.0.1→orders"; got != want {
		t.Errorf("got line %q, want %q", got, want)
	}
	var labels map[string]string // all text
	if err := json.Unmarshal(frame.Fields[4].At(0).(json.RawMessage), &labels); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"cluster": "c", "namespace": "shop", "service": "orders", "direction": "inbound", "protocol": "http",
		"host": "orders:80", "method": "POST", "endpoint": "/v1/orders", "path": "/v1/orders", "peer": "10.0.0.1:40000",
		"status": "503", "class": "server", "duration": "412.345ms", "ttfb": "400ms", "request_bytes": "10",
		"response_bytes": "20", "tag.tenant": "a",
	}
	if diff := cmp.Diff(want, labels); diff != "" {
		t.Error(diff)
	}
}

// Whatever is in a text, labels are JSON that reads back as it was.
func TestLabelsAreJSON(t *testing.T) {
	write := labeller{kinds: map[string]json.RawMessage{}}
	for _, path := range []string{"/a", "/a\"b\\c", "/\x00\n\x7f", "/é\u2028<b>&", strings.Repeat("x", 2000)} {
		row := rowAt(time.Now())
		row.Path, row.Tags = path, []*events.Tag{{Key: `x" y`, Value: path}}
		labels, kinds, err := write.labels(&row)
		if err != nil {
			t.Fatal(err)
		}
		var got, kind map[string]string
		if err := json.Unmarshal(labels, &got); err != nil || got["path"] != path || got[`tag.x" y`] != path {
			t.Errorf("%q: %s %v", path, labels, err)
		}
		if err := json.Unmarshal(kinds, &kind); err != nil || len(kind) != len(got) || kind["path"] != "X" || kind["service"] != "W" {
			t.Errorf("%q: kinds %s %v", path, kinds, err)
		}
	}
}

func TestEmptyTrafficFrame(t *testing.T) {
	frame, err := trafficFrame(nil, 500, links{})
	if err != nil {
		t.Fatal(err)
	}
	checkLogLines(t, frame)
	if n := frame.Rows(); n != 0 {
		t.Errorf("got %d rows", n)
	}
}

// checkLogLines holds a frame to the contract of log lines.
func checkLogLines(t *testing.T, f *data.Frame) {
	t.Helper()
	want := map[string]data.FieldType{
		"timestamp": data.FieldTypeTime, "body": data.FieldTypeString, "severity": data.FieldTypeString,
		"id": data.FieldTypeString, "labels": data.FieldTypeJSON, "labelTypes": data.FieldTypeJSON,
		"exchange_id": data.FieldTypeString, "trace_id": data.FieldTypeString, "session_id": data.FieldTypeString,
	}
	got := map[string]data.FieldType{}
	for _, field := range f.Fields {
		got[field.Name] = field.Type()
		if field.Type().Numeric() {
			t.Errorf("field %s has numbers: Grafana adds them up where pages overlap", field.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if f.Meta.Type != data.FrameTypeLogLines || f.Meta.PreferredVisualization != data.VisTypeLogs || f.Meta.TypeVersion != (data.FrameTypeVersion{}) {
		t.Errorf("got meta %+v", f.Meta)
	}
	for i := 1; i < f.Rows(); i++ {
		if f.Fields[0].At(i).(time.Time).Before(f.Fields[0].At(i - 1).(time.Time)) {
			t.Fatalf("line %d is older than line %d: Grafana searches them as ascending", i, i-1)
		}
	}
}

func TestLine(t *testing.T) {
	for name, change := range map[string]func(*events.Row){
		"POST /v1/orders 503 412ms orders→pay:443": func(r *events.Row) { r.Direction, r.Host = events.Direction_OUTBOUND, "pay:443" },
		"POST /v1/orders failed 3s 10.0.0.1→orders": func(r *events.Row) {
			r.Status, r.Class, r.Duration = "", events.StatusClass_FAILED, 3*time.Second
		},
		"POST /v1/orders open 1m1s 10.0.0.1→orders":    func(r *events.Row) { r.Open, r.Status, r.Duration = true, "", 61*time.Second },
		"503 1.23ms 10.0.0.1→orders":                   func(r *events.Row) { r.Method, r.Path, r.Duration = "", "", 1234*time.Microsecond },
		"POST /v1/orders 503 7µs unix→orders":          func(r *events.Row) { r.Peer, r.Duration = "unix", 7*time.Microsecond },
		"POST /v1/orders 503 412ms 2001:db8::1→orders": func(r *events.Row) { r.Peer = "[2001:db8::1]:555" },
	} {
		row := rowAt(time.Now())
		change(&row)
		if got := line(&row); got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
}

func TestSeverity(t *testing.T) {
	for class, want := range map[events.StatusClass]string{
		events.StatusClass_OK: "info", events.StatusClass_CLIENT: "warning", events.StatusClass_SERVER: "error",
		events.StatusClass_FAILED: "critical", events.StatusClass_STATUS_CLASS_UNSPECIFIED: "unknown",
	} {
		if got := severity(&events.Row{Class: class}); got != want {
			t.Errorf("%s: got %s, want %s", class.Name(), got, want)
		}
	}
}

func TestLineLimit(t *testing.T) {
	for asked, want := range map[int64]int{0: 500, 100: 500, 1200: 1200, 1 << 40: 5000, -1: 500} {
		if got := lineLimit(asked); got != want {
			t.Errorf("%d: got %d, want %d", asked, got, want)
		}
	}
}
