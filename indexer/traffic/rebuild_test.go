package traffic

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"tapedeck/events"
	"tapedeck/internal/pgtest"
)

// allRows are all rows of the tables that are made of tapes, as text and sorted;
// but leaves out columns.
func allRows(t *testing.T, s *Store, but ...string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, table := range derived {
		rows, err := s.pool.Query(t.Context(), "select (to_jsonb(x) - coalesce($1::text[], array[]::text[]))::text from "+table+" x order by 1", but)
		if err != nil {
			t.Fatal(err)
		}
		if all[table], err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func mustRebuild(t *testing.T, s *Store) *Rebuild {
	t.Helper()
	r, err := s.Rebuild(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// writeFresh does what a reindex does.
func writeFresh(t *testing.T, r *Rebuild, tapes []Received) {
	t.Helper()
	for _, tape := range tapes {
		at, err := r.ReceivedAt(t.Context(), []events.ID{tape.TapeID()})
		if err != nil {
			t.Fatal(err)
		}
		tape.At = time.Unix(0, tape.Header.ClosedAt)
		if known, ok := at[tape.TapeID()]; ok {
			tape.At = known
		}
		mustWrite(t, r.Store, tape)
	}
}

func mustSwap(t *testing.T, r *Rebuild) Swapped {
	t.Helper()
	done, err := r.Swap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	return done
}

// rebuildTapes are tapes with open entries, wrong clocks and purged exchanges.
func rebuildTapes(t *testing.T, s *Store, n int) []Received {
	r := rand.New(rand.NewPCG(8, 8))
	src := newSource("cart")
	var tapes []Received
	for i := range n {
		at := noon.Add(time.Duration(i) * time.Minute)
		tape := src.randomTape(t, r, at, 20)
		if i%5 == 0 {
			late := entryAt(at.Add(time.Hour)) // its clock is wrong
			tape = src.tape(t, at, []exchange{{late, getEndpoint("/late")}}, exchange{entryAt(at), getEndpoint("/feed")})
			tape.At = at.Add(3 * time.Second)
		}
		tapes = append(tapes, tape)
	}
	mustPurge(t, s, someOf(r, tapes[:3], 3))
	return tapes
}

// What is rebuilt equals what was, row for row and in every table, whatever of
// it comes from tapes and what from the index itself.
func TestRebuildIsTheSame(t *testing.T) {
	s := openStore(t)
	tapes := rebuildTapes(t, s, 30)
	mustWrite(t, s, tapes...)
	places := events.Archived{Object: "tapes/1.reel", Tapes: []events.ArchivedTape{{ID: tapes[0].TapeID(), Length: 7}}}
	if err := s.Archived(t.Context(), []events.Archived{places}); err != nil {
		t.Fatal(err)
	}
	if err := s.StoreScenario(t.Context(), events.ScenarioReady{Name: "checkout", Version: "1", CreatedAt: noon}, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pool.Exec(t.Context(), "update endpoints set first_seen = first_seen - interval '1 day', alias_of = id + 1; update workloads set first_seen = first_seen - interval '1 day'"); err != nil {
		t.Fatal(err)
	}
	if err := s.SetChunk(t.Context(), 6*time.Hour); err != nil {
		t.Fatal(err)
	}
	mustMerge(t, s)
	want := allRows(t, s)

	r := mustRebuild(t, s)
	writeFresh(t, r, tapes[:12])
	r.Close() // stopped
	if d := cmp.Diff(want, allRows(t, s)); d != "" {
		t.Fatalf("an unfinished rebuild changes what is in use:\n%s", d)
	}
	r = mustRebuild(t, s)
	if n := ask[int](t, r.Store, "select count(*) from tapes"); n != 12 {
		t.Errorf("the second start finds %d tapes, want the 12 of the first", n)
	}
	if _, err := s.Rebuild(t.Context()); !errors.Is(err, ErrRebuilding) {
		t.Errorf("a second one at the same time: %v", err)
	}
	if _, err := s.Purge(t.Context(), nil); !errors.Is(err, ErrRebuilding) {
		t.Errorf("a purge meanwhile: %v", err)
	}
	writeFresh(t, r, tapes[:20]) // the others are not archived
	if done := mustSwap(t, r); done.Tapes != 10 || done.Forgotten != 0 {
		t.Errorf("swapped %+v, want 10 tapes of the old index", done)
	}
	mustMerge(t, s)
	if d := cmp.Diff(want, allRows(t, s)); d != "" {
		t.Fatalf("the index differs (-before +after):\n%.4000s", d)
	}
	checkLevels(t, s)
	checkHistograms(t, s)
	if got := ask[string](t, s, `select concat_ws(' ', (select count(*) from scenarios), (select count(*) > 0 from tombstones), (select count(*) from pg_namespace where nspname like 'tapedeck%'),
		(select time_interval from timescaledb_information.dimensions where hypertable_name = 'exchanges'))`); got != "1 t 0 06:00:00" {
		t.Errorf("scenarios, tombstones, schemas left, chunks = %s", got)
	}
}

// Indexers of this and of an older version, which knows no purge lock, write
// and merge while the index is rebuilt and swapped: nothing is lost, nothing
// twice.
func TestRebuildWhileOthersWork(t *testing.T) {
	s := openStore(t)
	random := rand.New(rand.NewPCG(4, 4))
	const perSource = 60
	var tapes [][]Received
	for i := range 3 {
		src := newSource([]string{"cart", "orders", "payments"}[i])
		var list []Received
		for n := range perSource {
			tape := src.randomTape(t, random, noon.Add(time.Duration(n)*time.Second), 15)
			if n%10 == 9 { // a new endpoint: its name has to be in the fresh dictionary
				tape = src.tape(t, noon, []exchange{{entryAt(noon), getEndpoint("/new/" + randomWord())}})
			}
			list = append(list, tape)
		}
		tapes = append(tapes, list)
	}
	started := make(chan struct{})
	var wg sync.WaitGroup
	for i, list := range tapes {
		store := openAt(t, s.pool.Config().ConnString())
		wg.Go(func() {
			for n, tape := range list {
				if n == perSource/3 && i == 0 {
					close(started)
				}
				persistWrite(t, store, tape)
				if _, err := store.Merge(t.Context()); err != nil && !Unavailable(err) {
					t.Error(err)
				}
			}
		})
	}
	<-started
	r := mustRebuild(t, s)
	writeFresh(t, r, tapes[1][:perSource/4])
	mustSwap(t, r)
	wg.Wait()
	mustMerge(t, s)
	checkLevels(t, s)
	checkHistograms(t, s)
	control := openAt(t, pgtest.New(t))
	mustWrite(t, control, slices.Concat(tapes...)...)
	mustMerge(t, control)
	if d := cmp.Diff(allRows(t, control, "indexed_at", "first_seen"), allRows(t, s, "indexed_at", "first_seen")); d != "" {
		t.Errorf("the index differs from one that was never rebuilt:\n%.4000s", d)
	}
}

// persistWrite writes as an indexer does: again while the database is not
// available.
func persistWrite(t *testing.T, s *Store, tape Received) {
	for {
		_, err := s.Write(t.Context(), []Received{tape}, noBury(t))
		if err == nil {
			return
		}
		if !Unavailable(err) {
			t.Error(err)
			return
		}
	}
}

// A rebuild that was stopped before a purge begins anew: what was purged does
// not come back.
func TestRebuildAfterPurge(t *testing.T) {
	s := openStore(t)
	tapes := rebuildTapes(t, s, 6)
	mustWrite(t, s, tapes...)
	r := mustRebuild(t, s)
	writeFresh(t, r, tapes)
	r.Close()
	mustPurge(t, s, someOf(rand.New(rand.NewPCG(1, 1)), tapes, 2))
	mustMerge(t, s)
	want := allRows(t, s, "bytes", "first_time", "last_time")
	r = mustRebuild(t, s)
	if n := ask[int](t, r.Store, "select count(*) from tapes"); n != 0 {
		t.Errorf("%d tapes of the rebuild before the purge are left", n)
	}
	writeFresh(t, r, tapes)
	mustSwap(t, r)
	mustMerge(t, s)
	if d := cmp.Diff(want, allRows(t, s, "bytes", "first_time", "last_time")); d != "" {
		t.Errorf("the index differs:\n%.4000s", d)
	}
}

// Roles keep their rights on fresh tables.
func TestRebuildKeepsRoles(t *testing.T) {
	dsn := pgtest.New(t)
	admin := openAt(t, dsn)
	if _, err := admin.SetRoles(t.Context()); err != nil {
		t.Fatal(err)
	}
	tapes := rebuildTapes(t, admin, 4)
	writer := openAt(t, login(t, dsn, WriterRole))
	mustWrite(t, writer, tapes...)
	r := mustRebuild(t, admin)
	writeFresh(t, r, tapes)
	mustSwap(t, r)
	mustWrite(t, writer, newSource("orders").tape(t, noon, []exchange{{entryAt(noon), getEndpoint("/x")}}))
	mustMerge(t, writer)
	if _, err := writer.Retain(t.Context(), Retention{Exchanges: time.Hour}); err != nil {
		t.Error(err)
	}
	reader, err := OpenReader(t.Context(), login(t, dsn, ReaderRole))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := reader.List(t.Context(), ListQuery{}); err != nil {
		t.Error(err)
	}
	if _, err := writer.Rebuild(context.WithoutCancel(t.Context())); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("a writer rebuilds the index: %v", err)
	}
}
