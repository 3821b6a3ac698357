package tapes

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"tapedeck/events"
)

// secret is in all that is to go, and nowhere else.
const secret = "a-password-that-slipped-through"

// purgeFixture is an exchange to go and one to stay, whose parts lie in a tape
// before theirs, and an exchange that goes and has not ended.
type purgeFixture struct {
	tapes            []*events.Tape
	gone, kept, open events.ID
	keptExchange     *events.Exchange
	rows             map[events.ID]events.Row
}

func newPurgeFixture(t *testing.T) *purgeFixture {
	f := &purgeFixture{gone: events.NewID(noon), kept: events.NewID(noon), open: events.NewID(noon), rows: map[events.ID]events.Row{}}
	source := header(orders, noon)
	part := func(b *events.Builder, id events.ID, data string) []*events.RecordRef {
		ref, err := b.AddPart(&events.Part{ExchangeId: id[:], Side: events.Side_RESPONSE, Offset: 4, Data: []byte(data)})
		if err != nil {
			t.Fatal(err)
		}
		return []*events.RecordRef{ref}
	}
	next := func(b *events.Builder) {
		h := header(orders, noon)
		h.SourceId, h.Number = source.SourceId, uint64(len(f.tapes)+1)
		f.tapes = append(f.tapes, closeTape(t, b, h))
	}
	b := events.NewBuilder(noon)
	goneParts := part(b, f.gone, secret)
	part(b, f.open, secret)
	keptParts := part(b, f.kept, "kept part")
	next(b)
	b = events.NewBuilder(noon.Add(time.Second))
	endpoint := &events.Endpoint{Direction: events.Direction_INBOUND, Protocol: "http", Method: "GET", Template: "/" + secret}
	b.AddOpen(&events.Entry{Id: f.open[:], Time: uint64(f.open.Time().UnixNano()), Path: secret}, endpoint, nil)
	addAs(t, b, f.gone, []byte(secret), []byte("head"), nil, goneParts)
	f.keptExchange = addAs(t, b, f.kept, []byte("request"), []byte("head"), nil, keptParts)
	next(b)
	for _, e := range f.tapes[1].Index.Entries {
		r := f.tapes[1].Row(e)
		f.rows[r.ID] = r
	}
	return f
}

func (f *purgeFixture) chooser(t *testing.T) Chooser {
	return Chooser{
		Rows: func(front *events.Front) (rows []events.Row, err error) {
			for _, e := range front.Index.Entries {
				rows = append(rows, front.Row(e))
			}
			return rows, nil
		},
		Chosen:  func(r *events.Row) bool { return r.ID == f.gone || r.ID == f.open },
		Damaged: func(err error) error { t.Error(err); return nil },
	}
}

// has says whether the archive has the secret in the clear: blocks and indexes
// are unpacked.
func hasSecret(t *testing.T, b Bucket) bool {
	t.Helper()
	for _, root := range []string{tapesRoot, reelsRoot} {
		for o, err := range b.List(t.Context(), root) {
			if err != nil {
				t.Fatal(err)
			}
			raw, err := b.Get(t.Context(), o.Key, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			all, _, err := unpackObject(o.Key, raw)
			if err != nil {
				t.Fatal(err)
			}
			for _, tape := range all {
				if bytes.Contains([]byte(tape.Index.String()), []byte(secret)) {
					return true
				}
				for i := range tape.Index.Blocks {
					block, err := tape.Block(uint32(i))
					if err != nil {
						t.Fatal(err)
					}
					if bytes.Contains(block, []byte(secret)) {
						return true
					}
				}
			}
		}
	}
	return false
}

func (f *purgeFixture) checkGone(t *testing.T, a *Archive, when string) {
	t.Helper()
	place := Place{Object: a.Key(f.tapes[1].Header)}
	if p, err := New(a.Bucket).Find(t.Context(), orders, f.tapes[1].TapeID()); err == nil {
		place = p
	}
	if _, err := a.Exchange(t.Context(), place, f.rows[f.gone]); !errors.Is(err, ErrPurged) {
		t.Errorf("%s: read of a purged exchange: %v", when, err)
	}
	if _, err := a.OpenSegments(t.Context(), orders, place, f.rows[f.open]); !errors.Is(err, ErrPurged) {
		t.Errorf("%s: read of a purged open exchange: %v", when, err)
	}
	seen := 0
	for located, err := range a.Scan(t.Context(), ScanOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range located.Index.Entries {
			if seen++; events.ID(e.Id) != f.kept {
				t.Errorf("%s: a scan finds %x", when, e.Id)
			}
		}
		tape, err := a.Tape(t.Context(), located.Place)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]uint32{true: 1}[tape.TapeID() == f.tapes[1].TapeID()]; tape.Header.Purged != want || located.Header.Purged != want {
			t.Errorf("%s: tape %s says that %d and %d exchanges were purged, want %d", when, tape.TapeID(), tape.Header.Purged, located.Header.Purged, want)
		}
	}
	if seen != 1 {
		t.Errorf("%s: a scan finds %d exchanges, want the one that stays", when, seen)
	}
	x, err := a.Exchange(t.Context(), place, f.rows[f.kept])
	if err == nil {
		err = a.Complete(t.Context(), orders, x)
	}
	want := events.Exchange{Id: f.keptExchange.Id, Protocol: "http", Direction: events.Direction_INBOUND,
		Request:  &events.Request{Method: "PUT", Target: "/x", Body: &events.Body{Data: []byte("request")}},
		Response: &events.Response{Status: "200", Body: &events.Body{Data: []byte("headkept part")}}}
	if d := cmp.Diff(&want, x, protocmp.Transform()); err != nil || d != "" {
		t.Errorf("%s: the other exchange: %v %s", when, err, d)
	}
}

