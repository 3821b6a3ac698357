package harness

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events"
)

// hour is long over, so that nothing in it is unfinished, and at the start of
// a bucket of every length up to an hour.
var hour = time.Now().UTC().Truncate(time.Hour).Add(-3 * time.Hour)

func inbound(at time.Time) sample {
	return sample{at: at, direction: events.Direction_INBOUND, host: "shop:80", status: "200", class: events.StatusClass_OK}
}

func outbound(at time.Time) sample {
	return sample{at: at, direction: events.Direction_OUTBOUND, host: "pay:443", status: "503", class: events.StatusClass_SERVER}
}

// query is one query of the hour.
func query(refID, kind string, model map[string]any) backend.DataQuery {
	raw, _ := json.Marshal(model) // test data
	return backend.DataQuery{
		RefID: refID, QueryType: kind, JSON: raw, MaxDataPoints: 500, Interval: 10 * time.Second,
		TimeRange: backend.TimeRange{From: hour, To: hour.Add(time.Hour)},
	}
}

// ask sends queries as one panel does.
func ask(t *testing.T, h *Host, who backend.PluginContext, queries ...backend.DataQuery) backend.Responses {
	t.Helper()
	res, err := h.Query(t.Context(), &backend.QueryDataRequest{PluginContext: who, Queries: queries})
	if err != nil {
		t.Fatal(err)
	}
	return res.Responses
}

// oneFrame is the frame of an answer that has to have exactly one.
func oneFrame(t *testing.T, r backend.DataResponse) *data.Frame {
	t.Helper()
	if r.Error != nil {
		t.Fatal(r.Error)
	}
	if len(r.Frames) != 1 {
		t.Fatalf("got %d frames, want 1: Grafana merges pages by frame", len(r.Frames))
	}
	return r.Frames[0]
}

func column[T any](t *testing.T, f *data.Frame, name string) []T {
	t.Helper()
	field, _ := f.FieldByName(name)
	if field == nil {
		t.Fatalf("no field %q", name)
	}
	var values []T
	for i := range field.Len() {
		v, ok := field.At(i).(T)
		if !ok {
			t.Fatalf("field %q has %T", name, field.At(i))
		}
		values = append(values, v)
	}
	return values
}

func TestTraffic(t *testing.T) {
	x, h := newIndex(t), start(t)
	replayed := inbound(hour.Add(4 * time.Second))
	replayed.replay = "r1"
	x.write(inbound(hour), outbound(hour.Add(time.Second)), replayed, inbound(hour.Add(2*time.Hour)))
	res := ask(t, h, x.source(),
		query("A", "traffic", nil),
		query("B", "traffic", map[string]any{"direction": "outbound"}),
		query("C", "traffic", map[string]any{"selector": `{replay="r1"}`}),
		query("D", "traffic", map[string]any{"selector": `{service="nobody"}`}),
	)
	for refID, want := range map[string][]string{
		"A": {"POST /v1/orders 200 12ms 10.0.0.9→shop", "POST /v1/orders 503 12ms shop→pay:443"},
		"B": {"POST /v1/orders 503 12ms shop→pay:443"},
		"C": {"POST /v1/orders 200 12ms 10.0.0.9→shop"},
		"D": nil,
	} {
		frame := oneFrame(t, res[refID])
		if diff := cmp.Diff(want, column[string](t, frame, "body")); diff != "" {
			t.Errorf("%s: %s", refID, diff)
		}
		if frame.Meta.Type != data.FrameTypeLogLines || frame.Meta.PreferredVisualization != data.VisTypeLogs || frame.Meta.ExecutedQueryString == "" {
			t.Errorf("%s: got meta %+v", refID, frame.Meta)
		}
	}
	lines := oneFrame(t, res["A"])
	if diff := cmp.Diff([]string{"info", "error"}, column[string](t, lines, "severity")); diff != "" {
		t.Error(diff)
	}
	if at := column[time.Time](t, lines, "timestamp"); !at[0].Equal(hour) || !at[1].Equal(hour.Add(time.Second)) {
		t.Errorf("got times %s, want them ascending from %s", at, hour)
	}
	var labels map[string]string
	if err := json.Unmarshal(column[json.RawMessage](t, lines, "labels")[0], &labels); err != nil {
		t.Fatal(err)
	}
	if labels["endpoint"] != "/v1/orders" || labels["service"] != "shop" || labels["namespace"] != "demo" {
		t.Errorf("got labels %v", labels)
	}
}

