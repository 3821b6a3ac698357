package grpc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"tapedeck/events"
	"tapedeck/internal/wiretest"
)

// message is one with its prefix.
func message(data string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...)
}

// piece is what a side sends at a time, in seconds.
type piece struct {
	side events.Side
	at   int
	data []byte
}

// run runs a call and returns its exchange.
func run(sink *wiretest.Sink, pieces []piece, size int) *events.Exchange {
	id := sink.Begin(time.Time{})
	x := &events.Exchange{Id: id[:], Request: &events.Request{Body: &events.Body{}}, Response: &events.Response{Body: &events.Body{}}}
	c := (&Protocol{}).NewCall(x, sink)
	for _, p := range pieces {
		body := x.Request.Body
		if p.side == events.Side_RESPONSE {
			body = x.Response.Body
		}
		keep := func(b []byte) {
			body.Data = append(body.Data, b...)
			body.Size, body.Kept = body.Size+int64(len(b)), body.Kept+int64(len(b))
		}
		for b := p.data; len(b) > 0; {
			part := bytes.Clone(b[:min(size, len(b))])
			b = b[len(part):]
			c.Data(p.side, int64(p.at)*int64(time.Second), part, keep)
			clear(part)
		}
	}
	c.Flush()
	sink.End(x)
	return x
}

const (
	ask    = events.Side_REQUEST
	answer = events.Side_RESPONSE
)

