package scenario

import (
	"testing"
)

// BenchmarkBuild measures a scenario of customers with four requests and two
// calls each, written to a directory.
func BenchmarkBuild(b *testing.B) {
	r := newRecorder()
	for n := range 2000 {
		r.shop(n, 100_000+n)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.build(b, openBucket(b), Options{})
	}
	b.ReportMetric(float64(len(r.all)*b.N)/b.Elapsed().Seconds(), "exchanges/s")
}
