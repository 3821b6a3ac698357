package traffic

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

func TestAudit(t *testing.T) {
	s := openStore(t)
	r := openReader(t, s)
	src := newSource("cart")
	one := func() []exchange { return []exchange{{entryAt(noon), getEndpoint("/x")}} }
	var tapes []Received
	for i := range 4 {
		if i == 2 { // 7 more began: 4 dropped, 3 open
			src.counters.Begun += 7
			src.counters.Dropped, src.counters.Open = map[string]uint64{"pressure": 4}, 3
		}
		tapes = append(tapes, src.tape(t, noon.Add(time.Duration(i)*time.Second), one()))
	}
	mustWrite(t, s, tapes[0], tapes[3]) // the tapes between them are on their way
	place := events.Archived{Object: "tapes/reel", Tapes: []events.ArchivedTape{{ID: tapes[0].TapeID(), Length: 10}}}
	if err := s.Archived(t.Context(), []events.Archived{place}); err != nil {
		t.Fatal(err)
	}
	want := Account{
		Source: src.id, Service: events.Service{Cluster: "c1", Namespace: "shop", Service: "cart"}, Version: "1.2", Instance: "cart-0",
		LastTape: noon.Add(3 * time.Second), Begun: 11, Indexed: 2, Dropped: 4, Drops: map[string]int64{"pressure": 4}, Open: 3,
		Missing: 2, MissingTapes: 2, Tapes: 2, Unarchived: 1,
	}
	check := func() {
		t.Helper()
		got, err := r.Audit(t.Context(), time.Time{})
		if err != nil || len(got) != 1 {
			t.Fatalf("Audit = %+v, %v", got, err)
		}
		got[0].LastTape = got[0].LastTape.UTC()
		if d := cmp.Diff(want, got[0]); d != "" {
			t.Errorf("account (-want +got):\n%s", d)
		}
		if n := got[0].Unaccounted(); n != 0 {
			t.Errorf("%d exchanges are unaccounted for", n)
		}
	}
	check()
	mustWrite(t, s, tapes...)
	want.Indexed, want.Missing, want.MissingTapes, want.Tapes, want.Unarchived = 4, 0, 0, 4, 3
	check()
	if got, err := r.Audit(t.Context(), noon.Add(time.Hour)); err != nil || len(got) != 0 {
		t.Errorf("Audit of what came later = %+v, %v", got, err)
	}
}

// It does not matter whether a tape is first archived or first indexed.
func TestArchived(t *testing.T) {
	s := openStore(t)
	src := newSource("cart")
	tape := src.tape(t, noon, []exchange{{entryAt(noon), getEndpoint("/x")}})
	other := events.NewID(noon)
	reel := events.Archived{Object: "tapes/1.reel", Tapes: []events.ArchivedTape{{ID: other, Length: 5}, {ID: tape.TapeID(), Offset: 5, Length: 7}}}
	again := events.Archived{Object: "tapes/2.reel", Tapes: []events.ArchivedTape{{ID: tape.TapeID(), Offset: 50, Length: 7}}}
	const sql = "select object || ' ' || start || ' ' || length from tapes join places on tape = id"
	for _, step := range []func() error{
		func() error { return s.Archived(t.Context(), []events.Archived{reel}) },
		func() error { _, err := s.Write(t.Context(), []Received{tape}, noBury(t)); return err },
		func() error { return s.Archived(t.Context(), []events.Archived{again, reel}) },
		func() error { return s.Archived(context.WithoutCancel(t.Context()), nil) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if got := ask[string](t, s, sql); got != "tapes/1.reel 5 7" {
		t.Errorf("place = %q", got)
	}
}

func TestOutcomes(t *testing.T) {
	s := openStore(t)
	for _, verdict := range []events.Verdict{events.Missed, events.Passed} { // said twice: the last holds
		result := events.ReplayResult{ID: "r1", Scenario: "checkout", Verdict: verdict, StartedAt: noon}
		if err := s.StoreReplay(t.Context(), result, []byte(`{"id":"r1","reason":"a\u0000b"}`)); err != nil {
			t.Fatal(err)
		}
		ready := events.ScenarioReady{Name: "checkout", Version: "1", CreatedAt: noon}
		if err := s.StoreScenario(t.Context(), ready, []byte(`{"name":"checkout"}`)); err != nil {
			t.Fatal(err)
		}
	}
	got := ask[string](t, s, "select concat_ws(' ', verdict, ended_at is null, (select count(*) from replays), (select count(*) from scenarios)) from replays")
	if got != "passed t 1 1" {
		t.Errorf("outcomes = %q, want passed t 1 1", got)
	}
}
