package traffic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

func mustPurge(t *testing.T, s *Store, list []Tombstone) Purged {
	t.Helper()
	done, err := s.Purge(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// someOf are tombstones of about one in n exchanges of tapes, the greatest
// durations among them.
func someOf(r *rand.Rand, tapes []Received, n int) (list []Tombstone) {
	for _, tape := range tapes {
		for _, e := range tape.Index.Entries {
			if r.IntN(n) == 0 || e.DurationUs > 60_000 {
				list = append(list, Tombstone{events.ID(e.Id), time.UnixMicro(int64(e.Time) / 1000)})
			}
		}
	}
	return list
}

// Rows and every level agree after a purge, whatever was merged before; the
// ledger counts what went, a second purge finds nothing, and no tape brings
// anything back.
func TestPurgeCorrectsRollups(t *testing.T) {
	s := openStore(t)
	r := rand.New(rand.NewPCG(5, 9))
	src := newSource("cart")
	var tapes []Received
	for i := range 8 {
		tapes = append(tapes, src.randomTape(t, r, noon.Add(time.Duration(i)*time.Minute-time.Duration(r.IntN(50))*time.Hour), 60))
	}
	mustWrite(t, s, tapes[:4]...)
	mustMerge(t, s)
	mustWrite(t, s, tapes[4:6]...) // in the queue
	list := someOf(r, tapes, 3)
	inIndex := 0
	for _, x := range list {
		inIndex += ask[int](t, s, "select count(*) from exchanges where id = $1", [16]byte(x.Exchange))
	}
	if done := mustPurge(t, s, list); done.Exchanges != inIndex || inIndex == 0 {
		t.Errorf("purged %+v, want %d exchanges", done, inIndex)
	}
	checkLevels(t, s)
	if n := ask[int](t, s, "select count(*) from exchanges where id in (select id from tombstones)"); n != 0 {
		t.Errorf("%d purged exchanges are left", n)
	}
	if done := mustPurge(t, s, list); done != (Purged{}) {
		t.Errorf("purged again: %+v", done)
	}
	other := openAt(t, s.pool.Config().ConnString()) // has read no tombstones yet
	mustWrite(t, other, tapes...)
	mustWrite(t, s, tapes...)
	checkLevels(t, s)
	mustMerge(t, s)
	checkLevels(t, s)
	checkHistograms(t, s)
	got := ask[string](t, s, "select concat_ws(' ', sum(exchanges), sum(purged), (select count(*) from exchanges)) from tapes")
	if want := fmt.Sprint(480, len(list), 480-len(list)); got != want {
		t.Errorf("ledger: exchanges, purged, rows = %s, want %s", got, want)
	}
	accounts, err := openReader(t, s).Audit(t.Context(), time.Time{})
	if err != nil || len(accounts) != 1 || accounts[0].Purged != int64(len(list)) || accounts[0].Unaccounted() != 0 || accounts[0].Missing != 0 {
		t.Errorf("audit: %+v, %v", accounts, err)
	}
}

// Everything goes: nothing is left in any level.
func TestPurgeAll(t *testing.T) {
	s := openStore(t)
	src, r := newSource("cart"), rand.New(rand.NewPCG(1, 1))
	open := exchange{entryAt(noon), getEndpoint("/feed")}
	tape := src.tape(t, noon, []exchange{{entryAt(noon), getEndpoint("/x")}}, open)
	more := src.randomTape(t, r, noon, 30)
	mustWrite(t, s, tape, more)
	list := someOf(r, []Received{tape, more}, 1)
	if done := mustPurge(t, s, list); done != (Purged{31, 1}) {
		t.Errorf("purged %+v, want 31 exchanges and an open one", done)
	}
	for _, table := range []string{"exchanges", "open_exchanges", "rollup_part", "rollup_10s", "rollup_1m", "rollup_10m", "rollup_1h", "rollup_1d"} {
		if n := ask[int](t, s, "select count(*) from "+table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	// The open one ends: its exchange is not let in, and the books have it.
	ended := src.tape(t, noon.Add(time.Minute), []exchange{{open.Entry, open.Endpoint}})
	mustWrite(t, s, ended)
	if got := ask[string](t, s, "select concat_ws(' ', (select count(*) from exchanges), sum(exchanges), sum(purged)) from tapes"); got != "0 32 32" {
		t.Errorf("rows, exchanges, purged = %s, want 0 32 32", got)
	}
}

// Retention has dropped what the greatest duration could be found in: sums
// stay right.
func TestPurgeWithoutFinerRows(t *testing.T) {
	s := openStore(t)
	src, r := newSource("cart"), rand.New(rand.NewPCG(1, 1))
	tape := src.randomTape(t, r, noon, 40)
	mustWrite(t, s, tape)
	mustMerge(t, s)
	before := ask[int64](t, s, "select max(duration_max_us) from rollup_1h")
	if _, err := s.pool.Exec(t.Context(), "truncate rollup_10s, rollup_1m"); err != nil {
		t.Fatal(err)
	}
	list := someOf(r, []Received{tape}, 4)
	mustPurge(t, s, list)
	if n := ask[int](t, s, "select sum(requests)::int8 from rollup_1h"); n != 40-len(list) {
		t.Errorf("%d requests in a level, want %d", n, 40-len(list))
	}
	if n := ask[int64](t, s, "select max(duration_max_us) from rollup_1h"); n > before || n == 0 {
		t.Errorf("greatest duration %d, was %d", n, before)
	}
}

// Indexers and a merger work while exchanges are purged.
func TestPurgeWhileOthersWork(t *testing.T) {
	s := openStore(t)
	r := rand.New(rand.NewPCG(3, 3))
	sources := []*source{newSource("cart"), newSource("orders"), newSource("payments")}
	tapes := make([][]Received, len(sources))
	for i, src := range sources {
		for range 12 {
			tapes[i] = append(tapes[i], src.randomTape(t, r, noon, 25))
		}
	}
	list := someOf(r, slices.Concat(tapes...), 3)
	var wg sync.WaitGroup
	for i := range sources {
		store := openAt(t, s.pool.Config().ConnString())
		wg.Go(func() {
			for _, tape := range tapes[i] {
				persistWrite(t, store, tape)
				if _, err := store.Merge(t.Context()); err != nil && !Unavailable(err) {
					t.Error(err)
				}
			}
		})
	}
	for part := range slices.Chunk(list, len(list)/8+1) {
		mustPurge(t, s, part)
	}
	wg.Wait()
	checkLevels(t, s)
	mustMerge(t, s)
	checkLevels(t, s)
	got := ask[string](t, s, "select concat_ws(' ', sum(exchanges), sum(purged), (select count(*) from exchanges)) from tapes")
	if want := fmt.Sprint(900, len(list), 900-len(list)); got != want {
		t.Errorf("ledger: exchanges, purged, rows = %s, want %s", got, want)
	}
}

func TestHistogramSubtracts(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var want, other, sum Histogram
	for range 1000 {
		d := time.Duration(r.ExpFloat64() * float64(time.Second))
		if r.IntN(3) == 0 {
			other.Add(d)
		} else {
			want.Add(d)
		}
		sum.Add(d)
	}
	sum.Subtract(&other)
	if d := cmp.Diff(fmt.Sprint(want), fmt.Sprint(sum)); d != "" {
		t.Error(d)
	}
}
