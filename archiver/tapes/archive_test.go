package tapes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"tapedeck/events"
)

var orders = events.Service{Cluster: "local", Namespace: "shop", Service: "orders"}

var noon = time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)

func header(s events.Service, at time.Time) *events.Header {
	source := events.NewID(at)
	return &events.Header{
		SourceId: source[:], Number: 1, ClosedAt: at.UnixNano(), Counters: &events.Counters{},
		Workload: &events.Workload{Cluster: s.Cluster, Namespace: s.Namespace, Service: s.Service},
	}
}

func closeTape(t testing.TB, b *events.Builder, h *events.Header) *events.Tape {
	t.Helper()
	raw, err := b.Close(h)
	if err != nil {
		t.Fatal(err)
	}
	tape, err := events.ParseTape(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tape
}

// newTape makes a tape of a service with n exchanges.
func newTape(t testing.TB, s events.Service, at time.Time, n int) *events.Tape {
	t.Helper()
	b := events.NewBuilder(at)
	for i := range n {
		add(t, b, at, fmt.Appendf(nil, "request %d", i), fmt.Appendf(nil, "response %d", i), nil, nil)
	}
	return closeTape(t, b, header(s, at))
}

func add(t testing.TB, b *events.Builder, at time.Time, request, response []byte, requestParts, responseParts []*events.RecordRef) *events.Exchange {
	t.Helper()
	id := events.NewID(at)
	return addAs(t, b, id, request, response, requestParts, responseParts)
}

func addAs(t testing.TB, b *events.Builder, id events.ID, request, response []byte, requestParts, responseParts []*events.RecordRef) *events.Exchange {
	t.Helper()
	x := &events.Exchange{
		Id: id[:], Protocol: "http", Direction: events.Direction_INBOUND,
		Request:  &events.Request{Method: "PUT", Target: "/x", Body: &events.Body{Data: request, Parts: requestParts}},
		Response: &events.Response{Status: "200", Body: &events.Body{Data: response, Parts: responseParts}},
	}
	endpoint := &events.Endpoint{Direction: events.Direction_INBOUND, Protocol: "http", Method: "PUT", Template: "/x"}
	if err := b.AddExchange(&events.Entry{Id: id[:], Time: uint64(id.Time().UnixNano())}, endpoint, x); err != nil {
		t.Fatal(err)
	}
	return x
}

// putAll archives tapes alone or in one reel.
func putAll(t testing.TB, a *Archive, reel bool, ts ...*events.Tape) []events.Archived {
	t.Helper()
	if reel {
		r, err := NewReel(time.Now(), ts)
		if err != nil {
			t.Fatal(err)
		}
		archived, err := a.PutReel(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return archived
	}
	var all []events.Archived
	for _, tape := range ts {
		archived, err := a.PutTape(t.Context(), tape)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, archived)
	}
	return all
}

// onArchives runs a test on every kind of bucket, with tapes alone and in reels.
func onArchives(t *testing.T, test func(t *testing.T, a *Archive, reel bool)) {
	onBuckets(t, func(t *testing.T, b Bucket) {
		t.Run("alone", func(t *testing.T) { test(t, New(below{b, "alone/"}), false) })
		t.Run("reel", func(t *testing.T) { test(t, New(below{b, "reel/"}), true) })
	})
}

func TestReadBack(t *testing.T) {
	onArchives(t, func(t *testing.T, a *Archive, reel bool) {
		now := time.Now()
		ts := []*events.Tape{newTape(t, orders, now, 3), newTape(t, orders, now.Add(-time.Second), 0), newTape(t, orders, now, 2000)}
		for range 2 { // a second delivery changes nothing
			archived := putAll(t, a, reel, ts...)
			checkArchived(t, New(a.Bucket), archived, ts)
		}
		fresh := New(a.Bucket) // knows nothing yet
		for _, tape := range ts {
			p, err := fresh.Find(t.Context(), orders, tape.TapeID())
			if err != nil {
				t.Fatal(err)
			}
			checkTape(t, fresh, p, tape)
		}
	})
}

func checkArchived(t *testing.T, a *Archive, archived []events.Archived, ts []*events.Tape) {
	t.Helper()
	n := 0
	for _, object := range archived {
		if object.Service != orders {
			t.Errorf("archived for %v, want %v", object.Service, orders)
		}
		for _, tape := range object.Tapes {
			checkTape(t, a, Place{object.Object, tape.Offset, tape.Length}, ts[n])
			checkTape(t, a, Place{object.Object, tape.Offset, 0}, ts[n]) // as a ledger without lengths has it
			n++
		}
	}
	if n != len(ts) {
		t.Errorf("%d tapes archived, want %d", n, len(ts))
	}
}

func checkTape(t *testing.T, a *Archive, p Place, want *events.Tape) {
	t.Helper()
	got, err := a.Tape(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("tape at %s differs from what was written", p)
	}
	front, err := a.Front(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Header, front.Header, protocmp.Transform()); diff != "" {
		t.Errorf("header at %s (-want +got):\n%s", p, diff)
	}
	for _, e := range front.Index.Entries {
		x, err := a.Exchange(t.Context(), p, front.Row(e))
		if err != nil || !bytes.Equal(x.Id, e.Id) {
			t.Fatalf("exchange %x at %s: got %v, %v", e.Id, p, x, err)
		}
		if len(front.Index.Entries) > 10 {
			break
		}
	}
}

func TestFindNothing(t *testing.T) {
	onArchives(t, func(t *testing.T, a *Archive, reel bool) {
		putAll(t, a, reel, newTape(t, orders, time.Now(), 1))
		for _, at := range []time.Time{time.Now(), noon, time.Now().Add(time.Hour)} {
			if p, err := a.Find(t.Context(), orders, events.NewID(at)); !errors.Is(err, ErrNotArchived) {
				t.Errorf("find a tape of %v: got %v, %v; want ErrNotArchived", at, p, err)
			}
		}
	})
}

// A tape that came out of a spool days later is in a reel of today.
func TestFindOldTapeInNewReel(t *testing.T) {
	onArchives(t, func(t *testing.T, a *Archive, _ bool) {
		old := newTape(t, orders, time.Now().AddDate(0, -1, -3), 1)
		putAll(t, a, true, newTape(t, orders, time.Now(), 1), old)
		p, err := New(a.Bucket).Find(t.Context(), orders, old.TapeID())
		if err != nil {
			t.Fatal(err)
		}
		checkTape(t, a, p, old)
	})
}

func TestLedgerIsAskedFirst(t *testing.T) {
	a, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tape := newTape(t, orders, noon, 1)
	want := Place{Object: "reels/a"}
	a.Ledger = func(_ context.Context, id events.ID) (Place, error) {
		if id == tape.TapeID() {
			return want, nil
		}
		return Place{}, ErrNotArchived
	}
	if p, err := a.Find(t.Context(), orders, tape.TapeID()); p != want || err != nil {
		t.Errorf("got %v, %v; want %v", p, err, want)
	}
	if _, err := a.Find(t.Context(), orders, events.NewID(noon)); !errors.Is(err, ErrNotArchived) {
		t.Errorf("got error %v, want ErrNotArchived", err)
	}
}

// A body of 20 MiB lies in dozens of tapes and comes back byte for byte.
func TestLargeBody(t *testing.T) {
	onArchives(t, func(t *testing.T, a *Archive, reel bool) {
		request, response := noise(20<<20+12345), noise(3<<20)
		ts, x := tapesOf(t, request, response)
		if len(ts) < 30 {
			t.Errorf("%d tapes, want the body spread over many", len(ts))
		}
		last := ts[len(ts)-1]
		putAll(t, a, reel, last)
		fresh := New(a.Bucket)
		if err := fresh.Complete(t.Context(), orders, clone(x)); !errors.Is(err, ErrNotArchived) {
			t.Errorf("with the parts still on their way: got error %v, want ErrNotArchived", err)
		}
		for chunk := range slices.Chunk(ts[:len(ts)-1], 8) {
			putAll(t, a, reel, chunk...)
		}
		p, err := fresh.Find(t.Context(), orders, last.TapeID())
		if err != nil {
			t.Fatal(err)
		}
		got, err := fresh.Exchange(t.Context(), p, last.Row(last.Index.Entries[0]))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time changes nothing
			if err := fresh.Complete(t.Context(), orders, got); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got.Request.Body.Data, request) || !bytes.Equal(got.Response.Body.Data, response) {
			t.Error("the bodies differ from what was written")
		}
	})
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// tapesOf writes one exchange with long bodies as capture does: parts first,
// tapes closed by size.
func tapesOf(t testing.TB, request, response []byte) ([]*events.Tape, *events.Exchange) {
	t.Helper()
	var ts []*events.Tape
	b := events.NewBuilder(time.Now())
	id := events.NewID(time.Now())
	parts := func(side events.Side, body []byte) (refs []*events.RecordRef) {
		for offset := events.BodyInline; offset < len(body); offset += events.BodyInline {
			end := min(offset+events.BodyInline, len(body))
			ref, err := b.AddPart(&events.Part{ExchangeId: id[:], Side: side, Offset: int64(offset), Data: body[offset:end]})
			if err != nil {
				t.Fatal(err)
			}
			refs = append(refs, ref)
			if b.Size() > events.TapeSize {
				ts = append(ts, closeTape(t, b, header(orders, time.Now())))
				b = events.NewBuilder(time.Now())
			}
		}
		return refs
	}
	requestParts, responseParts := parts(events.Side_REQUEST, request), parts(events.Side_RESPONSE, response)
	x := addAs(t, b, id, request[:events.BodyInline], response[:events.BodyInline], requestParts, responseParts)
	return append(ts, closeTape(t, b, header(orders, time.Now()))), x
}

func TestOpenExchange(t *testing.T) {
	a, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Exchange(t.Context(), Place{}, events.Row{Open: true}); !errors.Is(err, ErrOpen) {
		t.Errorf("got error %v, want ErrOpen", err)
	}
}

func TestReelOfSeveralServices(t *testing.T) {
	a, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cart := events.Service{Cluster: "local", Namespace: "shop", Service: "cart/v2"}
	ts := []*events.Tape{newTape(t, orders, noon, 1), newTape(t, cart, noon, 1), newTape(t, orders, noon, 1)}
	archived := putAll(t, a, true, ts...)
	if len(archived) != 2 || archived[0].Service != orders || len(archived[0].Tapes) != 2 || archived[1].Service != cart {
		t.Errorf("got %+v, want two tapes of orders and one of cart", archived)
	}
	other := newTape(t, events.Service{Cluster: "local", Namespace: "bank", Service: "orders"}, noon, 1)
	if _, err := NewReel(noon, append(ts, other)); err == nil {
		t.Error("a reel of two namespaces was made")
	}
	if _, err := NewReel(noon, nil); err == nil {
		t.Error("a reel of nothing was made")
	}
}
