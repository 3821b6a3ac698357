package archiver

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Kinds of objects, as a label.
const (
	kindTape = "tape"
	kindReel = "reel"
)

type metrics struct {
	archived prometheus.Counter
	retried  prometheus.Counter
	dead     prometheus.Counter
	failures *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return promauto.With(r).NewCounter(prometheus.CounterOpts{Name: "tapedeck_archiver_" + name, Help: help})
	}
	byKind := func(name, help string) *prometheus.CounterVec {
		return promauto.With(r).NewCounterVec(prometheus.CounterOpts{Name: "tapedeck_archiver_" + name, Help: help}, []string{"kind"})
	}
	return &metrics{
		archived: counter("tapes_archived_total", "Tapes that were archived and acknowledged."),
		retried:  counter("tapes_retried_total", "Tapes that were given back to be tried again."),
		dead:     counter("tapes_dead_total", "Messages that went to the dead letters."),
		failures: byKind("put_failures_total", "Writes to the archive that failed, by kind of object."),
		bytes:    byKind("bytes_total", "Bytes written to the archive, by kind of object."),
		seconds: promauto.With(r).NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tapedeck_archiver_put_seconds",
			Help:    "Time of writes to the archive that succeeded, by kind of object.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"kind"}),
	}
}
