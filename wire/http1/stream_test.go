package http1

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"tapedeck/events"
	"tapedeck/wire"
)

// segments is a collector that keeps messages as well.
type segments struct {
	*collector
	all map[events.ID][]*events.Segment
}

func (s *segments) Segment(id events.ID, g *events.Segment) *events.RecordRef {
	if int(g.Number) != len(s.all[id]) {
		panic(fmt.Sprintf("segment %d after %d", g.Number, len(s.all[id])))
	}
	s.all[id] = append(s.all[id], g)
	return &events.RecordRef{}
}

func (s *segments) lines(x *events.Exchange) []string {
	var out []string
	for _, g := range s.all[events.ID(x.Id)] {
		for _, m := range g.Messages {
			out = append(out, fmt.Sprintf("%s %s %q", m.Side, m.Type, m.Data))
		}
	}
	return out
}

// streamed feeds chunks in pieces of at most n bytes to a sink that keeps
// messages, and closes in the order of closes.
func streamed(chunks []chunk, n int, err error, closes ...events.Side) *segments {
	s := &segments{newCollector(), map[events.ID][]*events.Segment{}}
	connection := &events.Connection{Id: make([]byte, 16), Client: "127.0.0.1:5000", Server: "127.0.0.1:80"}
	d := (&Protocol{}).NewDissector(connection, events.Direction_INBOUND, s)
	at := time.Unix(1, 0)
	for _, part := range chunks {
		for b := []byte(part.data); len(b) > 0; {
			piece := bytes.Clone(b[:min(n, len(b))])
			d.Data(part.side, at, piece)
			clear(piece) // whoever kept it shows now
			b = b[len(piece):]
		}
	}
	for _, side := range closes {
		d.Close(side, at, err)
	}
	return s
}

const (
	clientSide = events.Side_REQUEST
	serverSide = events.Side_RESPONSE

	askSocket    = "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	answerSocket = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	askEvents    = "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
	chunkedHead  = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	untilClose   = "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"
)

