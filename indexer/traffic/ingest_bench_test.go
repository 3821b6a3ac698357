package traffic

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"tapedeck/events"
)

// How exchanges are written by the benchmarks: as two indexers with full
// batches do.
const (
	benchWriters = 2
	benchTapes   = 20    // a transaction
	benchRows    = 1_000 // a tape
)

// BenchmarkWrite is the ingest path after the queue, by two writers: tapes are
// decoded and written with all indexes, durable commits, ledger and rollup
// parts, and the parts are merged as often as the service does at that rate. It
// reports exchanges/s, and the bytes of WAL and of disk (rows, indexes, ledger,
// queue and levels) an exchange.
func BenchmarkWrite(b *testing.B) {
	s := openStore(b)
	before := ask[int64](b, s, "select (pg_current_wal_lsn() - '0/0')::int8")
	rows := ingest(b, func(list [][]byte) error {
		tapes := make([]Received, len(list))
		for i, raw := range list {
			front, err := events.ParseFront(raw)
			if err != nil {
				return err
			}
			tapes[i] = Received{front, time.Unix(0, front.Header.ClosedAt)}
		}
		_, err := s.Write(b.Context(), tapes, noBury(b))
		return err
	}, func() error { return second(s.Merge(b.Context())) })
	b.ReportMetric(float64(ask[int64](b, s, "select (pg_current_wal_lsn() - '0/0')::int8")-before)/rows, "WAL-B/exchange")
}

// BenchmarkDisk is an hour of 165 and ten minutes of 5,000 exchanges/s of 20
// services and 400 endpoints, in the tapes that capture makes at these rates,
// merged every 2 s and their places known. It reports the bytes of disk an
// exchange, in all and by what they are spent on.
func BenchmarkDisk(b *testing.B) {
	for _, c := range []struct {
		rate, seconds, age int
	}{{165, 3600, 5}, {5000, 600, 1}} {
		b.Run(fmt.Sprintf("%d/s", c.rate), func(b *testing.B) {
			for b.Loop() {
				s := openStore(b)
				rows := steady(b, s, c.rate, c.seconds, c.age)
				for name, size := range map[string]string{
					"rows":   "sum(hypertable_size(format('%I', hypertable_name)::regclass)) filter (where hypertable_name in ('exchanges', 'open_exchanges'))",
					"levels": "sum(hypertable_size(format('%I', hypertable_name)::regclass)) filter (where hypertable_name like 'rollup%') + pg_total_relation_size('rollup_part')",
					"ledger": "max(pg_total_relation_size('tapes') + pg_total_relation_size('places'))",
					"disk":   "sum(hypertable_size(format('%I', hypertable_name)::regclass)) + pg_total_relation_size('rollup_part') + pg_total_relation_size('tapes') + pg_total_relation_size('places')",
				} {
					b.ReportMetric(float64(ask[int64](b, s, "select ("+size+")::int8 from timescaledb_information.hypertables"))/rows, name+"-B/exchange")
				}
			}
		})
	}
}

// steady writes traffic as it comes, and returns how much.
func steady(b *testing.B, s *Store, rate, seconds, age int) (rows float64) {
	r := rand.New(rand.NewPCG(1, 1))
	var sources []*source
	for i := range 20 {
		sources = append(sources, newSource(fmt.Sprintf("s%d", i)))
	}
	for second := 0; second < seconds; second += age {
		at := noon.Add(time.Duration(second) * time.Second)
		var list []Received
		archived := events.Archived{Object: fmt.Sprintf("v1/c1/shop/s0/2026/11/28/12/%s.reel", events.NewID(at))}
		for i, src := range sources {
			n := rate * age / len(sources)
			if i < rate*age%len(sources) {
				n++
			}
			t := received(b, src.benchTape(b, r, at, n))
			list, rows = append(list, t), rows+float64(n)
			archived.Tapes = append(archived.Tapes, events.ArchivedTape{ID: t.TapeID(), Length: t.Total})
		}
		mustWrite(b, s, list...)
		if err := s.Archived(b.Context(), []events.Archived{archived}); err != nil {
			b.Fatal(err)
		}
		if age > 1 || second%2 == 1 {
			mustMerge(b, s)
		}
	}
	return rows
}

// BenchmarkCopy is the control: the same rows by a bare COPY, two at once, into
// the same table. Nothing is decoded, remembered or rolled up.
func BenchmarkCopy(b *testing.B) {
	s := openStore(b)
	encoded := map[*byte][]byte{} // by the first tape
	ingest(b, func(list [][]byte) error {
		return transaction(b.Context(), s.pool, func(tx pgx.Tx) error {
			rows := bytes.NewReader(encoded[&list[0][0]])
			return second(tx.Conn().PgConn().CopyFrom(b.Context(), rows, "copy exchanges ("+exchangeColumns+") from stdin binary"))
		})
	}, func() error { return nil }, func(list [][]byte) {
		d := newDictionary()
		var rows []row
		for _, raw := range list {
			front, err := events.ParseFront(raw)
			if err != nil {
				b.Fatal(err)
			}
			p, err := prepare(Received{front, time.Unix(0, front.Header.ClosedAt)}, d)
			if err != nil {
				b.Fatal(err)
			}
			rows = append(rows, p.rows...)
		}
		sortRows(rows)
		all, err := io.ReadAll(newRowReader(len(rows), func(c *copyBuffer, i int) { c.exchange(&rows[i]) }))
		if err != nil {
			b.Fatal(err)
		}
		encoded[&list[0][0]] = all
	})
}

// ingest lets two writers write tapes of 20 services, and every tenth time
// merges; it returns how many exchanges there were. ready is called with the
// tapes of each write before it, outside of the measured time.
func ingest(b *testing.B, write func(tapes [][]byte) error, merge func() error, ready ...func(tapes [][]byte)) (rows float64) {
	r := rand.New(rand.NewPCG(1, 1))
	var sources []*source
	for i := range 20 {
		sources = append(sources, newSource(fmt.Sprintf("s%d", i)))
	}
	at, writes := noon, 0
	for b.Loop() {
		b.StopTimer()
		lists := make([][][]byte, benchWriters)
		for w := range lists {
			for n := range benchTapes {
				lists[w] = append(lists[w], sources[n%len(sources)].benchTape(b, r, at, benchRows))
			}
			for _, f := range ready {
				f(lists[w])
			}
		}
		at = at.Add(300 * time.Millisecond)
		b.StartTimer()
		var g errgroup.Group
		for _, list := range lists {
			g.Go(func() error { return write(list) })
		}
		if writes++; writes%8 == 0 {
			g.Go(merge)
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		rows += benchWriters * benchTapes * benchRows
	}
	b.ReportMetric(rows/b.Elapsed().Seconds(), "exchanges/s")
	return rows
}

// BenchmarkMerge is what the merger does with the parts of one transaction.
func BenchmarkMerge(b *testing.B) {
	s := openStore(b)
	r := rand.New(rand.NewPCG(1, 1))
	src := newSource("cart")
	parts, at := 0, noon
	for b.Loop() {
		b.StopTimer()
		mustWrite(b, s, received(b, src.benchTape(b, r, at, 10_000)))
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

// benchTape is like real traffic: 20 endpoints, some seldom, some with a trace, 40 byte paths.
func (s *source) benchTape(b testing.TB, r *rand.Rand, at time.Time, n int) []byte {
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
		list[i] = exchange{e, getEndpoint(fmt.Sprintf("/api/v1/e%d/{id}", int(r.ExpFloat64()*6)%20))}
	}
	return s.raw(b, at, list)
}
