package harness

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
)

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
