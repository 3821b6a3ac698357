package spool

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tapedeck/events"
)

// tape makes a header-only tape.
func tape(t *testing.T, at time.Time) (events.ID, []byte) {
	t.Helper()
	b := events.NewBuilder(at)
	source := events.NewID(at)
	raw, err := b.Close(&events.Header{SourceId: source[:], Workload: &events.Workload{Service: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	return b.ID(), raw
}

func open(t *testing.T, dir string, maxBytes int64) *Spool {
	t.Helper()
	s, err := Open(dir, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPutSurvivesReopeningInOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	var ids []events.ID
	var raws [][]byte
	for i := range 5 {
		id, raw := tape(t, time.Unix(int64(100-i), 0)) // newest first
		if err := s.Put(id, raw); err != nil {
			t.Fatal(err)
		}
		ids, raws = append(ids, id), append(raws, raw)
	}
	s = open(t, dir, 0)
	if s.Tapes() != 5 || s.Bytes() != int64(5*len(raws[0])) {
		t.Errorf("reopened: %d tapes, %d bytes, want 5, %d", s.Tapes(), s.Bytes(), 5*len(raws[0]))
	}
	oldest := s.Oldest(10)
	for i, id := range oldest {
		if id != ids[4-i] {
			t.Fatalf("order %v, want the oldest first", oldest)
		}
		got, err := s.Get(id)
		if err != nil || !bytes.Equal(got.Bytes(), raws[4-i]) {
			t.Fatalf("tape %s: %v, equal %v", id, err, err == nil && bytes.Equal(got.Bytes(), raws[4-i]))
		}
		if err := s.Remove(id); err != nil {
			t.Fatal(err)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 || s.Tapes() != 0 || s.Bytes() != 0 {
		t.Errorf("left %d files, %d tapes, %d bytes, want 0", len(files), s.Tapes(), s.Bytes())
	}
}

func TestPutRefusesAtTheBound(t *testing.T) {
	id, raw := tape(t, time.Unix(1, 0))
	other, _ := tape(t, time.Unix(2, 0))
	s := open(t, t.TempDir(), int64(len(raw))+1)
	if err := s.Put(id, raw); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(other, raw); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if s.Tapes() != 1 {
		t.Errorf("holds %d tapes, want 1", s.Tapes())
	}
}

func TestDamagedTapeIsPutAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	id, raw := tape(t, time.Unix(1, 0))
	raw[30] ^= 1
	if err := s.Put(id, raw); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(id); !errors.Is(err, events.ErrTape) {
		t.Errorf("got %v, want ErrTape", err)
	}
	if _, err := os.Stat(filepath.Join(dir, id.String()+".bad")); err != nil || s.Tapes() != 0 {
		t.Errorf("%v, %d tapes, want the file put aside", err, s.Tapes())
	}
	if s = open(t, dir, 0); s.Tapes() != 0 {
		t.Errorf("reopened with %d tapes, want 0", s.Tapes())
	}
}

func TestHalfWrittenTapeIsRemoved(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{".tmp-old": 2 * time.Hour, ".tmp-young": 0} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Now(), time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if s := open(t, dir, 0); s.Tapes() != 0 {
		t.Errorf("%d tapes, want 0", s.Tapes())
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 1 || files[0].Name() != ".tmp-young" {
		t.Errorf("left %v, want only the young one, which may be another process's", files)
	}
}

func TestOpenFailsWhereItCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "spool"), 0); err == nil {
		t.Error("opened below a file")
	}
}

func TestClaim(t *testing.T) {
	id, raw := tape(t, time.Unix(1, 0))
	s := open(t, t.TempDir(), int64(len(raw)))
	if s.Claim(id) {
		t.Error("claimed a tape that is not there")
	}
	if err := s.Put(id, raw); err != nil {
		t.Fatal(err)
	}
	if !s.Claim(id) || s.Claim(id) {
		t.Error("want one claim at a time")
	}
	s.Release(id)
	if !s.Claim(id) {
		t.Error("not released")
	}
	if !s.Fits(len(raw)) || s.Fits(len(raw)+1) {
		t.Error("Fits is not the bound")
	}
}