// What is purged is gone for every reader at once, and the bytes after the
// purge; a purge that is stopped anywhere comes to the same end.
func TestPurge(t *testing.T) {
	onArchives(t, func(t *testing.T, a *Archive, reel bool) {
		f := newPurgeFixture(t)
		putAll(t, a, reel, f.tapes...)
		if reel {
			putAll(t, a, true, f.tapes[1]) // delivered again: another copy
		}
		warm := New(a.Bucket) // a process that has read it all before
		for _, err := range warm.Scan(t.Context(), ScanOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		before, err := a.Find(t.Context(), orders, f.tapes[1].TapeID())
		if err != nil {
			t.Fatal(err)
		}
		list, err := a.Choose(t.Context(), ScanOptions{}, f.chooser(t))
		if err != nil || len(list) != 2 {
			t.Fatalf("Choose = %v, %v, want two", list, err)
		}
		if n := len(list[0].Tapes); n != 2 {
			t.Errorf("the ended one lies in %d tapes, want the one with its part as well", n)
		}
		if !hasSecret(t, a.Bucket) {
			t.Fatal("the test looks for nothing")
		}
		p, err := a.Bury(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		f.checkGone(t, a, "with tombstones")
		f.checkGone(t, New(a.Bucket), "with tombstones, in another process")
		crash := errors.New("crash")
		if _, err := a.Erase(t.Context(), p, func(context.Context, string, []events.Archived) error { return crash }); !errors.Is(err, crash) {
			t.Fatal(err)
		}
		f.checkGone(t, New(a.Bucket), "after a crash between the new object and the index")
		again, err := New(a.Bucket).Purges(t.Context())
		if err != nil || len(again) != 1 || again[0].Done || !cmp.Equal(again[0], p) {
			t.Fatalf("Purges = %v, %v, want the one that is not done", again, err)
		}
		f.finish(t, a, again[0])
		f.checkGone(t, a, "done")
		warm.purged.at = time.Time{} // TombstoneAge has passed
		f.checkGone(t, warm, "done, in a process that had read it before")
		for _, reader := range []*Archive{warm, New(a.Bucket)} {
			if _, err := reader.Exchange(t.Context(), before, f.rows[f.kept]); err != nil {
				t.Errorf("the other exchange by its place of before: %v", err)
			}
		}
	})
}

func (f *purgeFixture) finish(t *testing.T, a *Archive, p *Purge) {
	t.Helper()
	n, err := a.Erase(t.Context(), p, func(_ context.Context, _ string, now []events.Archived) error {
		for _, o := range now {
			for _, tape := range o.Tapes {
				if front, err := New(a.Bucket).Front(t.Context(), Place{o.Object, tape.Offset, tape.Length}); err != nil || front.TapeID() != tape.ID {
					t.Errorf("tape %s is not where it is said to be: %v", tape.ID, err)
				}
			}
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Fatalf("Erase = %d, %v", n, err)
	}
	if n, err := a.Erase(t.Context(), p, nil); err != nil || n != 0 {
		t.Errorf("Erase again = %d, %v, want nothing to do", n, err)
	}
	if hasSecret(t, a.Bucket) {
		t.Error("the archive still has what was purged")
	}
	if err := a.Finish(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if all, err := a.Purges(t.Context()); err != nil || !all[len(all)-1].Done {
		t.Errorf("Purges = %v, %v, want it done", all, err)
	}
	if list, err := a.Choose(t.Context(), ScanOptions{}, f.chooser(t)); err != nil || len(list) != 0 {
		t.Errorf("Choose after the purge = %v, %v", list, err)
	}
}

// What arrives after the purge is not let in any more.
func TestPurgedArrivesLate(t *testing.T) {
	onArchives(t, func(t *testing.T, a *Archive, reel bool) {
		f := newPurgeFixture(t)
		list := []Tombstone{{Exchange: f.gone}, {Exchange: f.open}}
		slices.SortFunc(list, func(x, y Tombstone) int { return compareIDs(x.Exchange, y.Exchange) })
		if _, err := a.Bury(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		for i := range f.tapes {
			if !reel {
				continue
			}
			kept, err := a.Kept(t.Context(), f.tapes[i])
			if err != nil {
				t.Fatal(err)
			}
			f.tapes[i] = kept
		}
		putAll(t, a, reel, f.tapes...)
		if hasSecret(t, a.Bucket) {
			t.Error("the archive has what was purged")
		}
		f.checkGone(t, New(a.Bucket), "late")
	})
}

func FuzzTombstones(f *testing.F) {
	f.Add([]byte("01a222f4-c122-7a9b-a823-19bf4cab5a4c 5 01a222f4-c153-799d-997e-9e9669364f7a\n"))
	f.Add([]byte("x\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := parseTombstones(raw)
		if err != nil {
			return
		}
		again, err := parseTombstones(formatTombstones(list))
		if err != nil || !cmp.Equal(list, again) {
			t.Errorf("%q reads as %v and again as %v, %v", raw, list, again, err)
		}
	})
}
