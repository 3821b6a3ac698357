package mocksrv

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/internal/scenariotest"
	"tapedeck/scenariogen/scenario"
	"tapedeck/wire/http1"
)

// BenchmarkMatch finds the answer among n recorded calls: the time must not
// grow with n. "distinct" has n different requests, "equal" n times the same,
// "shape" live ids in place of recorded ones.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		for _, kind := range []string{"distinct", "equal", "shape"} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				m := scenario.NewMatcher(new(http1.Protocol).Signature)
				for i := range n {
					m.Add(benchMock(kind, n, i))
				}
				live := make([]*events.Exchange, 1024)
				for i := range live {
					live[i] = benchRequest(kind, n, i)
					if kind == "shape" { // an id that was not recorded
						live[i] = benchRequest(kind, n, n+i)
					}
				}
				b.ResetTimer()
				for i := 0; b.Loop(); i++ {
					if found := m.Match(live[i%len(live)]); found.Level == scenario.Miss {
						b.Fatalf("no answer to %s %s", live[i%len(live)].Request.Target, live[i%len(live)].Request.Body)
					}
				}
			})
		}
	}
}

func benchMock(kind string, n, i int) *scenario.Mock {
	x := benchRequest(kind, n, i)
	x.Direction = events.Direction_OUTBOUND
	x.Response = &events.Response{Status: "200", Version: "HTTP/1.1", Body: &events.Body{Data: []byte(`{"ok":true}`), Size: 11, Kept: 11}}
	k := &scenario.Mock{Exchange: x}
	if kind == "shape" {
		k.Volatile = []*scenario.Volatile{{Place: "request.body.$.order_id", Class: string(scenario.ClassUUID)}}
	}
	return k
}

func benchRequest(kind string, n, i int) *events.Exchange {
	switch kind {
	case "equal":
		return scenariotest.Request("GET", "/balance", "")
	case "shape":
		return scenariotest.Request("POST", "/charges", fmt.Sprintf(`{"order_id":"6d1c3b1e-5d0a-4b60-8f0e-%012x","amount":5}`, i))
	}
	return scenariotest.Request("GET", fmt.Sprintf("/items/%d?page=2", i*7919%n), "")
}

// BenchmarkServe asks a whole mock server over loopback, on 16 connections,
// with n different calls recorded. The client's own work is in it.
func BenchmarkServe(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := scenariotest.New(b)
			for i := range n {
				x := benchRequest("distinct", n, i)
				now := time.Now().UnixNano()
				id := events.NewID(time.Now())
				x.Id, x.Direction, x.Connection = id[:], events.Direction_OUTBOUND, &events.Connection{Id: id[:], Server: "items.test:80"}
				x.Request.Headers = []*events.Field{{Name: []byte("Host"), Value: []byte("items.test")}}
				x.Request.Host, x.Request.FirstByte = "items.test", now
				x.Response = benchMock("distinct", n, i).Exchange.Response
				x.Response.Headers = []*events.Field{{Name: []byte("Content-Length"), Value: []byte("11")}}
				r.Add(x)
			}
			s, err := Listen(b.Context(), Options{Scenario: r.Save(scenariotest.Archive(b), "items")})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			pool := &http1.Pool{Target: &url.URL{Scheme: "http", Host: s.Addresses()[0].Address}}
			var next atomic.Int64
			b.SetParallelism(8)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				client := pool.Client()
				for pb.Next() {
					got, err := client.Do(context.Background(), benchRequest("distinct", n, int(next.Add(1))%n))
					if err != nil || got.Response.GetStatus() != "200" {
						b.Errorf("%v %v", err, got)
						return
					}
				}
			})
			b.StopTimer()
			pool.Close()
			cancel()
			<-done
		})
	}
}
