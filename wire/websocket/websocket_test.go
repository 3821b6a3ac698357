package websocket

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/wire"
)

// collector keeps segments.
type collector struct {
	segments []*events.Segment
	refuse   bool
}

func (c *collector) Segment(_ events.ID, s *events.Segment) *events.RecordRef {
	if c.refuse {
		return nil
	}
	c.segments = append(c.segments, s)
	return &events.RecordRef{}
}

func (c *collector) messages() []*events.Message {
	var all []*events.Message
	for _, s := range c.segments {
		all = append(all, s.Messages...)
	}
	return all
}

// upgraded is an exchange whose answer switches, with these extensions.
func upgraded(extensions string) *events.Exchange {
	id := make([]byte, 16)
	x := &events.Exchange{Id: id, Request: &events.Request{Body: &events.Body{}}, Response: &events.Response{
		Status: "101", Body: &events.Body{}, Headers: []*events.Field{{Name: []byte("Upgrade"), Value: []byte("WebSocket")}},
	}}
	if extensions != "" {
		x.Response.Headers = append(x.Response.Headers, &events.Field{Name: []byte("sec-websocket-extensions"), Value: []byte(extensions)})
	}
	return x
}

// frame makes a frame; those of the client are masked.
func frame(side events.Side, first byte, payload []byte) []byte {
	b := []byte{first, 0}
	switch n := len(payload); {
	case n < 126:
		b[1] = byte(n)
	case n < 1<<16:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if side != events.Side_REQUEST {
		return append(b, payload...)
	}
	mask := [4]byte{0x12, 0xab, 0x00, 0xff}
	b[1] |= 0x80
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i&3])
	}
	return b
}

func fromClient(first byte, payload string) sent {
	return sent{events.Side_REQUEST, frame(events.Side_REQUEST, first, []byte(payload))}
}

func fromServer(first byte, payload string) sent {
	return sent{events.Side_RESPONSE, frame(events.Side_RESPONSE, first, []byte(payload))}
}

type sent struct {
	side events.Side
	b    []byte
}

// read feeds what was sent in pieces of n bytes.
func read(x *events.Exchange, all []sent, n int, err error) *collector {
	c := &collector{}
	connection := NewConnection(x, wire.NewStream(x, c))
	for _, s := range all {
		for b := s.b; len(b) > 0; {
			piece := bytes.Clone(b[:min(n, len(b))])
			connection.Data(s.side, 5, piece)
			clear(piece) // whoever kept it shows now
			b = b[len(piece):]
		}
	}
	connection.Close(5, err)
	return c
}

// lines is a one-line form of each message.
func lines(messages []*events.Message) []string {
	var out []string
	for _, m := range messages {
		arrow := ">"
		if m.Side == events.Side_RESPONSE {
			arrow = "<"
		}
		line := fmt.Sprintf("%s %s %q", arrow, m.Type, m.Data)
		if m.Size != int64(len(m.Data)) {
			line = fmt.Sprintf("%s %s %d of %d", arrow, m.Type, len(m.Data), m.Size)
		}
		out = append(out, line)
	}
	return out
}

// deflated packs messages with one window for all, as a sender with context takeover.
func deflated(messages ...string) []string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	var out []string
	for _, m := range messages {
		b.Reset()
		w.Write([]byte(m))
		w.Flush()
		out = append(out, strings.TrimSuffix(b.String(), "\x00\x00\xff\xff"))
	}
	return out
}

const packed = 0x40 // RSV1

var (
	long  = strings.Repeat("0123456789", 7000)
	again = deflated("hello hello hello hello", "hello hello hello hello", "")
)

