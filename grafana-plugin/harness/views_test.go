package harness

import (
	"encoding/json"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events"
)

// Every view of the shop's traffic, asked as Grafana asks it, by a user who may
// only read, and counted again over what was written.
func TestViews(t *testing.T) {
	x, h, samples, ids := shop(t)
	v := views{h: h, who: x.readerSource(), samples: recorded(samples), all: samples, ids: ids}
	for name, check := range map[string]func(*testing.T){
		"errors": v.errors, "latency": v.latency, "heatmap": v.heatmap, "top": v.top, "service map": v.serviceMap,
		"dependencies": v.dependencies, "exchange": v.exchange, "sequence": v.sequence, "values": v.values,
		"filters": v.filters, "pipeline": v.pipeline, "outcomes": v.outcomes, "links": v.links, "statements": v.statements, "alerts": v.alerts, "frames": v.frames,
	} {
		t.Run(name, check)
	}
}

type views struct {
	h       *Host
	who     backend.PluginContext
	samples []sample // without replays
	all     []sample
	ids     []events.ID
}

// model is a query as an editor writes it.
type model = map[string]any

func (v views) ask(t *testing.T, kind string, m model) data.Frames {
	t.Helper()
	r := ask(t, v.h, v.who, query("A", kind, m))["A"]
	if r.Error != nil {
		t.Fatalf("%s %v: %v", kind, m, r.Error)
	}
	return r.Frames
}

func (v views) one(t *testing.T, kind string, m model) *data.Frame {
	t.Helper()
	frames := v.ask(t, kind, m)
	if len(frames) != 1 {
		t.Fatalf("%s: %d frames, want 1", kind, len(frames))
	}
	return frames[0]
}

// sum adds the values of a field up; nil counts as nothing.
func sum(f *data.Field) (total float64) {
	for i := range f.Len() {
		if n, err := f.NullableFloatAt(i); err == nil && n != nil {
			total += *n
		}
	}
	return total
}

// sums are by the labels of the frame's series.
func sums(f *data.Frame) map[string]float64 {
	totals := map[string]float64{}
	for _, field := range f.Fields[1:] {
		totals[field.Labels.String()] = math.Round(sum(field))
	}
	return totals
}

func (v views) errors(t *testing.T) {
	f := v.one(t, "errors", model{"measure": "error_count", "groupBy": []string{"service", "class"}})
	checkSeries(t, f)
	want := map[string]float64{}
	for _, service := range []string{"gateway", "orders"} {
		for _, class := range []events.StatusClass{events.StatusClass_CLIENT, events.StatusClass_SERVER, events.StatusClass_FAILED} {
			want["class="+class.Name()+", service="+service] = count(v.samples, func(s sample) bool { return s.service == service && s.class == class })
		}
	}
	if diff := cmp.Diff(want, sums(f)); diff != "" {
		t.Error(diff)
	}
	f = v.one(t, "errors", model{"measure": "error_count"})
	if got, want := sum(f.Fields[1]), count(v.samples, failed); got != want || want == 0 {
		t.Errorf("%v errors, want %v", got, want)
	}
	rate := v.one(t, "errors", model{"selector": `{host="pay.example"}`})
	var high, low int
	for i := range rate.Rows() {
		switch p := rate.Fields[1].At(i).(*float64); {
		case p == nil:
		case *p == 1:
			high++
		case *p == 0:
			low++
		}
	}
	if high != minutes/5 || low != minutes-minutes/5 {
		t.Errorf("the error rate is 1 in %d buckets and 0 in %d", high, low)
	}
}

