package scenariogen

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	made    prometheus.Counter
	refused prometheus.Counter
	retried prometheus.Counter
	dead    prometheus.Counter
	seconds prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return promauto.With(r).NewCounter(prometheus.CounterOpts{Name: "tapedeck_scenariogen_" + name, Help: help})
	}
	return &metrics{
		made:    counter("scenarios_made_total", "Requests that were answered with a scenario."),
		refused: counter("requests_refused_total", "Requests that were answered with an error."),
		retried: counter("requests_retried_total", "Requests that were given back to be tried again."),
		dead:    counter("requests_dead_total", "Messages that went to the dead letters."),
		seconds: promauto.With(r).NewHistogram(prometheus.HistogramOpts{
			Name:    "tapedeck_scenariogen_seconds",
			Help:    "Time from taking a request to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 16),
		}),
	}
}
