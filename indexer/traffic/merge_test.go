package traffic

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"tapedeck/internal/pgtest"
)

// sums are what a rollup and the raw rows must agree on, by endpoint and bucket.
const (
	rawSums = `select concat_ws(' ', extract(epoch from time_bucket($1::interval, time, 'epoch'::timestamptz))::int8, endpoint_id) as key,
		concat_ws(' ', count(*), count(*) filter (where class = 1), count(*) filter (where class = 2), count(*) filter (where class = 3), count(*) filter (where class = 4),
		sum(request_bytes), sum(response_bytes), sum(duration_us), max(duration_us)) as sums from exchanges group by 1, time_bucket($1::interval, time, 'epoch'::timestamptz), endpoint_id`
	// A level and the queue before it, in one statement.
	levelSums = `select concat_ws(' ', extract(epoch from b)::int8, endpoint_id) as key,
		concat_ws(' ', sum(requests), sum(ok), sum(client), sum(server), sum(failed), sum(request_bytes), sum(response_bytes), sum(duration_us), max(duration_max_us)) as sums
		from (select bucket as b, * from %s union all select time_bucket($1::interval, bucket, 'epoch'::timestamptz), * from rollup_part) x group by b, endpoint_id`
)

func sumsOf(t *testing.T, s *Store, sql string, l Level) map[string]string {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), sql, l.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	sums := map[string]string{}
	for rows.Next() {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			t.Fatal(err)
		}
		sums[key] = value
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return sums
}

func checkLevels(t *testing.T, s *Store) {
	t.Helper()
	for _, l := range Levels {
		raw, level := sumsOf(t, s, rawSums, l), sumsOf(t, s, fmt.Sprintf(levelSums, l.Table), l)
		if d := cmp.Diff(raw, level); d != "" {
			t.Fatalf("%s differs from the raw rows (-raw +level):\n%s", l.Table, d)
		}
	}
}

func checkHistograms(t *testing.T, s *Store) {
	t.Helper()
	want := rollup{}
	rows, err := s.pool.Query(t.Context(), "select time, endpoint_id, duration_us from exchanges")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var at time.Time
		var k rollupKey
		var micros int64
		if err := rows.Scan(&at, &k.endpoint, &micros); err != nil {
			t.Fatal(err)
		}
		k.bucket = at.UnixMicro()
		want.at(k).histogram.add(binOf(micros), 1)
	}
	for _, l := range Levels {
		want := want.coarsen(l.Bucket)
		rows, err := s.pool.Query(t.Context(), "select "+rollupColumns+" from "+l.Table)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = scanRollup(rows, func(k rollupKey, got *totals) {
			n++
			if d := cmp.Diff(fmt.Sprint(want.at(k).histogram), fmt.Sprint(got.histogram)); d != "" {
				t.Errorf("histogram of %v in %s: %s", k, l.Table, d)
			}
		})
		if err != nil || n != len(want) {
			t.Errorf("%s has %d rows, want %d (%v)", l.Table, n, len(want), err)
		}
	}
}

// Tapes come late, twice and between merges; every level counts each exchange
// once, and level and queue together agree with the rows at any moment.
func TestMerge(t *testing.T) {
	s := openStore(t)
	r := rand.New(rand.NewPCG(7, 7))
	src := newSource("cart")
	var tapes []Received
	for i := range 12 {
		late := time.Duration(r.IntN(80)) * time.Hour
		tapes = append(tapes, src.randomTape(t, r, noon.Add(time.Duration(i)*time.Minute-late), 60))
	}
	mustWrite(t, s, tapes[:8]...)
	checkLevels(t, s) // nothing is merged yet
	if n, err := s.Merge(t.Context()); err != nil || n == 0 {
		t.Fatalf("Merge = %d, %v", n, err)
	}
	checkLevels(t, s)
	if n, err := s.Merge(t.Context()); err != nil || n != 0 {
		t.Errorf("Merge of an empty queue = %d, %v", n, err)
	}
	mustWrite(t, s, tapes[4:]...) // some again, some new
	checkLevels(t, s)
	if _, err := s.Merge(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkLevels(t, s)
	checkHistograms(t, s)
	if n := ask[int](t, s, "select count(*) from rollup_part"); n != 0 {
		t.Errorf("%d parts are left in the queue", n)
	}
}

// Writers, two mergers and a reader at once.
func TestMergeBesideWriters(t *testing.T) {
	dsn := pgtest.New(t)
	stores := []*Store{openAt(t, dsn), openAt(t, dsn)}
	// The server tells others of a new chunk a moment after its rows are to be
	// seen. Whoever reads in that moment misses them: every table gets its chunk
	// before.
	first := newSource("cart").randomTape(t, rand.New(rand.NewPCG(9, 1)), noon, 30)
	if _, err := stores[0].Write(t.Context(), []Received{first}, noBury(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := stores[0].Merge(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var writers, others sync.WaitGroup
	for w := range 2 {
		r := rand.New(rand.NewPCG(uint64(w), 1))
		src := newSource("cart")
		writers.Go(func() {
			for range 15 {
				if _, err := stores[w].Write(t.Context(), []Received{src.randomTape(t, r, noon, 30)}, noBury(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running := func() bool {
		select {
		case <-done:
			return false
		default:
			return true
		}
	}
	for w := range 2 {
		others.Go(func() {
			for running() {
				if _, err := stores[w].Merge(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	reader := openReader(t, stores[0])
	others.Go(func() {
		for running() {
			var agree bool
			err := reader.read(t.Context(), queryTimeout, func(tx pgx.Tx) error {
				return tx.QueryRow(t.Context(), `select (select count(*) from exchanges) =
					(select coalesce(sum(requests), 0) from (select requests from rollup_1h union all select requests from rollup_part) x)`).Scan(&agree)
			})
			if err != nil || !agree {
				t.Errorf("rollups and rows disagreed for a moment (%v)", err)
			}
		}
	})
	writers.Wait()
	close(done)
	others.Wait()
	if _, err := stores[0].Merge(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkLevels(t, stores[0])
	checkHistograms(t, stores[0])
}
