package indexer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tapedeck/indexer/traffic"
)

type metrics struct {
	tapes        *prometheus.CounterVec
	exchanges    prometheus.Counter
	dead         prometheus.Counter
	failures     prometheus.Counter
	merged       prometheus.Counter
	writeSeconds prometheus.Histogram
	mergeSeconds prometheus.Histogram
	delay        prometheus.Histogram
	freshness    prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	name := func(s string) string { return "tapedeck_indexer_" + s }
	return &metrics{
		tapes: f.NewCounterVec(prometheus.CounterOpts{Name: name("tapes_total"),
			Help: "Messages handled, by what became of them: new, known (in the ledger already), dead."}, []string{"result"}),
		exchanges:    f.NewCounter(prometheus.CounterOpts{Name: name("exchanges_total"), Help: "Exchanges written."}),
		dead:         f.NewCounter(prometheus.CounterOpts{Name: name("dead_exchanges_total"), Help: "Exchanges that the database can't hold."}),
		failures:     f.NewCounter(prometheus.CounterOpts{Name: name("failures_total"), Help: "Failed attempts at the database."}),
		merged:       f.NewCounter(prometheus.CounterOpts{Name: name("merged_parts_total"), Help: "Rollup parts merged into the levels."}),
		writeSeconds: f.NewHistogram(prometheus.HistogramOpts{Name: name("write_seconds"), Help: "Time to index the tapes of one transaction.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)}),
		mergeSeconds: f.NewHistogram(prometheus.HistogramOpts{Name: name("merge_seconds"), Help: "Time of one merge.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)}),
		delay: f.NewHistogram(prometheus.HistogramOpts{Name: name("delay_seconds"),
			Help: "Time from a tape's close, by its source's clock, until it is indexed.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 20)}),
		freshness: f.NewHistogram(prometheus.HistogramOpts{Name: name("freshness_seconds"),
			Help:    "Time from an exchange's last byte (of an open one, the last that was recorded), by its source's clock, until it is in the index.",
			Buckets: []float64{0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 5, 10, 30, 60, 300, 3600}}),
	}
}

func (m *metrics) wrote(tapes []traffic.Received, stored []traffic.Stored, took time.Duration) {
	m.writeSeconds.Observe(took.Seconds())
	now := time.Now().UnixNano()
	for i, s := range stored {
		if !s.New {
			m.tapes.WithLabelValues("known").Inc()
			continue
		}
		m.tapes.WithLabelValues("new").Inc()
		m.exchanges.Add(float64(s.Exchanges))
		m.dead.Add(float64(s.Dead))
		m.delay.Observe(time.Duration(now - tapes[i].Header.ClosedAt).Seconds())
		for _, e := range tapes[i].Index.Entries {
			m.freshness.Observe(time.Duration(now - int64(e.Time) - e.DurationUs*1000).Seconds())
		}
	}
}
