package mocksrv

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the mock server's own. A nil one counts nothing.
type Metrics struct {
	answers *prometheus.CounterVec
	leases  prometheus.Gauge
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tapedeck", Subsystem: "mocksrv", Name: "answers_total",
			Help: "Requests answered, by dependency and outcome: served, missed, passed_through. Hosts that are no dependency have none.",
		}, []string{"dependency", "outcome"}),
		leases: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "tapedeck", Subsystem: "mocksrv", Name: "leases", Help: "Dependencies of replays that this process mocks.",
		}),
	}
	r.MustRegister(m.answers, m.leases)
	return m
}

func (m *Metrics) count(dependency, outcome string) {
	if m != nil {
		m.answers.WithLabelValues(dependency, outcome).Inc()
	}
}

func (m *Metrics) lease(change float64) {
	if m != nil {
		m.leases.Add(change)
	}
}