// Grafana's Logs panel asks for older lines with the oldest one's millisecond
// as the end. Several lines share most milliseconds here; none may be missed.
func TestTrafficPages(t *testing.T) {
	x, h := newIndex(t), start(t)
	var samples []sample
	for i := range 1203 {
		samples = append(samples, inbound(hour.Add(time.Duration(i)*300*time.Microsecond)))
	}
	x.write(samples...)
	who, q := x.source(), query("A", "traffic", nil)
	seen, pages := map[string]int{}, 0
	for more := true; more; pages++ {
		frame := oneFrame(t, ask(t, h, who, q)["A"])
		times := column[time.Time](t, frame, "timestamp")
		if !slices.IsSortedFunc(times, time.Time.Compare) {
			t.Fatalf("page %d is not ascending", pages)
		}
		before := len(seen)
		for _, id := range column[string](t, frame, "id") {
			seen[id]++
		}
		more = len(seen) > before
		q.TimeRange.To = times[0].Truncate(time.Millisecond)
		if !q.TimeRange.From.Before(q.TimeRange.To) {
			more = false
		}
	}
	if len(seen) != len(samples) {
		t.Errorf("saw %d lines on %d pages, want %d", len(seen), pages, len(samples))
	}
	if pages < 3 {
		t.Errorf("%d lines came on %d pages: nothing was paged", len(samples), pages)
	}
	for id, n := range seen {
		if n > 2 {
			t.Errorf("line %s came %d times", id, n)
		}
	}

	// A panel that asks for more gets more at once than the index gives.
	whole := query("A", "traffic", nil)
	whole.MaxDataPoints = 2000
	frame := oneFrame(t, ask(t, h, who, whole)["A"])
	if got := frame.Rows(); got != len(samples) || !slices.IsSortedFunc(column[time.Time](t, frame, "timestamp"), time.Time.Compare) {
		t.Errorf("got %d lines at once, want %d, ascending", got, len(samples))
	}
}

func TestThroughput(t *testing.T) {
	x, h := newIndex(t), start(t)
	x.write(inbound(hour.Add(time.Minute)), inbound(hour.Add(61*time.Second)), outbound(hour.Add(90*time.Second)))
	who := x.source()
	grouped := map[string]any{"groupBy": []string{"direction", "host"}}
	res := ask(t, h, who,
		query("A", "throughput", nil),
		query("B", "throughput", grouped),
		query("C", "throughput", map[string]any{"measure": "errors", "groupBy": []string{"direction"}}),
		query("D", "throughput", map[string]any{"measure": "response_bytes", "direction": "inbound"}),
		query("E", "throughput", map[string]any{"measure": "error_rate"}),
	)
	total := func(refID string) map[string]float64 {
		frame := oneFrame(t, res[refID])
		step := checkSeries(t, frame)
		sums := map[string]float64{}
		for _, field := range frame.Fields[1:] {
			for i := range field.Len() {
				if v := field.At(i).(*float64); v != nil {
					sums[field.Labels.String()] += *v * step.Seconds()
				}
			}
		}
		for name, sum := range sums {
			sums[name] = float64(int64(sum + 0.5))
		}
		return sums
	}
	for refID, want := range map[string]map[string]float64{
		"A": {"": 3},
		"B": {"direction=inbound, host=shop:80": 2, "direction=outbound, host=pay:443": 1},
		"C": {"direction=inbound": 0, "direction=outbound": 1},
		"D": {"": 2000},
	} {
		if diff := cmp.Diff(want, total(refID)); diff != "" {
			t.Errorf("%s: %s", refID, diff)
		}
	}
	// A share has no value where nothing was called.
	rate := oneFrame(t, res["E"])
	var values []float64
	for i := range rate.Rows() {
		if v := rate.Fields[1].At(i).(*float64); v != nil {
			values = append(values, *v)
		}
	}
	if diff := cmp.Diff([]float64{0, 1}, values); diff != "" {
		t.Error(diff)
	}
}

