package harness

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"tapedeck/events"
)

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

func parseFloat(t *testing.T, s string) (v float64) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%q is no number: %v", s, err)
	}
	return v
}