func (v views) latency(t *testing.T) {
	f := v.one(t, "latency", model{"percentiles": []float64{50, 99.9, 100}, "groupBy": []string{"host"}})
	checkSeries(t, f)
	names := map[string]bool{}
	for _, field := range f.Fields[1:] {
		names[field.Name+" "+field.Labels["host"]+" "+field.Labels["quantile"]] = true
		if field.Labels["host"] != "pay.example" {
			continue
		}
		// All its calls take 40 ms.
		for i := range field.Len() {
			if p := field.At(i).(*float64); p != nil && math.Abs(*p-40) > 40*0.09 {
				t.Errorf("%s at %d: %v ms, want 40 ±9 %%", field.Name, i, *p)
			}
		}
		if n := sum(field); n < minutes*40*0.9 {
			t.Errorf("%s has points for %v ms only", field.Name, n)
		}
	}
	for _, want := range []string{"p50 pay.example 0.5", "p99.9 db:5432 0.999", "max orders:8080 1"} {
		if !names[want] {
			t.Errorf("no series %s in %v", want, names)
		}
	}
	if r := ask(t, v.h, v.who, query("A", "latency", model{"percentiles": []float64{0}}))["A"]; r.Status != backend.StatusBadRequest {
		t.Errorf("percentile 0: %d %v", r.Status, r.Error)
	}
}

// The heat map is what the panel needs: ascending rows that do not hold each
// other, and the ends of buckets.
func (v views) heatmap(t *testing.T) {
	f := v.one(t, "heatmap", nil)
	if f.Meta.Type != "heatmap-rows" || len(f.Fields) < 10 {
		t.Fatalf("got %d fields, meta %+v", len(f.Fields), f.Meta)
	}
	times := column[time.Time](t, f, "Time")
	if !slices.IsSortedFunc(times, time.Time.Compare) || !times[0].Equal(hour.Add(10*time.Second)) {
		t.Errorf("the first bucket ends at %s, want %s", times[0], hour.Add(10*time.Second))
	}
	var all, last, fast float64
	for _, field := range f.Fields[1:] {
		bound := parseFloat(t, field.Labels["le"])
		if bound <= last {
			t.Errorf("bound %v follows %v", bound, last)
		}
		last = bound
		all += sum(field)
		if bound <= 0.005 {
			fast += sum(field)
		}
	}
	if want := float64(len(v.samples)); all != want {
		t.Errorf("%v exchanges, want %v", all, want)
	}
	if want := count(v.samples, func(s sample) bool { return s.duration < 5*time.Millisecond }); fast != want {
		t.Errorf("%v below 5 ms, want %v", fast, want)
	}
}

func (v views) top(t *testing.T) {
	f := v.one(t, "top", model{"groupBy": []string{"service", "endpoint"}, "orderBy": "errors", "limit": 2, "direction": "inbound"})
	checkTable(t, f)
	if diff := cmp.Diff([]string{"gateway", "orders"}, column[string](t, f, "service")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]float64{minutes / 5, minutes / 5}, column[float64](t, f, "errors")); diff != "" {
		t.Error(diff)
	}
	whole := v.one(t, "top", model{"limit": 100})
	requests, _ := whole.FieldByName("requests")
	if got, want := sum(requests), float64(len(v.samples)); got != want {
		t.Errorf("%v requests in all groups, want %v", got, want)
	}
	service, _ := whole.FieldByName("service")
	if len(service.Config.Links) != 2 || service.Config.Links[0].Internal.DatasourceUID != "api-traffic" {
		t.Errorf("links %+v", service.Config.Links)
	}
	for _, wrong := range []model{{"orderBy": "happiness"}, {"groupBy": []string{"path"}}} {
		if r := ask(t, v.h, v.who, query("A", "top", wrong))["A"]; r.Status != backend.StatusBadRequest {
			t.Errorf("%v: %d %v", wrong, r.Status, r.Error)
		}
	}
}

