package capture

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/capture/redact"
	"tapedeck/events"
)

// metrics of a capture; no label holds anything from the traffic.
type metrics struct {
	exchanges     *prometheus.CounterVec // by direction and class
	dropped       *prometheus.CounterVec // by reason
	connections   *prometheus.GaugeVec   // by direction
	relayed       *prometheus.CounterVec // bytes, by side
	refused       *prometheus.CounterVec // connections, by direction
	rejected      *prometheus.CounterVec // connections that are relayed nowhere, by reason
	opened        prometheus.Counter     // TLS of outbound connections
	passedThrough *prometheus.CounterVec // by reason
	caused        *prometheus.CounterVec // errors of clients, by reason
	panics        prometheus.Counter
	overflowed    prometheus.Counter
	metadataOnly  prometheus.Counter
	tapes         prometheus.Counter
	tapeBytes     prometheus.Histogram
	published     *prometheus.CounterVec // tapes, by way: fresh, spool
	spooled       prometheus.Counter
	latency       prometheus.Histogram
	publishing    prometheus.Gauge // 1: tapes go out, 0: they are spooled
	byClass       [3][5]prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tapedeck", Subsystem: "capture", Name: name, Help: help}, labels)
	}
	single := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tapedeck", Subsystem: "capture", Name: name, Help: help})
	}
	m := &metrics{
		exchanges:     counter("exchanges_total", "Exchanges recorded.", "direction", "class"),
		dropped:       counter("dropped_total", "Exchanges that were not recorded.", "reason"),
		connections:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tapedeck", Subsystem: "capture", Name: "connections", Help: "Client connections that are relayed."}, []string{"direction"}),
		relayed:       counter("relayed_bytes_total", "Bytes relayed.", "side"),
		refused:       counter("upstream_failures_total", "Client connections whose upstream could not be reached.", "direction"),
		rejected:      counter("rejected_connections_total", "Connections that were not relayed: a loop, not redirected, or a SOCKS handshake that failed.", "reason"),
		opened:        single("tls_opened_total", "Outbound connections whose TLS was opened."),
		passedThrough: counter("tls_passed_through_total", "Outbound TLS connections that were relayed unopened.", "reason"),
		caused:        counter("errors_caused_total", "Errors that a client had because of us.", "reason"),
		panics:        single("dissector_panics_total", "Connections whose recording ended with a panic of a dissector."),
		overflowed:    single("overflowed_total", "Exchanges recorded with the endpoint {overflow}, and announcements of them."),
		metadataOnly:  single("metadata_only_total", "Exchanges of which only metadata is recorded: redaction had no rules, failed or took too long."),
		tapes:         single("tapes_total", "Tapes closed."),
		tapeBytes: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "tapedeck", Subsystem: "capture", Name: "tape_bytes", Help: "Size of closed tapes.",
			Buckets: prometheus.ExponentialBuckets(1<<10, 4, 6)}),
		published: counter("published_tapes_total", "Tapes that JetStream has stored.", "way"),
		spooled:   single("spooled_tapes_total", "Tapes written to the spool."),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "tapedeck", Subsystem: "capture", Name: "publish_seconds", Help: "Time until JetStream has stored a tape.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 13)}),
		publishing: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tapedeck", Subsystem: "capture", Name: "publishing", Help: "1 while tapes go to JetStream, 0 while they are spooled."}),
	}
	for d := 1; d < len(m.byClass); d++ {
		for c := 1; c < len(m.byClass[d]); c++ {
			m.byClass[d][c] = m.exchanges.WithLabelValues(events.Direction(d).Name(), events.StatusClass(c).Name())
		}
	}
	return m
}

func (m *metrics) register(r prometheus.Registerer, p *publisher, b *budget, redactor *redact.Source) error {
	if r == nil {
		return nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "tapedeck", Subsystem: "capture", Name: name, Help: help}, f)
	}
	for _, c := range []prometheus.Collector{
		m.exchanges, m.dropped, m.connections, m.relayed, m.refused, m.rejected, m.opened, m.passedThrough, m.caused, m.panics, m.overflowed, m.metadataOnly, m.tapes, m.tapeBytes, m.published, m.spooled, m.latency, m.publishing,
		gauge("spool_bytes", "Size of the spool.", func() float64 { return float64(p.spool.Bytes()) }),
		gauge("spool_tapes", "Tapes in the spool.", func() float64 { return float64(p.spool.Tapes()) }),
		gauge("buffered_bytes", "Relayed bytes that are not dissected yet.", func() float64 { return float64(b.used.Load()) }),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return registerFailures(r, redactor)
}

// registerFailures counts by reason: bodies, messages and heads of which only
// metadata is kept (panic, timeout), and versions of files that could not be
// used (rules, keys).
func registerFailures(r prometheus.Registerer, redactor *redact.Source) error {
	for reason := range redactor.Failures() {
		c := prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "tapedeck", Subsystem: "capture", Name: "redaction_failures_total",
			Help: "Failures of redaction: panic and timeout cost an exchange all but its metadata; rules and keys are versions of files that could not be used.", ConstLabels: prometheus.Labels{"reason": reason}},
			func() float64 { return float64(redactor.Failures()[reason]) })
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// exchange counts by direction and class, without looking the counter up.
func (m *metrics) exchange(d events.Direction, e *events.Entry) {
	if c := m.byClass[d][e.Class]; c != nil {
		c.Inc()
	}
}

func (m *metrics) stored(way string, took time.Duration) {
	m.published.WithLabelValues(way).Inc()
	m.latency.Observe(took.Seconds())
}