var readings = []struct {
	name       string
	extensions string
	sent       []sent
	err        error
	want       []string
	failure    string
	in, out    int64
}{
	{"text and binary", "", []sent{fromClient(0x81, "hi"), fromServer(0x82, "\x00\x01"), fromServer(0x81, ""), fromServer(0x88, "\x03\xe8bye"), fromClient(0x88, "\x03\xe8")}, nil,
		[]string{`> text "hi"`, `< binary "\x00\x01"`, `< text ""`, `< close "\x03\xe8bye"`, `> close "\x03\xe8"`}, "", 4, 7},
	{"lengths", "", []sent{fromClient(0x81, long[:125]), fromClient(0x81, long[:126]), fromServer(0x81, long[:65535]), fromServer(0x81, long[:65536]), fromServer(0x88, "")}, nil,
		[]string{`> text ` + fmt.Sprintf("%q", long[:125]), `> text ` + fmt.Sprintf("%q", long[:126]), `< text ` + fmt.Sprintf("%q", long[:65535]), `< text ` + fmt.Sprintf("%q", long[:65536]), `< close ""`}, "", 251, 131071},
	{"fragments with a ping between", "", []sent{fromClient(0x01, "Hel"), fromClient(0x89, "p"), fromServer(0x8a, "p"), fromClient(0x00, "l"), fromClient(0x80, "o"), fromClient(0x88, "\x03\xe9")}, nil,
		[]string{`> ping "p"`, `< pong "p"`, `> text "Hello"`, `> close "\x03\xe9"`}, "", 8, 1},
	{"context takeover", "permessage-deflate; client_max_window_bits=15", []sent{fromServer(0x81|packed, again[0]), fromServer(0x81|packed, again[1]), fromClient(0x81|packed, again[0]), fromClient(0x81, "plain"),
		fromClient(0x01|packed, again[1][:2]), fromClient(0x80, again[1][2:]), fromServer(0x81|packed, again[2]), fromServer(0x88, "\x03\xe8")}, nil,
		[]string{`< text "hello hello hello hello"`, `< text "hello hello hello hello"`, `> text "hello hello hello hello"`, `> text "plain"`, `> text "hello hello hello hello"`, `< text ""`, `< close "\x03\xe8"`}, "", 51, 48},
	{"no context takeover", "foo, permessage-deflate; server_no_context_takeover", []sent{fromServer(0x81|packed, again[0]), fromServer(0x81|packed, again[0]), fromServer(0x88, "")}, nil,
		[]string{`< text "hello hello hello hello"`, `< text "hello hello hello hello"`, `< close ""`}, "", 0, 46},
	{"cut off in a message", "", []sent{fromClient(0x81, "a"), {events.Side_RESPONSE, frame(events.Side_RESPONSE, 0x81, []byte("abcdef"))[:5]}}, errors.New("gone"),
		[]string{`> text "a"`, `< text "abc"`}, "closed with 1006: no close frame, gone", 1, 3},
	{"server error", "", []sent{fromServer(0x88, "\x03\xf3oops"), fromClient(0x88, "\x03\xf3")}, nil, []string{`< close "\x03\xf3oops"`, `> close "\x03\xf3"`}, "closed with 1011 by the server", 2, 6},
	{"client leaves with its own code", "", []sent{fromClient(0x88, "\x0f\xa1")}, nil, []string{`> close "\x0f\xa1"`}, "closed with 4001 by the client", 2, 0},
	{"unmasked client", "", []sent{fromClient(0x81, "a"), {events.Side_REQUEST, []byte("\x81\x01a\x81\x01b")}, fromServer(0x81, "b")}, nil, []string{`> text "a"`}, "gap: " + errMask.Error(), 5, 3},
	{"masked server", "", []sent{{events.Side_RESPONSE, frame(events.Side_REQUEST, 0x81, []byte("a"))}}, nil, nil, "gap: " + errMask.Error(), 0, 5},
	{"reserved bit", "", []sent{fromClient(0xa1, "a")}, nil, nil, "gap: " + errReserved.Error(), 5, 0},
	{"compressed without an agreement", "", []sent{fromClient(0xc1, "a")}, nil, nil, "gap: " + errReserved.Error(), 5, 0},
	{"reserved opcode", "", []sent{fromServer(0x83, "a")}, nil, nil, "gap: " + errReserved.Error(), 0, 1},
	{"long ping", "", []sent{fromServer(0x89, long[:126])}, nil, nil, "gap: " + errControl.Error(), 0, 128},
	{"ping in pieces", "", []sent{fromServer(0x09, "")}, nil, nil, "gap: " + errControl.Error(), 0, 0},
	{"continuation of nothing", "", []sent{fromServer(0x80, "a")}, nil, nil, "gap: " + errFragments.Error(), 0, 1},
	{"message within a message", "", []sent{fromServer(0x01, "a"), fromServer(0x81, "b")}, nil, []string{`< text "a"`}, "gap: " + errFragments.Error(), 0, 2},
	{"length the long way", "", []sent{{events.Side_RESPONSE, []byte("\x81\x7e\x00\x01a")}}, nil, nil, "gap: " + errLength.Error(), 0, 1},
	{"bytes behind a close", "", []sent{fromServer(0x88, ""), fromServer(0x81, "a")}, nil, []string{`< close ""`}, "gap: " + errClosed.Error(), 0, 3},
	{"not deflate", "permessage-deflate", []sent{fromServer(0x81|packed, "\xff\xff\xff"), fromServer(0x81, "a")}, nil, []string{`< text 0 of 3`}, "gap: " + errDeflate.Error(), 0, 6},
}