// checkSeries holds a frame to what alert rules and panels take for granted
// and returns the length of its buckets.
func checkSeries(t *testing.T, f *data.Frame) time.Duration {
	t.Helper()
	if f.Meta.Type != data.FrameTypeTimeSeriesWide || f.Meta.TypeVersion != (data.FrameTypeVersion{0, 1}) || f.Meta.ExecutedQueryString == "" {
		t.Errorf("got meta %+v", f.Meta)
	}
	times := column[time.Time](t, f, f.Fields[0].Name)
	if len(times) < 2 {
		t.Fatalf("got %d buckets", len(times))
	}
	step := times[1].Sub(times[0])
	for i := range times[1:] {
		if times[i+1].Sub(times[i]) != step {
			t.Fatalf("buckets at %s and %s are not %s apart", times[i], times[i+1], step)
		}
	}
	for _, field := range f.Fields[1:] {
		if field.Type() != data.FieldTypeNullableFloat64 || field.Config.Unit == "" || field.Config.Interval != float64(step.Milliseconds()) {
			t.Errorf("field %s is %s with %+v", field.Name, field.Type(), field.Config)
		}
	}
	return step
}

func TestNothingRecorded(t *testing.T) {
	x, h := newIndex(t), start(t)
	res := ask(t, h, x.source(),
		query("A", "traffic", nil),
		query("B", "throughput", map[string]any{"groupBy": []string{"service"}}),
	)
	for refID, kind := range map[string]data.FrameType{"A": data.FrameTypeLogLines, "B": data.FrameTypeTimeSeriesWide} {
		frame := oneFrame(t, res[refID])
		if frame.Meta.Type != kind || frame.Rows() != 0 {
			t.Errorf("%s: got %d rows of %s", refID, frame.Rows(), frame.Meta.Type)
		}
	}
}

func TestRefused(t *testing.T) {
	x, h := newIndex(t), start(t)
	who := x.source()
	res := ask(t, h, who,
		query("A", "nonsense", nil),
		query("B", "traffic", map[string]any{"selector": "{service=}"}),
		query("C", "throughput", map[string]any{"measure": "happiness"}),
		query("D", "throughput", map[string]any{"groupBy": []string{"path"}}),
		query("E", "", nil),
	)
	for refID, want := range map[string]string{
		"A": `query type "nonsense" is none of dependencies, errors, exchange, `,
		"B": "selector column 10",
		"C": `measure "happiness" is none of`,
		"D": `series can't be split by "path"`,
		"E": `query type "" is none of`,
	} {
		got := res[refID]
		if got.Error == nil || !strings.Contains(got.Error.Error(), want) || got.Status != backend.StatusBadRequest || got.ErrorSource != backend.ErrorSourceDownstream {
			t.Errorf("%s: got %d %s %v, want %q", refID, got.Status, got.ErrorSource, got.Error, want)
		}
	}
	alert := &backend.QueryDataRequest{
		PluginContext: who, Headers: map[string]string{backend.FromAlertHeaderName: "true"},
		Queries: []backend.DataQuery{query("A", "throughput", map[string]any{"selector": `{service="$service"}`}), query("B", "throughput", nil)},
	}
	answer, err := h.Query(t.Context(), alert)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Responses["A"].Error; err == nil || !strings.Contains(err.Error(), "alert rules have no template variables") {
		t.Errorf("got %v", err)
	}
	if err := answer.Responses["B"].Error; err != nil {
		t.Error(err)
	}
}

func TestDatabaseAway(t *testing.T) {
	x, h := newIndex(t), start(t)
	away := x.source(func(jsonData, _ map[string]string) { jsonData["dbHost"] = "127.0.0.1:1" })
	got := ask(t, h, away, query("A", "traffic", nil))["A"]
	if got.Error == nil || got.ErrorSource != backend.ErrorSourceDownstream || got.Status != backend.StatusBadGateway {
		t.Errorf("got %d %s %v", got.Status, got.ErrorSource, got.Error)
	}
	if password := away.DataSourceInstanceSettings.DecryptedSecureJSONData["dbPassword"]; password != "" && strings.Contains(fmt.Sprint(got.Error), password) {
		t.Error("the error holds the password")
	}
	missing := x.source(func(jsonData, _ map[string]string) { jsonData["dbName"] = "never_made" })
	if got := ask(t, h, missing, query("A", "throughput", nil))["A"]; got.Error == nil || !strings.Contains(got.Error.Error(), `there is no database "never_made"`) {
		t.Errorf("got %v", got.Error)
	}
	nothing := x.source(func(jsonData, _ map[string]string) { clear(jsonData) })
	if got := ask(t, h, nothing, query("A", "traffic", nil))["A"]; got.Error == nil || !strings.Contains(got.Error.Error(), "no database host is set") {
		t.Errorf("got %v", got.Error)
	}
}