var streamings = []struct {
	name     string
	chunks   []chunk
	err      error
	closes   []events.Side
	messages []string
	row      string
}{
	{"socket", []chunk{ask(askSocket + "\x81\x82\x00\x00\x00\x00hi"), answer(answerSocket + "\x81\x03you\x88\x02\x03\xe8"), ask("\x88\x82\x00\x00\x00\x00\x03\xe8")}, nil, []events.Side{clientSide, serverSide},
		[]string{`REQUEST text "hi"`, `RESPONSE text "you"`, `RESPONSE close "\x03\xe8"`, `REQUEST close "\x03\xe8"`}, "websocket GET /chat 101 OK 4/4 5/5 "},
	{"socket without an end", []chunk{ask(askSocket), answer(answerSocket + "\x81\x03you")}, syscall.ECONNRESET, []events.Side{clientSide, serverSide},
		[]string{`RESPONSE text "you"`}, "websocket GET /chat 1006 FAILED 0/0 3/3 closed with 1006: no close frame, reset by peer"},
	{"socket that breaks the protocol", []chunk{ask(askSocket), answer(answerSocket + "\x81\x01a\xff\xffrest")}, nil, []events.Side{clientSide, serverSide},
		[]string{`RESPONSE text "a"`}, "websocket GET /chat 101 OK 0/0 5/1 gap: frame with a reserved bit or opcode"},
	{"another upgrade", []chunk{ask("GET / HTTP/1.1\r\nUpgrade: echo\r\n\r\n"), answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n\x81\x01a")}, nil, []events.Side{clientSide, serverSide},
		nil, "http GET / 101 OK 0/0 3/0 "},
	{"chunked events", []chunk{ask(askEvents), answer(chunkedHead + "9\r\ndata: 1\n\n\r\n11\r\nevent: a\ndata: 22\r\n2\r\n\n\n\r\n0\r\n\r\n"), ask("GET /next HTTP/1.1\r\n\r\n")}, nil, []events.Side{serverSide, clientSide},
		[]string{`RESPONSE message "data: 1\n\n"`, `RESPONSE a "event: a\ndata: 22\n\n"`}, "http GET /events 200 OK 0/0 28/28 "},
	{"events until the server closes", []chunk{ask(askEvents), answer(untilClose + "data: 1\n\n")}, nil, []events.Side{serverSide, clientSide},
		[]string{`RESPONSE message "data: 1\n\n"`}, "http GET /events 200 OK 0/0 9/9 "},
	{"events until the client goes", []chunk{ask(askEvents), answer(chunkedHead + "9\r\ndata: 1\n\n\r\n")}, nil, []events.Side{clientSide, serverSide},
		[]string{`RESPONSE message "data: 1\n\n"`}, "http GET /events 200 OK 0/0 9/9 "},
	{"events that break off", []chunk{ask(askEvents), answer(chunkedHead + "9\r\ndata: 1\n\n\r\n")}, syscall.ECONNRESET, []events.Side{serverSide, clientSide},
		[]string{`RESPONSE message "data: 1\n\n"`}, "http GET /events 200 FAILED 0/0 9/9 response cut off: reset by peer"},
}

func TestStreams(t *testing.T) {
	for _, test := range streamings {
		for _, n := range []int{1, 2, 5, 1000} {
			got := streamed(test.chunks, n, test.err, test.closes...)
			got.check(t)
			x := got.ended[0]
			d := (&Protocol{}).Describe(x)
			row := fmt.Sprintf("%s %s %s %s %s %d/%d %d/%d %s", d.Endpoint.Protocol, d.Endpoint.Method, d.Path, d.Status, d.Class,
				x.Request.Body.Size, x.Request.Body.Kept, x.Response.Body.Size, x.Response.Body.Kept, x.Failure)
			if row != test.row || d.Endpoint.Protocol != x.Protocol {
				t.Errorf("%s, %d bytes a read: got %q, want %q", test.name, n, row, test.row)
			}
			if diff := cmp.Diff(test.messages, got.lines(x)); diff != "" {
				t.Errorf("%s, %d bytes a read:\n%s", test.name, n, diff)
			}
			if len(x.Segments) != len(got.all[events.ID(x.Id)]) || len(x.Response.Body.Data) > 0 {
				t.Errorf("%s: %d segments listed, body %q", test.name, len(x.Segments), x.Response.Body.Data)
			}
		}
	}
}

func TestTickWritesWhatWaits(t *testing.T) {
	s := &segments{newCollector(), map[events.ID][]*events.Segment{}}
	d := (&Protocol{}).NewDissector(&events.Connection{Id: make([]byte, 16)}, events.Direction_INBOUND, s)
	at := time.Now()
	d.Data(clientSide, at, []byte(askEvents))
	d.Data(serverSide, at, []byte(untilClose+"data: 1\n\n"))
	for i, want := range []int{0, 0, 1, 1} {
		d.(wire.Ticker).Tick(at.Add(time.Duration(i) * 500 * time.Millisecond))
		if n := len(s.all[events.ID{15: 1}]); n != want {
			t.Errorf("after %d half seconds %d segments, want %d", i, n, want)
		}
	}
}

func TestGapInAStream(t *testing.T) {
	s := &segments{newCollector(), map[events.ID][]*events.Segment{}}
	d := (&Protocol{}).NewDissector(&events.Connection{Id: make([]byte, 16)}, events.Direction_INBOUND, s)
	at := time.Now()
	d.Data(clientSide, at, []byte(askSocket))
	d.Data(serverSide, at, []byte(answerSocket+"\x81\x05ab"))
	d.Gap(serverSide, 2)
	d.Data(serverSide, at, []byte("e\x81\x01f"))
	d.Gap(serverSide, 100)
	d.Close(serverSide, at, nil)
	d.Close(clientSide, at, nil)
	x := s.ended[0]
	want := []string{`RESPONSE text "ab"`, `RESPONSE text "f"`}
	if diff := cmp.Diff(want, s.lines(x)); diff != "" || !wire.HasGap(x) || x.Response.Body.Size != 106 || x.Response.Body.Kept != 3 {
		t.Errorf("failure %q, body %v\n%s", x.Failure, x.Response.Body, diff)
	}
}

// FuzzStreams: what follows an upgrade or the head of an event stream.
func FuzzStreams(f *testing.F) {
	for _, test := range streamings {
		var client, server []byte
		for _, c := range test.chunks {
			if c.side == clientSide {
				client = append(client, c.data...)
			} else {
				server = append(server, c.data...)
			}
		}
		f.Add(client, server, uint8(2), true)
	}
	f.Fuzz(func(t *testing.T, client, server []byte, n uint8, clientFirst bool) {
		chunks := []chunk{ask(string(client)), answer(string(server)), ask(string(client)), answer(string(server))}
		closes := []events.Side{serverSide, clientSide}
		if clientFirst {
			closes = []events.Side{clientSide, serverSide}
		}
		whole, pieces := streamed(chunks, 1<<20, nil, closes...), streamed(chunks, int(n)+1, nil, closes...)
		whole.check(t)
		pieces.check(t)
		if diff := cmp.Diff(whole.ended, pieces.ended, protocmp.Transform()); diff != "" {
			t.Fatalf("pieces of %d bytes make a difference (-whole +pieces):\n%s", int(n)+1, diff)
		}
		for i, x := range whole.ended {
			if diff := cmp.Diff(whole.lines(x), pieces.lines(pieces.ended[i])); diff != "" {
				t.Fatal(diff)
			}
			(&Protocol{}).Describe(x)
		}
	})
}
