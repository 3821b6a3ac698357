package harness

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events"
)

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
