package plugin

import (
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
)

// A page of 1,000 lines.
func BenchmarkTrafficFrame(b *testing.B) {
	rows := make([]events.Row, 1000)
	for i := range rows {
		rows[i] = rowAt(noon.Add(-time.Duration(i) * time.Second))
	}
	for b.Loop() {
		if _, err := trafficFrame(rows, len(rows), links{}); err != nil {
			b.Fatal(err)
		}
	}
}

// 1,000 groups of a ranking.
func BenchmarkTopFrame(b *testing.B) {
	found := &traffic.Top{Range: traffic.Range{From: noon, To: noon.Add(time.Hour)}, Groups: make([]traffic.TopGroup, 1000)}
	q, err := readQuery(asked(`{}`))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		topFrame(found, q.by("service", "endpoint"), q)
	}
}
