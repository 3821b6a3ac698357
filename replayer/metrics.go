package replayer

import (
	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/events"
)

type metrics struct {
	results  *prometheus.CounterVec
	requests prometheus.Counter
	running  prometheus.Gauge
	retried  prometheus.Counter
	dead     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tapedeck", Subsystem: "replayer", Name: "results_total", Help: "Replays answered, by verdict.",
		}, []string{"verdict"}),
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tapedeck", Subsystem: "replayer", Name: "tests_total", Help: "Recorded requests sent and judged.",
		}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "tapedeck", Subsystem: "replayer", Name: "running", Help: "Replays under way.",
		}),
		retried: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tapedeck", Subsystem: "replayer", Name: "retried_total", Help: "Requests given back because of something that may pass.",
		}),
		dead: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tapedeck", Subsystem: "replayer", Name: "dead_total", Help: "Requests that were no readable JSON.",
		}),
	}
	for _, v := range []events.Verdict{events.Passed, events.Missed, events.Incomplete, events.Errored} {
		m.results.WithLabelValues(string(v))
	}
	if r != nil {
		r.MustRegister(m.results, m.requests, m.running, m.retried, m.dead)
	}
	return m
}

func (m *metrics) answered(r *events.ReplayResult) {
	m.results.WithLabelValues(string(r.Verdict)).Inc()
	m.requests.Add(float64(r.Tests.Passed + r.Tests.Missed + r.Tests.Failed))
}
