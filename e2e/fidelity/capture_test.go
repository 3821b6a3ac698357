package fidelity

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"tapedeck/capture"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a capture under test.
type running struct {
	*capture.Service
	t        *testing.T
	registry *prometheus.Registry
	stop     context.CancelFunc
	done     chan error
}

// startCapture relays to an address, inbound and outbound, and is a proxy.
func startCapture(t *testing.T, to string) *running {
	t.Helper()
	return startWith(t, capture.Config{Inbound: []string{"0=" + to}, Outbound: []string{"0=" + to, "0"}})
}

func startWith(t *testing.T, cfg capture.Config) *running {
	t.Helper()
	return startIn(t, t.TempDir(), cfg)
}

// startIn has a folder of its own for what it keeps.
func startIn(t *testing.T, data string, cfg capture.Config) *running {
	t.Helper()
	cfg.Host, cfg.Service, cfg.Instance, cfg.DrainTimeout = "127.0.0.1", "shop", "test", time.Second
	r := &running{t: t, registry: prometheus.NewRegistry(), done: make(chan error, 1)}
	var err error
	r.Service, err = capture.New(cfg, capture.Deps{Data: data, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Register: r.registry})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.done <- r.Run(ctx) }()
	t.Cleanup(r.end)
	return r
}

func (r *running) inbound() string  { return r.Addrs()[0].String() }
func (r *running) outbound() string { return r.Addrs()[1].String() }
func (r *running) proxy() string    { return r.Addrs()[2].String() }

// end drains; it may be called twice.
func (r *running) end() {
	r.stop()
	if r.done == nil {
		return
	}
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
	r.done = nil
}

// mustBeWhole ends the capture and looks whether the recorder has lived
// through it: every exchange is accounted for, and no dissector has panicked.
func (r *running) mustBeWhole(atLeast int) {
	r.t.Helper()
	r.end()
	c := r.Counts()
	dropped := uint64(0)
	for _, n := range c.Dropped {
		dropped += n
	}
	r.t.Logf("begun %d, taped %d, open %d, dropped %v", c.Begun, c.Taped, c.Open, c.Dropped)
	if c.Begun != c.Taped+dropped+c.Open || c.Open != 0 || c.Dropped["unrecordable"] != 0 || c.Dropped["panic"] != 0 {
		r.t.Errorf("ledger: begun %d, taped %d, open %d, dropped %v: want begun = taped + dropped, nothing open", c.Begun, c.Taped, c.Open, c.Dropped)
	}
	if c.Taped < uint64(atLeast) {
		r.t.Errorf("%d exchanges are taped, want %d at least", c.Taped, atLeast)
	}
	if n := r.metric("tapedeck_capture_dissector_panics_total"); n != 0 {
		r.t.Errorf("%v dissectors panicked", n)
	}
}

// metric is the value of a counter; it must be there.
func (r *running) metric(name string) float64 {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	r.t.Fatalf("no metric %s", name)
	return 0
}
