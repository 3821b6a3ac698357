package tapes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

func sampleReel(t testing.TB) ([]byte, []reelEntry) {
	t.Helper()
	cart := events.Service{Cluster: "local", Namespace: "shop", Service: "cart.ü"}
	b, entries, err := packReel([]*events.Tape{newTape(t, orders, noon, 2), newTape(t, cart, noon, 0), newTape(t, orders, noon, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return b, entries
}

func TestReelTable(t *testing.T) {
	b, want := sampleReel(t)
	n, err := tableSize(b, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range [][]byte{b, b[1:], b[int64(len(b))-n:]} {
		got, err := parseTable(end, int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(reelEntry{})); diff != "" {
			t.Errorf("table (-want +got):\n%s", diff)
		}
	}
	if _, err := parseTable(b[int64(len(b))-n+1:], int64(len(b))); !errors.Is(err, events.ErrTape) {
		t.Errorf("a part of the table: got error %v, want one that wraps ErrTape", err)
	}
}

// A reel of version 1 is read for ever.
func TestGoldenReel(t *testing.T) {
	b, err := os.ReadFile("testdata/reel-v1.reel")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := parseTable(b, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var services []string
	for _, e := range entries {
		tape, err := events.ParseTape(b[e.offset : e.offset+e.length])
		if err != nil {
			t.Fatal(err)
		}
		if tape.TapeID() != e.id || tape.Size != e.front || tape.Header.Workload.Service != e.service || tape.Verify() != nil {
			t.Errorf("tape %s is not what the table says: %+v", tape.TapeID(), e)
		}
		services = append(services, e.service)
	}
	if diff := cmp.Diff([]string{"orders", "cart.ü", "orders"}, services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
}

// Every flipped bit of the table and every cut is noticed.
func TestReelTableCorruption(t *testing.T) {
	b, _ := sampleReel(t)
	n, err := tableSize(b, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) - int(n); i < len(b); i++ {
		for bit := range 8 {
			bad := bytes.Clone(b)
			bad[i] ^= 1 << bit
			if _, err := parseTable(bad, int64(len(bad))); !errors.Is(err, events.ErrTape) {
				t.Errorf("bit %d of byte %d: got error %v, want one that wraps ErrTape", bit, i, err)
			}
		}
	}
	for cut := range b {
		if _, err := parseTable(b[:cut], int64(cut)); !errors.Is(err, events.ErrTape) {
			t.Errorf("cut to %d bytes: got error %v, want one that wraps ErrTape", cut, err)
		}
	}
}

// FuzzReelTable holds: no panic, errors wrap ErrTape, and the tapes of a table
// that is accepted fill the reel up to the table.
func FuzzReelTable(f *testing.F) {
	b, _ := sampleReel(f)
	f.Add(b, int64(len(b)), false)
	f.Add(b[len(b)-200:], int64(len(b)), true)
	f.Fuzz(func(t *testing.T, end []byte, size int64, seal bool) {
		if n, err := tableSize(end, size); seal && err == nil && n <= int64(len(end)) {
			end = bytes.Clone(end)
			sum := len(end) - 8
			binary.BigEndian.PutUint32(end[sum:], crc32.Checksum(end[int64(len(end))-n:sum], castagnoli))
		}
		entries, err := parseTable(end, size)
		if err != nil && !errors.Is(err, events.ErrTape) {
			t.Fatalf("error %v does not wrap ErrTape", err)
		}
		at := int64(0)
		for _, e := range entries {
			if e.offset != at || e.length < 0 || e.front > e.length || e.service == "" {
				t.Fatalf("accepted %+v at %d", e, at)
			}
			at += e.length
		}
		if err == nil && at > size {
			t.Fatalf("accepted %d bytes of tapes in a reel of %d", at, size)
		}
	})
}

func TestReelKey(t *testing.T) {
	old := newTape(t, orders, noon.Add(-time.Hour), 0)
	r, err := NewReel(noon, []*events.Tape{newTape(t, orders, noon, 0), old})
	if err != nil {
		t.Fatal(err)
	}
	name, ok := parseReelKey(r.key)
	if !ok || name.written.UnixMilli() != noon.UnixMilli() || name.oldest.UnixMilli() != noon.Add(-time.Hour).UnixMilli() {
		t.Errorf("key %s reads as %+v, %v", r.key, name, ok)
	}
	for _, bad := range []string{"", "x", "x.reel", "a_b.reel", "a_1.reel", old.TapeID().String() + ".reel", old.TapeID().String() + "_1.tape"} {
		if _, ok := parseReelKey(bad); ok {
			t.Errorf("%q was read as a reel's key", bad)
		}
	}
}