func TestReadings(t *testing.T) {
	for _, test := range readings {
		for _, n := range []int{1, 2, 3, 7, 1 << 20} {
			x := upgraded(test.extensions)
			got := read(x, test.sent, n, test.err)
			if d := cmp.Diff(test.want, lines(got.messages())); d != "" {
				t.Errorf("%s, %d bytes a read:\n%s", test.name, n, d)
			}
			if x.Failure != test.failure || x.Request.Body.Size != test.in || x.Response.Body.Size != test.out {
				t.Errorf("%s, %d bytes a read: failure %q, %d and %d bytes, want %q, %d and %d", test.name, n, x.Failure, x.Request.Body.Size, x.Response.Body.Size, test.failure, test.in, test.out)
			}
		}
	}
}

func TestStatus(t *testing.T) {
	for failure, want := range map[string]struct {
		status string
		class  events.StatusClass
	}{
		"":                             {"101", events.StatusClass_OK},
		"gap: " + errMask.Error():      {"101", events.StatusClass_OK},
		failure(codeCut, 0, nil):       {"1006", events.StatusClass_FAILED},
		failure(1011, server, nil):     {"1011", events.StatusClass_SERVER},
		failure(1011, client, nil):     {"1011", events.StatusClass_CLIENT},
		failure(1008, server, nil):     {"1008", events.StatusClass_CLIENT},
		failure(1002, client, nil):     {"1002", events.StatusClass_SERVER},
		failure(4001, client, nil):     {"4001", events.StatusClass_OK},
		failure(4001, server, nil):     {"4001", events.StatusClass_CLIENT},
		failure(4500, server, nil):     {"4500", events.StatusClass_SERVER},
		failure(4404, server, nil):     {"4404", events.StatusClass_CLIENT},
		failure(999, server, nil):      {"999", events.StatusClass_CLIENT},
		failure(codeNormal, 0, nil):    {"101", events.StatusClass_OK},
		failure(codeNone, server, nil): {"101", events.StatusClass_OK},
		"reset by peer":                {"101", events.StatusClass_FAILED},
	} {
		x := upgraded("")
		x.Failure = failure
		if status, class := Status(x), Class(x); status != want.status || class != want.class {
			t.Errorf("%q: %s %s, want %s %s", failure, status, class, want.status, want.class)
		}
	}
}

const (
	client = events.Side_REQUEST
	server = events.Side_RESPONSE
)

func TestBoundsOfMessages(t *testing.T) {
	big := strings.Repeat("x", wire.MaxMessage+10)
	zeros := deflated(strings.Repeat("\x00", 8<<20), strings.Repeat("\x00", 2<<20))
	repeated := deflated(strings.Repeat("abcdefgh", 100<<10)) // below what unpacks whatever it is made of
	noise := make([]byte, maxPacked+1)
	for _, test := range []struct {
		name string
		sent []sent
		want []string
		gap  error
		size int64
	}{
		{"long message", []sent{fromServer(0x81, big), fromServer(0x88, "")}, []string{fmt.Sprintf("< text %d of %d", wire.MaxMessage, len(big)), `< close ""`}, nil, int64(len(big))},
		{"unpacks to a lot", []sent{fromServer(0x81|packed, repeated[0]), fromServer(0x88, "")}, []string{fmt.Sprintf("< text %d of %d", wire.MaxMessage, 800<<10), `< close ""`}, nil, 800 << 10},
		{"unpacks to too much", []sent{fromServer(0x81|packed, zeros[0]), fromServer(0x81|packed, zeros[1])}, []string{fmt.Sprintf("< text 0 of %d", len(zeros[0]))}, errUnpacked, -1},
		{"compressed and too long", []sent{fromServer(0x81|packed, string(noise)), fromServer(0x81, "a")}, []string{fmt.Sprintf("< text 0 of %d", maxPacked)}, errPacked, maxPacked + 1 + 3},
	} {
		for _, n := range []int{1000, 4096, 4 << 20} {
			x := upgraded("permessage-deflate")
			got := read(x, test.sent, n, nil)
			if d := cmp.Diff(test.want, lines(got.messages())); d != "" {
				t.Errorf("%s, %d bytes a read:\n%s", test.name, n, d)
			}
			want := ""
			if test.gap != nil {
				want = wire.FailureGap + test.gap.Error()
			}
			if b := x.Response.Body; x.Failure != want || test.size >= 0 && b.Size != test.size || b.Kept > b.Size {
				t.Errorf("%s: failure %q, size %d, kept %d, want %q, %d", test.name, x.Failure, b.Size, b.Kept, want, test.size)
			}
		}
	}
}

