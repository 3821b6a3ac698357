package tapes

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"tapedeck/events"
)

var streamer = events.Service{Cluster: "local", Namespace: "default", Service: "feed"}

// putTape writes what fill adds into the archive, or loses it.
func putTape(t *testing.T, a *Archive, lose bool, fill func(b *events.Builder)) *events.Tape {
	t.Helper()
	b := events.NewBuilder(time.Now())
	fill(b)
	source := events.NewID(time.Now())
	raw, err := b.Close(&events.Header{SourceId: source[:], Number: 1, ClosedAt: time.Now().UnixNano(),
		Workload: &events.Workload{Cluster: streamer.Cluster, Namespace: streamer.Namespace, Service: streamer.Service}})
	if err != nil {
		t.Fatal(err)
	}
	tape, err := events.ParseTape(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !lose {
		if _, err := a.PutTape(t.Context(), tape); err != nil {
			t.Fatal(err)
		}
	}
	return tape
}

// segmentTapes writes n segments of an event stream, one a tape; the tape of
// lost is not archived. -1 loses none.
func segmentTapes(t *testing.T, a *Archive, id events.ID, n, lost int) []*events.RecordRef {
	t.Helper()
	var refs []*events.RecordRef
	var last *events.RecordRef
	for i := range n {
		putTape(t, a, i == lost, func(b *events.Builder) {
			var err error
			last, err = b.AddSegment(&events.Segment{ExchangeId: id[:], Number: uint32(i), Previous: last,
				Messages: []*events.Message{{Side: events.Side_RESPONSE, Type: "message", Data: fmt.Appendf(nil, "data: %d\n\n", i)}}})
			if err != nil {
				t.Fatal(err)
			}
		})
		refs = append(refs, last)
	}
	return refs
}

func TestSegmentsInOrder(t *testing.T) {
	a, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const n = 25
	id := events.NewID(time.Now())
	x := &events.Exchange{Id: id[:], Segments: segmentTapes(t, a, id, n, -1), Response: &events.Response{
		Headers: []*events.Field{{Name: []byte("content-type"), Value: []byte("text/event-stream")}}, Body: &events.Body{Size: 240, Kept: 240}}}
	next := uint32(0)
	for g, err := range a.Segments(t.Context(), streamer, x) {
		if err != nil || g.Number != next {
			t.Fatalf("segment %v, %v, want %d", g, err, next)
		}
		next++
	}
	if next != n {
		t.Errorf("%d segments, want %d", next, n)
	}
	if err := a.Complete(t.Context(), streamer, x); err != nil {
		t.Fatal(err)
	}
	if b := x.Response.Body; int64(len(b.Data)) != b.Size || !bytes.HasPrefix(b.Data, []byte("data: 0\n\ndata: 1\n\n")) || x.Segments != nil {
		t.Errorf("body %q, %d segments", b.Data, len(x.Segments))
	}
}

func TestSegmentsThatAreNotThere(t *testing.T) {
	a, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id := events.NewID(time.Now())
	refs := segmentTapes(t, a, id, 3, 1)
	for _, err = range a.Segments(t.Context(), streamer, &events.Exchange{Id: id[:], Segments: refs}) {
	}
	if !errors.Is(err, ErrNotArchived) {
		t.Errorf("a tape that is not there: %v", err)
	}
	other := events.NewID(time.Now())
	for _, err = range a.Segments(t.Context(), streamer, &events.Exchange{Id: other[:], Segments: refs[:1]}) {
	}
	if !errors.Is(err, events.ErrTape) {
		t.Errorf("segment of another exchange: %v", err)
	}
}

func TestOpenSegments(t *testing.T) {
	for _, test := range []struct {
		name string
		lost int
		want []uint32
	}{{"all", -1, []uint32{0, 1, 2, 3}}, {"the beginning has expired", 1, []uint32{2, 3}}} {
		a, err := Open(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		id := events.NewID(time.Now())
		refs := segmentTapes(t, a, id, 4, test.lost)
		endpoint := &events.Endpoint{Protocol: "websocket"}
		tape := putTape(t, a, false, func(b *events.Builder) { // a segment that only leads to the others
			ref, err := b.AddSegment(&events.Segment{ExchangeId: id[:], Number: 3, Previous: refs[3]})
			if err != nil {
				t.Fatal(err)
			}
			b.AddOpen(&events.Entry{Id: id[:]}, endpoint, ref)
		})
		got, err := a.OpenSegments(t.Context(), streamer, Place{Object: a.Key(tape.Header)}, tape.Row(tape.Index.Entries[0]))
		var numbers []uint32
		for _, g := range got {
			numbers = append(numbers, g.Number)
		}
		if err != nil || fmt.Sprint(numbers) != fmt.Sprint(test.want) {
			t.Errorf("%s: %v, %v, want %v", test.name, numbers, err, test.want)
		}
	}
}

func TestOpenWithoutSegments(t *testing.T) {
	a, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id, other := events.NewID(time.Now()), events.NewID(time.Now())
	for name, fill := range map[string]func(*events.Builder){
		"nothing but the entry": func(*events.Builder) {},
		"another's record": func(b *events.Builder) {
			if _, err := b.AddSegment(&events.Segment{ExchangeId: other[:]}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		tape := putTape(t, a, false, func(b *events.Builder) {
			fill(b)
			b.AddOpen(&events.Entry{Id: id[:]}, &events.Endpoint{Protocol: "websocket"}, nil)
		})
		got, err := a.OpenSegments(t.Context(), streamer, Place{Object: a.Key(tape.Header)}, tape.Row(tape.Index.Entries[0]))
		if err != nil || len(got) != 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
