package traffic

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"tapedeck/events"
)

// BenchmarkWrite is the ingest path after the queue: tapes of 1,000 exchanges,
// 10 a transaction, all indexes, durable commits. It reports rows/s and the
// bytes of WAL and of disk (rows, indexes, ledger, queue) a row.
func BenchmarkWrite(b *testing.B) {
	s := openStore(b)
	r := rand.New(rand.NewPCG(1, 1))
	src := newSource("cart")
	wal := func() int64 {
		var n int64
		if err := s.pool.QueryRow(b.Context(), "select (pg_current_wal_lsn() - '0/0')::int8").Scan(&n); err != nil {
			b.Fatal(err)
		}
		return n
	}
	before, rows, at := wal(), 0, noon
	for b.Loop() {
		b.StopTimer()
		tapes := make([]Received, 10)
		for i := range tapes {
			tapes[i] = src.benchTape(b, r, at, 1000)
			at = at.Add(100 * time.Millisecond)
		}
		b.StartTimer()
		mustWrite(b, s, tapes...)
		rows += 10_000
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(wal()-before)/float64(rows), "WAL-B/row")
	b.ReportMetric(float64(ask[int64](b, s, `select hypertable_size('exchanges') + hypertable_size('open_exchanges')
		+ pg_total_relation_size('tapes') + pg_total_relation_size('rollup_part')`))/float64(rows), "disk-B/row")
}

// BenchmarkMerge is what the merger does with the parts of one transaction.
func BenchmarkMerge(b *testing.B) {
	s := openStore(b)
	r := rand.New(rand.NewPCG(1, 1))
	src := newSource("cart")
	parts, at := 0, noon
	for b.Loop() {
		b.StopTimer()
		mustWrite(b, s, src.benchTape(b, r, at, 10_000))
		at = at.Add(time.Second)
		b.StartTimer()
		n, err := s.Merge(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		parts += n
	}
	b.ReportMetric(float64(parts)/b.Elapsed().Seconds(), "parts/s")
}

// benchTape is like real traffic: 200 endpoints, some with a trace, 40 byte paths.
func (s *source) benchTape(b testing.TB, r *rand.Rand, at time.Time, n int) Received {
	session, connection := events.NewID(at), events.NewID(at)
	list := make([]exchange, n)
	for i := range list {
		e := entryAt(at.Add(time.Duration(i) * 100 * time.Microsecond))
		e.DurationUs = int64(r.ExpFloat64() * 20_000)
		e.Path = fmt.Sprintf("/api/v1/orders/%016x/items/%04d", r.Uint64(), r.IntN(1000))
		e.Session, e.Connection = session[:], connection[:]
		if r.IntN(10) < 3 {
			trace := events.NewID(at)
			e.TraceId, e.SpanId = trace[:], trace[8:]
		}
		if r.IntN(200) == 0 {
			e.Status, e.Class = "503", events.StatusClass_SERVER
		}
		list[i] = exchange{e, getEndpoint(fmt.Sprintf("/api/v1/e%d/{id}", int(r.ExpFloat64()*30)%200))}
	}
	return s.tape(b, at, list)
}
