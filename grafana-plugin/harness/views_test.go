package harness

import (
	"math"
	"testing"

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
