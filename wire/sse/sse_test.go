package sse

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/wire"
)

// collector keeps segments.
type collector struct{ segments []*events.Segment }

func (c *collector) Segment(_ events.ID, s *events.Segment) *events.RecordRef {
	c.segments = append(c.segments, s)
	return &events.RecordRef{}
}

// read feeds a body in pieces of n bytes.
func read(body string, n int) (*events.Exchange, []*events.Message) {
	x := &events.Exchange{Id: make([]byte, 16), Response: &events.Response{Body: &events.Body{}}}
	c := &collector{}
	r := NewReader(wire.NewStream(x, c))
	for b := []byte(body); len(b) > 0; {
		piece := bytes.Clone(b[:min(n, len(b))])
		r.Data(events.Side_RESPONSE, 7, piece)
		clear(piece) // whoever kept it shows now
		b = b[len(piece):]
	}
	r.Close(7, nil)
	var all []*events.Message
	for _, s := range c.segments {
		all = append(all, s.Messages...)
	}
	return x, all
}

func lines(all []*events.Message) []string {
	var out []string
	for _, m := range all {
		out = append(out, fmt.Sprintf("%s %q", m.Type, m.Data))
	}
	return out
}

var streams = []struct {
	name, body string
	want       []string
}{
	{"plain", "data: one\n\ndata: two\ndata: lines\n\n", []string{`message "data: one\n\n"`, `message "data: two\ndata: lines\n\n"`}},
	{"named, with id and retry", "id: 7\nevent: price\nretry: 10\ndata: {}\n\n", []string{`price "id: 7\nevent: price\nretry: 10\ndata: {}\n\n"`}},
	{"carriage returns with line feeds", "event:a\r\ndata:1\r\n\r\ndata:2\r\n\r\n", []string{`a "event:a\r\ndata:1\r\n\r\n"`, `message "data:2\r\n\r\n"`}},
	{"carriage returns alone", "data:1\r\rdata:2\r\r", []string{`message "data:1\r\r"`, `message "data:2\r\r"`}},
	{"comments", ": hi\n\ndata: x\n\n: still here\n\n", []string{`comment ": hi\n\n"`, `message "data: x\n\n"`, `comment ": still here\n\n"`}},
	{"id alone dispatches nothing", "id: 7\n\n", []string{`comment "id: 7\n\n"`}},
	{"data without a colon", "data\n\n", []string{`message "data\n\n"`}},
	{"blank lines before", "\n\n\ndata: x\n\n", []string{`message "\n\n\ndata: x\n\n"`}},
	{"byte order mark", "\ufeffevent: a\ndata: x\n\n", []string{`a "\ufeffevent: a\ndata: x\n\n"`}},
	{"byte order mark alone on a line", "\ufeff\ndata: x\n\n", []string{`message "\ufeff\ndata: x\n\n"`}},
	{"cut off", "data: x\n\nevent: a\ndata: y", []string{`message "data: x\n\n"`, `a "event: a\ndata: y"`}},
	{"the last name counts", "event: a\nevent: b\ndata:\n\n", []string{`b "event: a\nevent: b\ndata:\n\n"`}},
	{"nothing", "", nil},
}

func TestStreams(t *testing.T) {
	for _, test := range streams {
		for _, n := range []int{1, 2, 3, 100} {
			x, got := read(test.body, n)
			if d := cmp.Diff(test.want, lines(got)); d != "" {
				t.Errorf("%s, %d bytes a read:\n%s", test.name, n, d)
			}
			if b := x.Response.Body; b.Size != int64(len(test.body)) || b.Kept != b.Size {
				t.Errorf("%s: size %d, kept %d, want %d", test.name, b.Size, b.Kept, len(test.body))
			}
		}
	}
}

func TestLongEventIsCut(t *testing.T) {
	body := "event: " + strings.Repeat("n", 1000) + "\ndata: " + strings.Repeat("x", wire.MaxMessage) + "\n\ndata: next\n\n"
	x, got := read(body, 4096)
	if len(got) != 2 || len(got[0].Data) != wire.MaxMessage || len(got[0].Type) != maxName || string(got[1].Data) != "data: next\n\n" {
		t.Fatalf("got %d messages, the first of %d bytes", len(got), len(got[0].Data))
	}
	if b := x.Response.Body; b.Size != int64(len(body)) || b.Kept != wire.MaxMessage+12 || got[0].Size != int64(len(body))-12 {
		t.Errorf("size %d, kept %d, message of %d", b.Size, b.Kept, got[0].Size)
	}
}

func TestIs(t *testing.T) {
	for kind, want := range map[[2]string]bool{
		{"text/event-stream", ""}: true, {"Text/Event-Stream; charset=utf-8", "identity"}: true,
		{"text/event-stream", "gzip"}: false, {"text/plain", ""}: false, {"", ""}: false,
	} {
		headers := []*events.Field{{Name: []byte("content-type"), Value: []byte(kind[0])}, {Name: []byte("content-encoding"), Value: []byte(kind[1])}}
		if got := Is(headers); got != want {
			t.Errorf("%v: %v, want %v", kind, got, want)
		}
	}
}

// FuzzSplit: never panics, all messages are the body, the same however it is split.
func FuzzSplit(f *testing.F) {
	for _, test := range streams {
		f.Add(test.body, uint8(3))
	}
	f.Fuzz(func(t *testing.T, body string, n uint8) {
		x, whole := read(body, len(body)+1)
		_, pieces := read(body, int(n)+1)
		if d := cmp.Diff(lines(whole), lines(pieces)); d != "" {
			t.Fatal(d)
		}
		var joined []byte
		for _, m := range whole {
			joined = append(joined, m.Data...)
		}
		if len(body) <= wire.MaxMessage && string(joined) != body || x.Response.Body.Size != int64(len(body)) {
			t.Fatalf("messages are %q, the body %q", joined, body)
		}
	})
}
