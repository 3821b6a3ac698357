package indexer

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/events"
)

// TestFreshnessIsOfEachExchange: not of its tape, and counted once however
// often the tape comes.
func TestFreshnessIsOfEachExchange(t *testing.T) {
	f := newFixture(t)
	w, source := workload("cart"), events.NewID(noon)
	registry := prometheus.NewRegistry()
	s, err := New(config, Deps{JS: f.js, Database: f.dsn, Log: slog.New(slog.DiscardHandler), Registerer: registry, Instance: "test"})
	if err != nil {
		t.Fatal(err)
	}
	f.runService(t, s)
	id, raw := makeTape(t, source, 1, w, 100, "/cart")
	f.publish(t, events.CapturedSubject(w), id.String(), raw)
	f.publish(t, events.CapturedSubject(w), id.String()+" again", raw)
	f.idle(t, events.StreamCaptured)
	all, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() != "tapedeck_indexer_freshness_seconds" {
			continue
		}
		h := family.Metric[0].Histogram
		age := time.Since(noon).Seconds()
		if mean := h.GetSampleSum() / float64(h.GetSampleCount()); h.GetSampleCount() != 100 || mean < age-60 || mean > age+60 {
			t.Errorf("%d exchanges, %.0f s after their ends in the mean, want 100 after %.0f s", h.GetSampleCount(), mean, age)
		}
		return
	}
	t.Error("there is no freshness")
}
