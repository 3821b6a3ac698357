package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

func newSource(t *testing.T, dir string) (*Source, events.ID) {
	t.Helper()
	id := events.NewID(time.Now())
	s, err := Create(dir, &events.Header{SourceId: id[:], Workload: &events.Workload{Service: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	return s, id
}

// reopen is what the next process does. It takes the lock that closing leaves.
func reopen(t *testing.T, dir string, id events.ID) *Source {
	t.Helper()
	s, err := Open(dir, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func closeSource(t *testing.T, s *Source) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func tape(t *testing.T, source events.ID, number uint64, exchanges int) *events.Tape {
	t.Helper()
	b := events.NewBuilder(time.Now())
	for range exchanges {
		id := events.NewID(time.Now())
		x := &events.Exchange{Id: id[:], Request: &events.Request{Body: &events.Body{}}}
		if err := b.AddExchange(&events.Entry{Id: id[:]}, &events.Endpoint{Protocol: "http"}, x); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := b.Close(&events.Header{SourceId: source[:], Number: number, Workload: &events.Workload{Service: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := events.ParseTape(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCountsOutliveTheirProcess(t *testing.T) {
	dir := t.TempDir()
	s, id := newSource(t, dir)
	s.Begun().Add(7)
	s.Save(Counts{Number: 1, Taped: 2, Dropped: map[string]uint64{"pressure": 1}})
	want := Counts{Number: 2, Taped: 3, Dropped: map[string]uint64{"pressure": 1, "a-reason-of-24-characters": 2}}
	s.Save(want)
	if _, err := Open(dir, id); !errors.Is(err, ErrInUse) {
		t.Errorf("opened while it lives: %v", err)
	}
	closeSource(t, s)
	s = reopen(t, dir, id)
	want.Dropped = map[string]uint64{"pressure": 1, "a-reason-of-24-character": 2}
	if diff := cmp.Diff(want, s.Counts()); diff != "" || s.Begun().Load() != 7 || s.Header.Workload.Service != "shop" {
		t.Errorf("(-want +got):\n%s begun %d, header %v", diff, s.Begun().Load(), s.Header)
	}
	if ids, err := Sources(dir); err != nil || len(ids) != 1 || ids[0] != id {
		t.Errorf("sources %v, %v, want %s", ids, err, id)
	}
}

func TestManyReasonsLoseNothing(t *testing.T) {
	s, _ := newSource(t, t.TempDir())
	defer s.Close()
	dropped := map[string]uint64{}
	for i := range 50 {
		dropped[fmt.Sprint("reason ", i)] = 2
	}
	s.Save(Counts{Dropped: dropped})
	sum := uint64(0)
	for _, n := range s.Counts().Dropped {
		sum += n
	}
	if sum != 100 {
		t.Errorf("%d dropped, want 100", sum)
	}
}

// TestSettle ends a source whose process was killed after it kept its third
// tape and before it counted that.
func TestSettle(t *testing.T) {
	dir := t.TempDir()
	s, id := newSource(t, dir)
	s.Begun().Add(20)
	for n := range 3 {
		kept := tape(t, id, uint64(n+1), 4)
		if err := s.Keep(kept.TapeID(), kept.Bytes()); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			s.Forget(kept.TapeID()) // published
		}
	}
	s.Save(Counts{Number: 2, Taped: 8, Dropped: map[string]uint64{"pressure": 3}})
	cut := tape(t, id, 4, 1).Bytes()
	if err := s.Keep(events.NewID(time.Now()), cut[:len(cut)-1]); err != nil {
		t.Fatal(err)
	}
	closeSource(t, s)
	s = reopen(t, dir, id)
	kept, err := s.Kept()
	if err != nil || len(kept) != 2 {
		t.Fatalf("kept %d tapes, %v, want 2", len(kept), err)
	}
	s.Settle(kept)
	s.Settle(kept) // after a kill in the middle of it
	_, raw, err := s.LastTape(time.Now(), 5)
	if err != nil {
		t.Fatal(err)
	}
	front, err := events.ParseFront(raw)
	if err != nil {
		t.Fatal(err)
	}
	c := front.Header.Counters
	if h := front.Header; !h.Last || h.Number != 4 || c.Begun != 20 || c.Taped != 12 || c.Dropped[Killed] != 5 || c.Dropped["pressure"] != 3 || c.Open != 0 || c.SpooledTapes != 5 {
		t.Errorf("last header %v", h)
	}
	s.Report()
	s.Settle(kept)
	if got := s.Counts(); !got.Reported || got.Taped != 12 || got.Number != 4 {
		t.Errorf("reported: %+v", got)
	}
	s.Drop(4, "spool")
	if got := s.Counts(); got.Reported || got.Taped != 8 || got.Dropped["spool"] != 4 {
		t.Errorf("after a drop: %+v", got)
	}
}

func TestDamagedLedgerIsPutAside(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{"empty": {}, "zeros": make([]byte, pageSize)} {
		s, id := newSource(t, dir)
		closeSource(t, s)
		if err := os.WriteFile(filepath.Join(dir, id.String(), countersFile), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, id); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
		if err := Discard(dir, id); err != nil {
			t.Error(err)
		}
	}
	if ids, err := Sources(dir); err != nil || len(ids) != 0 {
		t.Errorf("sources %v, %v, want none", ids, err)
	}
	if ids, err := Sources(filepath.Join(dir, "nowhere")); err != nil || ids != nil {
		t.Errorf("no folder: %v, %v", ids, err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	s, id := newSource(t, dir)
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, id); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opened what was removed: %v", err)
	}
}
