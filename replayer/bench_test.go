package replayer

import (
	"context"
	"net"
	"testing"

	"tapedeck/events"
	"tapedeck/internal/scenariotest"
	"tapedeck/wire/http1"
)

// BenchmarkRun replays a session of b.N requests as fast as the target answers,
// on 16 connections; the target's work and the comparison are in it.
func BenchmarkRun(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	text := []byte(`{"items":[{"sku":"sku-17","price":1998},{"sku":"sku-18","price":250}],"page":1}`)
	answer := &events.Response{Status: "200", Reason: "OK", Headers: []*events.Field{
		{Name: []byte("Content-Type"), Value: []byte("application/json")}, {Name: []byte("Content-Length"), Value: []byte("1")},
	}, Body: &events.Body{Data: text, Size: int64(len(text)), Kept: int64(len(text))}}
	go func() {
		done <- new(http1.Server).Serve(ctx, l, func(context.Context, *events.Exchange) *events.Response { return answer })
	}()
	r := scenariotest.New(b)
	for range 64 {
		r.Session()
		for range 20 {
			r.Inbound("http://"+l.Addr().String(), "GET", "/items?page=1", "", "Accept", "application/json", "User-Agent", "bench")
		}
	}
	s := r.Save(scenariotest.Archive(b), "items")
	b.ResetTimer()
	result, err := Run(ctx, Options{Scenario: s, Request: events.ReplayRequest{
		ID: "bench", Target: "http://" + l.Addr().String(), Load: events.Load{Mode: "fast", Copies: b.N/1280 + 1, Connections: 16},
	}})
	b.StopTimer()
	if err != nil || result.Verdict != events.Passed {
		b.Errorf("verdict %s: %s, %v", result.Verdict, result.Reason, err)
	}
	b.ReportMetric(result.Throughput, "answers/s")
	b.ReportMetric(float64(result.Latency.P99.Microseconds()), "p99-µs")
	cancel()
	<-done
}
