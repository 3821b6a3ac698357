package traffic

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// BenchmarkViews measures each view on TAPEDECK_BENCH_ROWS (default 20,000)
// exchanges of 24 hours.
func BenchmarkViews(b *testing.B) {
	rows, _ := strconv.Atoi(os.Getenv("TAPEDECK_BENCH_ROWS"))
	rows = max(rows, 20_000)
	s := openStore(b)
	fill(b, s, rows)
	r := openReader(b, s)
	ctx := b.Context()
	parse := func(text string) *selector.Expr {
		e, err := selector.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		return e
	}
	all := Query{}
	day := Query{From: noon.Add(-12 * time.Hour), To: noon.Add(12 * time.Hour)}
	hour := Query{From: noon, To: noon.Add(time.Hour)}
	with := func(q Query, text string) Query { q.Selector = parse(text); return q }
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"list newest 100", func() error { return second(r.List(ctx, ListQuery{})) }},
		{"list from the middle", func() error { return second(r.List(ctx, ListQuery{Cursor: Cursor{Time: noon}})) }},
		{"list of a service", func() error { return second(r.List(ctx, ListQuery{Query: with(all, "service=s3")})) }},
		{"list of a rare endpoint", func() error {
			return second(r.List(ctx, ListQuery{Query: with(all, `service=s3 && endpoint="/e/9" && host="shop.example"`)}))
		}},
		{"list of errors", func() error { return second(r.List(ctx, ListQuery{Query: with(all, "error")})) }},
		{"list of status 503", func() error { return second(r.List(ctx, ListQuery{Query: with(all, "status=503")})) }},
		{"list of slow ones", func() error { return second(r.List(ctx, ListQuery{Query: with(all, "duration>500ms")})) }},
		{"list with text, frequent", func() error { return second(r.List(ctx, ListQuery{Text: "/7"})) }},
		{"list with text, none", func() error { return second(r.List(ctx, ListQuery{Text: "nowhere"})) }},
		{"throughput 1h by direction", func() error {
			return second(r.Throughput(ctx, SeriesQuery{Query: hour, By: []selector.Key{selector.Direction}}))
		}},
		{"throughput 24h by direction", func() error {
			return second(r.Throughput(ctx, SeriesQuery{Query: day, By: []selector.Key{selector.Direction}}))
		}},
		{"throughput 24h of errors (rows)", func() error { return second(r.Throughput(ctx, SeriesQuery{Query: with(day, "error")})) }},
		{"latency 1h by service", func() error {
			return second(r.Latency(ctx, SeriesQuery{Query: hour, By: []selector.Key{selector.Service}}))
		}},
		{"latency 24h by service", func() error {
			return second(r.Latency(ctx, SeriesQuery{Query: day, By: []selector.Key{selector.Service}}))
		}},
		{"latency 1h of status 200 (rows)", func() error { return second(r.Latency(ctx, SeriesQuery{Query: with(hour, "status=200")})) }},
		{"map 1h", func() error { return second(r.Map(ctx, hour)) }},
		{"map 24h", func() error { return second(r.Map(ctx, day)) }},
		{"map 24h of errors", func() error { return second(r.Map(ctx, with(day, "error"))) }},
		{"dependencies 24h", func() error { return second(r.Dependencies(ctx, day)) }},
		{"values of status", func() error { return second(r.Values(ctx, ValuesQuery{Key: selector.Status})) }},
		{"values of service", func() error { return second(r.Values(ctx, ValuesQuery{Key: selector.Service})) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := c.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// fill writes exchanges of 20 services and 200 endpoints over 24 hours.
func fill(b *testing.B, s *Store, rows int) {
	b.Helper()
	const tapeRows = 2000
	begin := noon.Add(-12 * time.Hour)
	gap := 24 * time.Hour / time.Duration(rows)
	n := 0
	for n < rows {
		var tapes []Received
		for range 5 {
			src := newSource(fmt.Sprintf("s%d", n/tapeRows%20))
			var list []exchange
			for range tapeRows {
				e := entryAt(begin.Add(time.Duration(n) * gap))
				h := uint64(n) * 0x9e3779b97f4a7c15 >> 20
				e.DurationUs = int64(1000 + h%1000*h%777)
				e.Path = fmt.Sprintf("/e/%d/%d", h%10, h%9973)
				switch h % 200 {
				case 0:
					e.Status, e.Class = "503", events.StatusClass_SERVER
				case 1, 2, 3, 4, 5:
					e.Status, e.Class = "404", events.StatusClass_CLIENT
				}
				p := getEndpoint(fmt.Sprintf("/e/%d", h%10))
				if h%2 == 0 {
					p.Direction, p.Host = events.Direction_OUTBOUND, fmt.Sprintf("s%d.shop", h%10)
				}
				if h%3 == 0 {
					id := events.NewID(noon)
					e.TraceId, e.SpanId = id[:], id[8:]
				}
				list = append(list, exchange{e, p})
				n++
			}
			tapes = append(tapes, src.tape(b, begin.Add(time.Duration(n)*gap), list))
		}
		if _, err := s.Write(b.Context(), tapes, nil); err != nil {
			b.Fatal(err)
		}
		mustMerge(b, s)
	}
	if _, err := s.pool.Exec(b.Context(), "analyze"); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkScan measures the rows of a tape and a view of them without a
// database, per exchange.
func BenchmarkScan(b *testing.B) {
	src, n := newSource("cart"), 1000
	var list []exchange
	for i := range n {
		list = append(list, exchange{entryAt(noon.Add(time.Duration(i) * time.Millisecond)), getEndpoint(fmt.Sprintf("/e/%d", i%10))})
	}
	tape := src.tape(b, noon, list)
	b.Run("rows", func(b *testing.B) {
		for b.Loop() {
			if _, err := RowsOf(tape.Front); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/exchange")
	})
	scan := scanOf(b, []Received{tape})
	for name, view := range map[string]func() error{
		"list":       func() error { return second(scan.List(b.Context(), ListQuery{})) },
		"throughput": func() error { return second(scan.Throughput(b.Context(), SeriesQuery{})) },
		"map":        func() error { return second(scan.Map(b.Context(), Query{})) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := view(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/exchange")
		})
	}
}