func TestGapInThePayload(t *testing.T) {
	x, c := upgraded(""), &collector{}
	connection := NewConnection(x, wire.NewStream(x, c))
	b := frame(client, 0x82, bytes.Repeat([]byte("abcde"), 10))
	connection.Data(client, 1, b[:6+10])
	connection.Gap(client, 13)
	connection.Data(client, 1, b[6+23:])
	connection.Data(client, 1, frame(client, 0x81, []byte("next")))
	connection.Gap(client, 3) // between frames: the place is lost
	connection.Data(client, 1, []byte("more"))
	connection.Close(1, nil)
	want := []string{`> binary 10 of 50`, `> text "next"`}
	if d := cmp.Diff(want, lines(c.messages())); d != "" {
		t.Error(d)
	}
	if x.Failure != wire.FailureGap+errMissing.Error() || x.Request.Body.Size != 50+4+3+4 || x.Request.Body.Kept != 14 {
		t.Errorf("failure %q, size %d, kept %d", x.Failure, x.Request.Body.Size, x.Request.Body.Kept)
	}
}

func TestSegmentsOfASecond(t *testing.T) {
	x, c := upgraded(""), &collector{}
	connection := NewConnection(x, wire.NewStream(x, c))
	at := int64(0)
	for range 5 * 60 * 60 * 4 { // five hours, four a second
		connection.Data(server, at, frame(server, 0x81, []byte("tick")))
		connection.Tick(at)
		at += int64(250 * time.Millisecond)
	}
	connection.Close(at, nil)
	if len(x.Segments) != len(c.segments) || len(x.Segments) > 8192 || len(c.messages()) != 72000 {
		t.Fatalf("%d segments written, %d listed, %d messages", len(c.segments), len(x.Segments), len(c.messages()))
	}
	for i, s := range c.segments {
		span := time.Duration(s.Messages[len(s.Messages)-1].Time - s.Messages[0].Time)
		if int(s.Number) != i || i < 1024 && span >= 1250*time.Millisecond || span > 32*time.Second {
			t.Fatalf("segment %d: number %d, %s", i, s.Number, span)
		}
	}
	if b := x.Response.Body; b.Size != 72000*4 || b.Kept != b.Size {
		t.Errorf("size %d, kept %d", b.Size, b.Kept)
	}
}

func TestSegmentsThatAreNotKept(t *testing.T) {
	x, c := upgraded(""), &collector{refuse: true}
	connection := NewConnection(x, wire.NewStream(x, c))
	connection.Data(server, 1, frame(server, 0x81, []byte("tick")))
	connection.Close(2, nil)
	if b := x.Response.Body; b.Size != 4 || b.Kept != 0 || len(x.Segments) != 0 {
		t.Errorf("size %d, kept %d, %d segments", b.Size, b.Kept, len(x.Segments))
	}
}

// FuzzSplit: never panics, bounded, the same however the bytes are split.
func FuzzSplit(f *testing.F) {
	for _, test := range readings {
		var client, server []byte
		for _, s := range test.sent {
			if s.side == events.Side_REQUEST {
				client = append(client, s.b...)
			} else {
				server = append(server, s.b...)
			}
		}
		if len(client)+len(server) > 4096 {
			continue // long seeds make slow fuzzing
		}
		f.Add(client, server, test.extensions, uint8(3))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, extensions string, n uint8) {
		all := []sent{{events.Side_REQUEST, client}, {events.Side_RESPONSE, server}, {events.Side_REQUEST, client}}
		x, y := upgraded(extensions), upgraded(extensions)
		one, other := read(x, all, max(1, len(client)+len(server)), nil), read(y, all, int(n)+1, nil)
		if d := cmp.Diff(lines(one.messages()), lines(other.messages())); d != "" {
			t.Fatal(d)
		}
		if x.Failure != y.Failure || x.Request.Body.Size != y.Request.Body.Size || x.Response.Body.Size != y.Response.Body.Size ||
			x.Request.Body.Kept != y.Request.Body.Kept || x.Response.Body.Kept != y.Response.Body.Kept {
			t.Fatalf("%q %v %v, in pieces of %d %q %v %v", x.Failure, x.Request.Body, x.Response.Body, int(n)+1, y.Failure, y.Request.Body, y.Response.Body)
		}
		for _, m := range one.messages() {
			if len(m.Data) > wire.MaxMessage || m.Size < int64(len(m.Data)) || m.Size > maxUnpacked+16<<10 {
				t.Fatalf("message of %d bytes, size %d", len(m.Data), m.Size)
			}
		}
		Status(x)
		Class(x)
	})
}