// checkTable holds a frame to numeric-long: texts and numbers, no row twice.
func checkTable(t *testing.T, f *data.Frame) {
	t.Helper()
	if f.Meta.Type != data.FrameTypeNumericLong || f.Meta.TypeVersion != (data.FrameTypeVersion{0, 1}) || f.Rows() == 0 {
		t.Errorf("%d rows, meta %+v", f.Rows(), f.Meta)
	}
	rows := map[string]bool{}
	for i := range f.Rows() {
		row := ""
		for _, field := range f.Fields {
			switch {
			case field.Type() == data.FieldTypeString:
				row += field.At(i).(string) + "\x00"
			case !field.Type().Numeric():
				t.Fatalf("field %s is %s", field.Name, field.Type())
			}
		}
		if rows[row] {
			t.Errorf("row %q comes twice: alert rules refuse that", row)
		}
		rows[row] = true
	}
}

// The node graph is what the panel needs: it fails on an edge without its ends.
func (v views) serviceMap(t *testing.T) {
	frames := v.ask(t, "service_map", nil)
	if len(frames) != 2 || frames[0].Name != "nodes" || frames[1].Name != "edges" {
		t.Fatalf("got %d frames", len(frames))
	}
	nodes, edges := frames[0], frames[1]
	known := map[string]bool{}
	for i, id := range column[string](t, nodes, "id") {
		if known[id] {
			t.Errorf("node %s comes twice", id)
		}
		known[id] = true
		var ring float64
		for _, field := range nodes.Fields {
			if strings.HasPrefix(field.Name, "arc__") {
				ring += field.At(i).(float64)
			}
		}
		if math.Abs(ring-1) > 1e-9 {
			t.Errorf("the ring of %s adds up to %v", id, ring)
		}
	}
	requests := column[float64](t, edges, "detail__requests")
	got := map[string]float64{}
	targets := column[string](t, edges, "target")
	for i, source := range column[string](t, edges, "source") {
		if !known[source] || !known[targets[i]] {
			t.Errorf("edge %s → %s has an end that is no node", source, targets[i])
		}
		got[source+" → "+targets[i]] = requests[i]
	}
	want := map[string]float64{
		"client → local/demo/gateway":            minutes + 7,
		"local/demo/gateway → local/demo/orders": minutes,
		"local/demo/orders → host:pay.example":   minutes,
		"local/demo/orders → host:db:5432":       minutes,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if ids := column[string](t, edges, "id"); len(slices.Compact(slices.Sorted(slices.Values(ids)))) != len(ids) {
		t.Errorf("ids of edges are not unique: %q", ids)
	}
}

func (v views) dependencies(t *testing.T) {
	f := v.one(t, "dependencies", nil)
	checkTable(t, f)
	got := map[string][2]float64{}
	requests, errors := column[float64](t, f, "requests"), column[float64](t, f, "errors")
	technology, target := column[string](t, f, "technology"), column[string](t, f, "target")
	for i, host := range column[string](t, f, "dependency") {
		got[technology[i]+" "+host+" "+target[i]] = [2]float64{requests[i], errors[i]}
	}
	want := map[string][2]float64{
		"http orders:8080 orders": {minutes, minutes / 5}, "http pay.example ": {minutes, minutes / 5}, "postgres db:5432 ": {minutes, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func (v views) exchange(t *testing.T) {
	f := v.one(t, "exchange", model{"exchange": v.ids[2].String()})
	got := map[string]string{}
	values := column[string](t, f, "value")
	parts := column[string](t, f, "part")
	for i, name := range column[string](t, f, "name") {
		got[parts[i]+" "+name] = values[i]
	}
	for name, want := range map[string]string{
		"exchange id": v.ids[2].String(), "workload service": "orders", "endpoint host": "orders:8080", "exchange status": "503",
		"exchange duration": "78ms", "tags tag.tenant": "a", "tape archived": "not yet",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	for id, want := range map[string]backend.Status{"nonsense": backend.StatusBadRequest, events.NewID(hour).String(): backend.StatusNotFound} {
		if r := ask(t, v.h, v.who, query("A", "exchange", model{"exchange": id}))["A"]; r.Status != want {
			t.Errorf("%s: %d %v, want %d", id, r.Status, r.Error, want)
		}
	}
}

// A trace is what the Traces panel needs: every span's parent is a span, and
// times are in milliseconds.
func (v views) sequence(t *testing.T) {
	for name, m := range map[string]model{
		"trace":    {"trace": "01" + strings.Repeat("0", 30)},
		"session":  {"session": "01" + strings.Repeat("0", 30)},
		"exchange": {"exchange": v.ids[3].String()},
	} {
		f := v.one(t, "sequence", m)
		spans := column[string](t, f, "spanID")
		if f.Meta.PreferredVisualization != data.VisTypeTrace || len(spans) != 5 {
			t.Fatalf("by %s: %d spans, meta %+v", name, len(spans), f.Meta)
		}
		operations, began, took := column[string](t, f, "operationName"), column[float64](t, f, "startTime"), column[float64](t, f, "duration")
		var got []string
		for i, parent := range column[string](t, f, "parentSpanID") {
			at := slices.Index(spans, parent)
			if parent != "" && at < 0 {
				t.Errorf("span %s has the parent %s, which is none", spans[i], parent)
			}
			got = append(got, operations[i]+" below "+slices.Concat([]string{"nothing"}, operations)[at+1])
		}
		want := []string{"POST /checkout below nothing", "POST /orders below POST /checkout", "POST /orders below POST /orders",
			"POST /charge below POST /orders", "SELECT select * from stock where id = ? below POST /orders"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %s: %s", name, diff)
		}
		if began[0] != float64(hour.UnixMilli()) || took[0] != 100 {
			t.Errorf("the first begins at %v and takes %v ms", began[0], took[0])
		}
		var tags []struct {
			Key   string
			Value any
		}
		if err := json.Unmarshal(column[json.RawMessage](t, f, "tags")[0], &tags); err != nil || len(tags) == 0 || tags[len(tags)-1].Key != "error" {
			t.Errorf("tags %v %v", tags, err)
		}
	}
	if r := ask(t, v.h, v.who, query("A", "sequence", nil))["A"]; r.Status != backend.StatusBadRequest {
		t.Errorf("of nothing: %d %v", r.Status, r.Error)
	}
}

// Template variables read text and value of exactly one frame.
func (v views) values(t *testing.T) {
	for key, want := range map[string][]string{
		"service": {"gateway", "orders"}, "cluster": {"local"}, "namespace": {"demo"}, "version": {"1.0"}, "direction": {"inbound", "outbound"},
		"host":  {"db:5432", "orders:8080", "pay.example", "shop.example"},
		"class": {"ok", "client", "server", "failed"}, "status": {"200", "404", "503"}, "protocol": {"http", "postgres"},
		"endpoint": {"/charge", "/checkout", "/missing", "/orders", "select * from stock where id = ?"}, "tag.tenant": {"a"}, "scenario": {"checkout"}, "replay": nil,
	} {
		f := v.one(t, "values", model{"key": key})
		if diff := cmp.Diff(want, column[string](t, f, "text")); diff != "" || len(f.Fields) != 2 {
			t.Errorf("%s: %s", key, diff)
		}
	}
	f := v.one(t, "values", model{"key": "host", "selector": `{service="orders"}`, "direction": "outbound"})
	if diff := cmp.Diff([]string{"db:5432", "pay.example"}, column[string](t, f, "value")); diff != "" {
		t.Error(diff)
	}
}

// What ad-hoc filters offer narrows what queries find.
func (v views) filters(t *testing.T) {
	var keys, hosts []struct{ Text string }
	v.resource(t, "keys", 200, &keys)
	for _, want := range []string{"service", "status", "tag.tenant"} {
		if !slices.Contains(keys, struct{ Text string }{want}) {
			t.Errorf("no key %q in %v", want, keys)
		}
	}
	v.resource(t, `values?key=host&filters=%5B%7B%22key%22%3A%22service%22%2C%22operator%22%3A%22%3D%22%2C%22value%22%3A%22orders%22%7D%5D`, 200, &hosts)
	if diff := cmp.Diff([]struct{ Text string }{{"db:5432"}, {"orders:8080"}, {"pay.example"}}, hosts); diff != "" {
		t.Error(diff)
	}
	for path, status := range map[string]int{"values?key=happiness": 400, "values?key=trace": 400, "values?key=host&from=x": 400, "nothing": 404} {
		v.resource(t, path, status, nil)
	}
	filters := []model{{"key": "class", "operator": "!=", "value": "ok"}, {"key": "host", "operator": "=|", "value": "pay.example", "values": []string{"pay.example", "db:5432"}}}
	f := v.one(t, "top", model{"filters": filters, "groupBy": []string{"host"}})
	if diff := cmp.Diff([]float64{minutes / 5}, column[float64](t, f, "requests")); diff != "" {
		t.Error(diff)
	}
	// A value is a value, whatever is in it.
	f = v.one(t, "top", model{"filters": []model{{"key": "host", "operator": "=", "value": `x' or '1'='1`}}})
	if f.Rows() != 0 {
		t.Errorf("%d rows of a host that is not there", f.Rows())
	}
}

func (v views) resource(t *testing.T, path string, status int, to any) {
	t.Helper()
	res, err := v.h.Resource(t.Context(), v.who, path)
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != status {
		t.Fatalf("%s: %d %s, want %d", path, res.Status, res.Body, status)
	}
	if to != nil {
		if err := json.Unmarshal(res.Body, to); err != nil {
			t.Fatal(err)
		}
	}
}

func (v views) pipeline(t *testing.T) {
	table := v.one(t, "pipeline", model{"measure": "sources"})
	for name, want := range map[string]float64{"indexed": float64(len(v.all)), "dropped": 4, "unaccounted": 0, "unarchived_tapes": 2} {
		field, _ := table.FieldByName(name)
		if got := sum(field); got != want || table.Rows() != 2 {
			t.Errorf("%d sources with %v %s, want %v", table.Rows(), got, name, want)
		}
	}
	fresh := v.one(t, "pipeline", model{"measure": "freshness", "selector": `{service="orders"}`})
	checkTable(t, fresh)
	if diff := cmp.Diff([]float64{8 * 60}, column[float64](t, fresh, "age")); diff != "" {
		t.Error(diff)
	}
	for measure, want := range map[string]float64{"dropped": 4, "dead": 0, "exchanges": float64(len(v.all)) / 10} {
		frame := v.one(t, "pipeline", model{"measure": measure})
		checkSeries(t, frame)
		if got := sum(frame.Fields[1]) + sum(frame.Fields[2]); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, want %v", measure, got, want)
		}
	}
	lag := v.one(t, "pipeline", nil)
	if got, least := sum(lag.Fields[1]), time.Since(closed).Seconds(); got > least || got < least-600 {
		t.Errorf("a lag of %v s, want about %v s", got, least)
	}
	for _, wrong := range []model{{"measure": "happiness"}, {"selector": "{status>=500}"}} {
		if r := ask(t, v.h, v.who, query("A", "pipeline", wrong))["A"]; r.Status != backend.StatusBadRequest {
			t.Errorf("%v: %d %v", wrong, r.Status, r.Error)
		}
	}
}

// Replays are a table and annotations at once: those are found by the names of
// fields, and need a time and a text.
func (v views) outcomes(t *testing.T) {
	f := v.one(t, "replays", model{"scenario": "checkout"})
	for name, want := range map[string]string{
		"id": "r1", "verdict": "missed", "title": "Replay of checkout: missed", "tags": "replay,missed",
		"text": "3 of 4 tests passed against http://127.0.0.1:8080: 1 answer differs",
	} {
		if diff := cmp.Diff([]string{want}, column[string](t, f, name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if at := column[*time.Time](t, f, "time"); !at[0].Equal(hour.Add(20 * time.Minute)) {
		t.Errorf("at %s", at[0])
	}
	if n := v.one(t, "replays", model{"scenario": "nothing"}).Rows(); n != 0 {
		t.Errorf("%d replays of a scenario that is not there", n)
	}
	ready := v.one(t, "scenarios", nil)
	if diff := cmp.Diff([]string{"db:5432, pay.example"}, column[string](t, ready, "dependencies")); diff != "" {
		t.Error(diff)
	}
	// Their exchanges are found when they are asked for.
	if n := v.one(t, "traffic", model{"selector": `{replay="r1"}`}).Rows(); n != 4 {
		t.Errorf("%d exchanges of the replay, want 4", n)
	}
}

// What a number counts is what its link lists: the query's own selector,
// direction and filters, and the series' labels.
func (v views) links(t *testing.T) {
	f := v.one(t, "errors", model{"measure": "error_count", "groupBy": []string{"service", "class"}, "direction": "inbound",
		"filters": []model{{"key": "host", "operator": "!=", "value": "nowhere"}}})
	listed := 0.0
	for _, field := range f.Fields[1:] {
		list := v.one(t, "traffic", linkOf(t, field, nil))
		listed += float64(list.Rows())
		if want := sum(field); float64(list.Rows()) != want {
			t.Errorf("%s: %d exchanges behind %v", field.Labels, list.Rows(), want)
		}
	}
	if listed == 0 {
		t.Error("no link lists anything")
	}
	f = v.one(t, "errors", model{"measure": "error_count"})
	if list := v.one(t, "traffic", linkOf(t, f.Fields[1], nil)); float64(list.Rows()) != sum(f.Fields[1]) {
		t.Errorf("%d exchanges behind %v errors", list.Rows(), sum(f.Fields[1]))
	}
	for kind, m := range map[string]model{"top": {"direction": "inbound"}, "dependencies": {"selector": `{service="orders"}`}} {
		f := v.one(t, kind, m)
		requests := column[float64](t, f, "requests")
		linked, _ := f.FieldByName(map[string]string{"top": "service", "dependencies": "dependency"}[kind])
		for i := range f.Rows() {
			fields := map[string]string{}
			for _, field := range f.Fields {
				if text, ok := field.At(i).(string); ok {
					fields[field.Name] = text
				}
			}
			if list := v.one(t, "traffic", linkOf(t, linked, fields)); float64(list.Rows()) != requests[i] {
				t.Errorf("%s row %d: %d exchanges behind %v", kind, i, list.Rows(), requests[i])
			}
		}
	}
}

var dataField = regexp.MustCompile(`\$\{__data\.fields\["(\w+)"\]\}`)

// linkOf is the query of a field's first link, with the row's fields in it as
// the browser's side writes them.
func linkOf(t *testing.T, field *data.Field, row map[string]string) model {
	t.Helper()
	if len(field.Config.Links) == 0 || field.Config.Links[0].Internal == nil {
		t.Fatalf("field %s has no link", field.Name)
	}
	m := maps.Clone(field.Config.Links[0].Internal.Query.(model))
	text := m["selector"].(string)
	m["selector"] = dataField.ReplaceAllStringFunc(text, func(found string) string { return row[dataField.FindStringSubmatch(found)[1]] })
	return m
}

// The inspector shows the SQL, with its values apart.
func (v views) statements(t *testing.T) {
	for _, kind := range []string{"traffic", "throughput", "errors", "latency", "heatmap", "top", "service_map", "dependencies"} {
		f := v.ask(t, kind, model{"selector": `{service="it's"}`})[0]
		text := f.Meta.ExecutedQueryString
		if !strings.Contains(text, "SELECT ") || !strings.Contains(text, `"it's"`) || strings.Contains(text, "'it") {
			t.Errorf("%s: executed %q", kind, text)
		}
	}
}

func parseFloat(t *testing.T, s string) (v float64) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%q is no number: %v", s, err)
	}
	return v
}
