package indexer

import (
	"testing"

	"tapedeck/events"
)

// BenchmarkCaptured is the whole service: tapes of 1,000 exchanges wait in the
// stream; it reports how fast they get into the index, hints and acks included.
func BenchmarkCaptured(b *testing.B) {
	f := newFixture(b)
	w, source := workload("cart"), events.NewID(noon)
	const tapes = 100
	number := 0
	for b.Loop() {
		b.StopTimer()
		for range tapes {
			number++
			id, raw := makeTape(b, source, number, w, 1000, "/api/v1/orders/0123456789abcdef/items")
			f.publish(b, events.CapturedSubject(w), id.String(), raw)
		}
		b.StartTimer()
		stop := f.run(b, f.dsn)
		f.idle(b, events.StreamCaptured)
		b.StopTimer()
		stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(number)*1000/b.Elapsed().Seconds(), "exchanges/s")
}