// A stream is written a second at a time, and its first messages with the rest.
func TestSegments(t *testing.T) {
	s := wiretest.NewSink()
	x := run(s, []piece{
		{ask, 1, message("a")}, {answer, 1, message("b")}, {ask, 1, message("c")}, {ask, 2, message("d")},
		{answer, 7, message("e")[:3]}, {answer, 8, message("e")[3:]}, {ask, 8, message("")},
	}, 1<<20)
	s.Check(t)
	var got []string
	for _, segment := range s.Segments[events.ID(x.Id)] {
		for _, m := range segment.Messages {
			got = append(got, fmt.Sprintf("%d %s %d %s", segment.Number, m.Side, m.Time/int64(time.Second), m.Data))
		}
	}
	want := []string{"0 REQUEST 1 a", "0 RESPONSE 1 b", "0 REQUEST 1 c", "1 REQUEST 2 d", "2 RESPONSE 7 e", "3 REQUEST 8 "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if len(x.Segments) != 4 || string(x.Request.Body.Data) != string(message("a")) || x.Request.Body.Size != 23 || x.Request.Body.Kept != 23 || x.Response.Body.Kept != 12 {
		t.Errorf("got %v", x)
	}
}

func TestTickWritesWhatNothingFollows(t *testing.T) {
	s := wiretest.NewSink()
	id := s.Begin(time.Time{})
	x := &events.Exchange{Id: id[:], Request: &events.Request{Body: &events.Body{}}, Response: &events.Response{Body: &events.Body{}}}
	c := (&Protocol{}).NewCall(x, s)
	for range 2 {
		c.Data(ask, 0, message("a"), func(b []byte) { x.Request.Body.Data = append(x.Request.Body.Data, b...) })
	}
	if c.Held() == 0 {
		t.Error("nothing is held")
	}
	c.Tick(int64(time.Second) - 1)
	if len(x.Segments) != 0 {
		t.Error("written before its second is over")
	}
	c.Tick(int64(time.Second))
	if len(x.Segments) != 1 || c.Held() != 0 {
		t.Errorf("%d segments, %d bytes held, want 1 and 0", len(x.Segments), c.Held())
	}
}

// Long messages of a stream are cut, and counted as they were.
func TestLongMessagesAreCut(t *testing.T) {
	s := wiretest.NewSink()
	long := strings.Repeat("x", 3*maxMessage)
	x := run(s, []piece{{ask, 1, message("a")}, {ask, 1, message(long)}, {ask, 1, message("b")}}, 1000)
	all := Messages(x, s.Segments[events.ID(x.Id)])
	if len(all) != 3 || len(all[1].Data) != maxMessage || all[1].Size != int64(len(long)) || string(all[2].Data) != "b" {
		t.Fatalf("%d messages", len(all))
	}
	if _, err := Payload(all[1]); err != errCut {
		t.Errorf("payload of a cut message: %v", err)
	}
	if b := x.Request.Body; b.Size != int64(len(long)+2+3*prefixSize) || b.Kept != int64(maxMessage+2+3*prefixSize) {
		t.Errorf("size %d, kept %d", b.Size, b.Kept)
	}
}

func TestEndlessStreamIsBounded(t *testing.T) {
	s := wiretest.NewSink()
	var pieces []piece
	for i := range 200 {
		pieces = append(pieces, piece{answer, i * 1000, bytes.Repeat(message("x"), 50)})
	}
	x := run(s, pieces, 1<<20)
	s.Check(t)
	if len(x.Segments) != 200 || len(Messages(x, s.Segments[events.ID(x.Id)])) != 200*50 {
		t.Errorf("%d segments", len(x.Segments))
	}
	id := events.ID(x.Id)
	c := &call{x: x, sink: s, number: maxSegments, segment: &events.Segment{ExchangeId: id[:], Messages: []*events.Message{{}}}}
	c.Flush()
	if len(x.Segments) != 200 {
		t.Error("a segment was written beyond the bound")
	}
}

// FuzzCall: whatever the bytes, the messages are those that the whole bodies
// hold, however they are split, and every byte counts once.
func FuzzCall(f *testing.F) {
	for _, b := range [][]byte{
		message("hello"), append(message("one"), message("two")...), {1, 0, 0, 0, 2, 'a'}, {0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3},
		append(append(message(""), message("")...), 1, 0, 0, 0, 1, 'z'),
	} {
		f.Add(b, message("answer"), 3, 1)
	}
	f.Fuzz(func(t *testing.T, asked, answered []byte, at, size int) {
		cut := func(b []byte) int { return min(max(at%64, 0), len(b)) }
		i, j := cut(asked), cut(answered)
		pieces := []piece{{ask, 1, asked[:i]}, {answer, 1, answered[:j]}, {ask, 3, asked[i:]}, {answer, 3, answered[j:]}}
		whole, parts := wiretest.NewSink(), wiretest.NewSink()
		x, y := run(whole, pieces, 1<<20), run(parts, pieces, max(size%9, 1))
		whole.Check(t)
		if diff := cmp.Diff(x, y, protocmp.Transform()); diff != "" {
			t.Errorf("the split makes a difference (-whole +pieces):\n%s", diff)
		}
		if diff := cmp.Diff(whole.Segments, parts.Segments, protocmp.Transform()); diff != "" {
			t.Errorf("the split makes a difference (-whole +pieces):\n%s", diff)
		}
		if x.Request.Body.Size != int64(len(asked)) || x.Response.Body.Size != int64(len(answered)) ||
			x.Request.Body.Kept > x.Request.Body.Size || x.Response.Body.Kept > x.Response.Body.Size {
			t.Errorf("bodies of %d and %d bytes: %v", len(asked), len(answered), x)
		}
		if segments := whole.Segments[events.ID(x.Id)]; len(segments) > 0 {
			sameMessages(t, Messages(x, segments), ask, asked)
			sameMessages(t, Messages(x, segments), answer, answered)
		}
		x.Request.Target, x.Response.Status = "/a.B/C", "200"
		(&Protocol{}).Describe(x)
		(&Protocol{}).Signature(x)
	})
}

// sameMessages compares with the complete messages of a body.
func sameMessages(t *testing.T, all []*events.Message, side events.Side, body []byte) {
	t.Helper()
	var got, want []string
	for _, m := range all {
		if m.Side == side {
			got = append(got, fmt.Sprintf("%s %d %x", m.Type, m.Size, m.Data))
		}
	}
	for _, m := range split(body, side, 0, "") {
		if m.Size == int64(len(m.Data)) {
			want = append(want, fmt.Sprintf("%s %d %x", m.Type, m.Size, m.Data[:min(len(m.Data), maxMessage)]))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages of %s (-want +got):\n%s", side, diff)
	}
}
