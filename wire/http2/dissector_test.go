package http2

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"tapedeck/events"
	"tapedeck/internal/wiretest"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

var dissections = []struct {
	name string
	talk func(t *talk)
	want []string
}{
	{"simple", func(t *talk) { t.ask(1, true, "GET", "/a"); t.answer(1, "200", "ok") }, []string{`GET /a "" > 200 "ok"`}},
	{"no body", func(t *talk) { t.ask(1, true, "GET", "/a"); t.answer(1, "204", "") }, []string{`GET /a "" > 204 ""`}},
	{"interleaved", func(t *talk) {
		t.ask(1, false, "POST", "/a")
		t.ask(3, false, "POST", "/b")
		t.client.data(3, false, "thr")
		t.client.data(1, true, "one")
		t.client.data(3, true, "ee")
		t.answer(3, "200", "3")
		t.answer(1, "201", "1")
	}, []string{`POST /b "three" > 200 "3"`, `POST /a "one" > 201 "1"`}},
	{"continuation, padding, priority, unknown frames", func(t *talk) {
		block := t.client.encode(":method: GET", ":scheme: http", ":authority: shop", ":path: /a", "x: y")
		f := t.client.frame
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: block[:2], PadLength: 7, Priority: http2.PriorityParam{Weight: 3}})
		f.WriteContinuation(1, false, block[2:5])
		f.WriteContinuation(1, false, nil)
		f.WriteContinuation(1, true, block[5:])
		f.WritePriority(1, http2.PriorityParam{StreamDep: 3})
		f.WriteRawFrame(0x10, 0xff, 1, []byte("priority update"))
		f.WriteWindowUpdate(0, 1000)
		f.WritePing(false, [8]byte{})
		t.client.say()
		t.server.headers(1, false, ":status: 200")
		t.server.frame.WriteDataPadded(1, false, []byte("o"), make([]byte, 200))
		t.server.frame.WriteDataPadded(1, false, nil, []byte{})
		t.server.frame.WriteDataPadded(1, true, []byte("k"), nil)
		t.server.say()
	}, []string{`GET /a "" > 200 "ok"`}},
	{"trailers and interim answers", func(t *talk) {
		t.ask(1, false, "POST", "/a")
		t.server.headers(1, false, ":status: 100")
		t.client.data(1, false, "body")
		t.client.headers(1, true, "x-sum: 1")
		t.server.headers(1, false, ":status: 103", "link: x")
		t.server.headers(1, false, ":status: 200")
		t.server.data(1, false, "ok")
		t.server.headers(1, true, "x-took: 2", "x-took: 3")
	}, []string{`POST /a "body" 100 103 > 200 "ok" x-sum:1 x-took:2 x-took:3`}},
	{"early answer", func(t *talk) {
		t.ask(1, false, "POST", "/a")
		t.answer(1, "413", "long")
		t.client.data(1, true, "rest")
		t.ask(3, false, "POST", "/b")
		t.answer(3, "413", "long")
		t.server.reset(3, http2.ErrCodeNo)
		t.client.data(3, true, "late")
	}, []string{`POST /a "rest" > 413 "long"`, `POST /b "" > 413 "long"`}},
	{"resets", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		t.client.reset(1, http2.ErrCodeCancel)
		t.answer(1, "200", "late")
		t.ask(3, true, "GET", "/b")
		t.server.reset(3, http2.ErrCodeRefusedStream)
		t.client.reset(5, http2.ErrCodeCancel) // never begun
	}, []string{`GET /a "" ! reset by client: CANCEL`, `GET /b "" ! reset by server: REFUSED_STREAM`}},
	{"go away", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		t.ask(3, true, "GET", "/b")
		t.server.frame.WriteGoAway(1, http2.ErrCodeNo, []byte("restart"))
		t.server.say()
		t.answer(1, "200", "ok")
	}, []string{`GET /b "" ! not processed by server: NO_ERROR`, `GET /a "" > 200 "ok"`}},
	{"push is read and ignored", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		t.server.frame.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true, PadLength: 3,
			BlockFragment: t.server.encode(":method: GET", ":scheme: http", ":authority: shop", ":path: /style", "x-new: entry")})
		t.server.headers(2, false, ":status: 200", "x-new: entry")
		t.server.data(2, true, "pushed")
		t.server.headers(1, true, ":status: 200", "x-new: entry")
	}, []string{`GET /a "" > 200 ""`}},
	{"push in pieces, refused by the client", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		block := t.server.encode(":method: GET", ":scheme: http", ":authority: shop", ":path: /style", "x-new: entry")
		t.server.frame.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: block[:5]})
		t.server.frame.WriteContinuation(1, true, block[5:])
		t.server.say()
		t.client.reset(2, http2.ErrCodeRefusedStream)
		t.server.headers(1, true, ":status: 200", "x-new: entry")
	}, []string{`GET /a "" > 200 ""`}},
	{"graceful go away", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		t.server.frame.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil) // "no more, please": nothing is lost yet
		t.server.say()
		t.ask(3, true, "GET", "/b") // crossed it
		t.server.frame.WriteGoAway(3, http2.ErrCodeNo, nil)
		t.server.say()
		t.answer(1, "200", "ok")
		t.answer(3, "200", "ok")
	}, []string{`GET /a "" > 200 "ok"`, `GET /b "" > 200 "ok"`}},
	{"go away of a server that fails", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		t.server.headers(1, false, ":status: 200")
		t.ask(3, true, "GET", "/b")
		t.server.frame.WriteGoAway(1, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings"))
		t.server.say()
		t.close(events.Side_RESPONSE, syscall.ECONNRESET)
	}, []string{`GET /b "" ! not processed by server: ENHANCE_YOUR_CALM`, `GET /a "" > 200 "" ! response cut off: reset by peer`}},
	{"go away of the client", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		t.client.frame.WriteGoAway(0, http2.ErrCodeNo, nil)
		t.client.say()
		t.answer(1, "200", "ok")
	}, []string{`GET /a "" > 200 "ok"`}},
	{"table sizes", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		t.client.hpack.SetMaxDynamicTableSizeLimit(64 << 10)
		t.client.hpack.SetMaxDynamicTableSize(64 << 10)
		t.ask(3, true, "GET", "/a")
		t.client.hpack.SetMaxDynamicTableSize(0)
		t.ask(5, true, "GET", "/a")
		for _, stream := range []uint32{1, 3, 5} {
			t.answer(stream, "200", "ok")
		}
	}, []string{`GET /a "" > 200 "ok"`, `GET /a "" > 200 "ok"`, `GET /a "" > 200 "ok"`}},
	{"tunnel", func(t *talk) {
		t.client.headers(1, false, ":method: CONNECT", ":authority: host:443")
		t.server.headers(1, false, ":status: 200")
		t.client.data(1, true, "hello")
		t.server.data(1, true, "hi")
	}, []string{`CONNECT host:443 "" > 200 "" of 2`}},
	{"malformed head", func(t *talk) {
		t.client.headers(1, true, ":method: GET", ":path: /a")
		t.server.headers(1, true, ":status: 400")
		t.ask(3, true, "GET", "/b")
		t.server.headers(3, true, "x: y")
	}, []string{`GET /a "" > 400 "" ! malformed request: pseudo-header unknown, twice, missing or behind a header`,
		`GET /b "" ! malformed response: pseudo-header unknown, twice, missing or behind a header`}},
	{"malformed block", func(t *talk) {
		t.client.frame.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: []byte{0xff, 0xff}})
		t.client.say()
		t.answer(1, "200", "ok")
	}, []string{`  "" > 200 "ok" ! gap: the head of the request can't be decoded`}},
	{"malformed frame", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		t.client.frame.WriteContinuation(1, true, nil)
		t.client.say()
		t.answer(1, "200", "ok")
	}, []string{`GET /a "" ! gap: malformed frames: frame inside a header block, or its continuation outside of one`}},
	{"padding longer than its frame", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		t.server.headers(1, false, ":status: 200")
		t.server.frame.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{9, 1})
		t.server.say()
		t.ask(3, true, "GET", "/b")
	}, []string{`GET /a "" > 200 "" ! gap: malformed frames: padding longer than its frame`, `GET /b "" ! gap: the answer was not seen`}},
	{"cut off", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		t.ask(3, true, "GET", "/b")
		t.ask(5, false, "POST", "/c")
		t.server.headers(3, false, ":status: 200")
		t.server.data(3, false, "some")
		t.close(events.Side_RESPONSE, syscall.ECONNRESET)
		t.ask(7, true, "GET", "/d")
	}, []string{`GET /a "" ! no answer: reset by peer`, `GET /b "" > 200 "some" ! response cut off: reset by peer`,
		`GET /d "" ! no answer: connection closed`, `POST /c "" ! no answer: reset by peer`}},
	{"client leaves", func(t *talk) {
		t.ask(1, true, "GET", "/a")
		t.ask(3, false, "POST", "/b")
		t.close(events.Side_REQUEST, nil)
		t.answer(1, "200", "ok")
	}, []string{`GET /a "" > 200 "ok"`, `POST /b "" ! request cut off: connection closed`}},
	{"server is none", func(t *talk) {
		t.chunks = t.chunks[:1]
		t.ask(1, true, "GET", "/a")
		t.server.raw("HTTP/1.1 400 Bad Request\r\n\r\n")
	}, []string{`GET /a "" ! gap: malformed frames: no preface`}},
	{"empty connection", func(*talk) {}, nil},
}

func lines(s *wiretest.Sink) []string {
	var all []string
	for _, x := range s.Ended {
		all = append(all, line(x))
	}
	return all
}

func TestDissect(t *testing.T) {
	for _, test := range dissections {
		t.Run(test.name, func(t *testing.T) {
			talk := newTalk()
			test.talk(talk)
			for _, n := range []int{1 << 20, 1, 2, 3, 7} {
				s := wiretest.Dissect(&Protocol{}, closed(talk.chunks), n)
				s.Check(t)
				if diff := cmp.Diff(test.want, lines(s)); diff != "" {
					t.Fatalf("in pieces of %d bytes (-want +got):\n%s", n, diff)
				}
			}
		})
	}
}

// A connection that is seen from its middle on has lost its compression state:
// what can be known is what was first named since.
func TestMidway(t *testing.T) {
	talk := newTalk()
	talk.ask(1, true, "GET", "/a")
	talk.answer(1, "200", "ok")
	talk.ask(3, false, "POST", "/begun-before")
	seen := len(talk.chunks)
	talk.client.data(3, true, "body")
	talk.answer(3, "200", "ok")
	talk.ask(5, true, "GET", "/names-old-entries")
	talk.server.headers(5, true, ":status: 200", "x: new")
	talk.client.headers(7, true, ":method: GET", ":scheme: http", ":path: /c", "host: new")
	talk.server.headers(7, true, ":status: 200", "x: new")
	s := wiretest.Dissect(&Protocol{}, closed(talk.chunks[seen:]), 1<<20)
	s.Check(t)
	want := []string{
		`  "" ! gap: the request was not seen`, // its answer names an old entry too
		`  "" > 200 "" ! gap: the head of the request can't be decoded`,
		`GET /c "" > 200 ""`,
	}
	if diff := cmp.Diff(want, lines(s)); diff != "" {
		t.Errorf("exchanges (-want +got):\n%s", diff)
	}
}

// withGap dissects a conversation without the first n bytes of chunk i.
func withGap(talk *talk, i int, n int64) *wiretest.Sink {
	s := wiretest.NewSink()
	d := (&Protocol{}).NewDissector(&events.Connection{}, events.Direction_INBOUND, s)
	for j, chunk := range closed(talk.chunks) {
		if i == j {
			d.Gap(chunk.Side, n)
			chunk.Data = chunk.Data[n:]
		}
		wiretest.Feed(d, chunk, 1<<20)
	}
	return s
}

func TestGap(t *testing.T) {
	talk := newTalk()
	talk.ask(1, true, "GET", "/a")
	talk.ask(3, false, "POST", "/b")
	talk.client.raw("\x00\x00\x0a\x00\x01\x00\x00\x00\x0301234")
	talk.client.raw("56789")
	talk.answer(1, "200", "ok")
	talk.answer(3, "200", "ok")
	inside := len(talk.chunks) - 5
	check := func(name string, s *wiretest.Sink, dropped int, want ...string) {
		t.Helper()
		s.Check(t)
		if diff := cmp.Diff(want, lines(s)); diff != "" {
			t.Errorf("%s: exchanges (-want +got):\n%s", name, diff)
		}
		if s.Dropped[wire.DropPressure] != dropped {
			t.Errorf("%s: dropped %v, want %d", name, s.Dropped, dropped)
		}
	}
	check("inside a body", withGap(talk, inside, 4), 1, `GET /a "" > 200 "ok"`)
	check("the rest of a body", withGap(talk, inside, 5), 1, `GET /a "" > 200 "ok"`)
	talk.ask(5, true, "GET", "/c")
	talk.client.headers(7, true, ":method: GET", ":scheme: http", ":path: /d", "x-new: 1")
	talk.answer(5, "200", "ok")
	talk.answer(7, "200", "ok")
	head := len(talk.chunks) - 6
	check("a head", withGap(talk, head, int64(len(talk.chunks[head].Data))), 0,
		`GET /a "" > 200 "ok"`, `POST /b "0123456789" > 200 "ok"`, `  "" > 200 "ok" ! gap: the request was not seen`, `GET /d "" > 200 "ok"`)
	// What nothing is seen of is counted once the next stream tells the numbers.
	s := wiretest.NewSink()
	d := (&Protocol{}).NewDissector(&events.Connection{}, events.Direction_INBOUND, s)
	for j, chunk := range closed(talk.chunks) {
		if j == head || j == head+2 || j == head+3 { // GET /c, and its answer, with which GET /d is lost
			d.Gap(chunk.Side, int64(len(chunk.Data)))
			continue
		}
		wiretest.Feed(d, chunk, 1<<20)
	}
	check("an exchange", s, 2, `GET /a "" > 200 "ok"`, `POST /b "0123456789" > 200 "ok"`)
	check("an answer", withGap(talk, inside+1, 3), 2,
		`GET /c "" ! gap: the head of the answer can't be decoded`, `GET /d "" ! gap: the head of the answer can't be decoded`)
}

func TestBounds(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, test := range map[string]struct {
		say     func(t *talk)
		failure string
	}{
		"endless block": {func(t *talk) {
			t.client.frame.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(long[:1000])})
			t.client.frame.WriteContinuation(1, false, []byte(long))
			t.client.say()
		}, "gap: malformed frames: header block is longer than 256 KiB"},
		"long head": {func(t *talk) {
			t.client.headers(1, true, ":method: GET", ":scheme: http", ":path: /a", "x: "+long[:140<<10])
		}, "malformed request: head is longer than 128 KiB"},
		"bomb": {func(t *talk) {
			t.client.headers(1, true, ":method: GET", ":scheme: http", ":path: /a", "x: "+long[:3000])
			t.client.frame.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, EndHeaders: true, EndStream: true, BlockFragment: []byte(strings.Repeat("\xbe", 100<<10))})
			t.client.say()
		}, "malformed request: head is longer than 128 KiB"},
	} {
		talk := newTalk()
		test.say(talk)
		for _, n := range []int{1 << 21, 1000} {
			s := wiretest.Dissect(&Protocol{}, closed(talk.chunks), n)
			s.Check(t)
			found := false
			for _, x := range s.Ended {
				found = found || x.Failure == test.failure
			}
			if !found {
				t.Errorf("%s: got %v, want failure %q", name, len(s.Ended), test.failure)
			}
		}
	}
}

func TestManyStreamsAreBounded(t *testing.T) {
	talk := newTalk()
	body := strings.Repeat("x", 16<<10)
	for i := range uint32(2000) {
		talk.ask(2*i+1, false, "POST", fmt.Sprintf("/%d", i))
		talk.client.data(2*i+1, false, body)
	}
	s := wiretest.NewSink()
	d := (&Protocol{}).NewDissector(&events.Connection{}, events.Direction_INBOUND, s).(*dissector)
	for _, chunk := range talk.chunks {
		wiretest.Feed(d, chunk, 1<<20)
		if d.pending > maxHeads+maxHead || len(d.open) > maxOpen {
			t.Fatalf("%d bytes and %d exchanges are held", d.pending, len(d.open))
		}
	}
	for _, chunk := range closed(nil) {
		wiretest.Feed(d, chunk, 1)
	}
	s.Check(t)
	if s.Dropped[dropStreams] != 2000-maxOpen || len(s.Ended) != maxOpen {
		t.Errorf("%d ended, %v dropped", len(s.Ended), s.Dropped)
	}
	for _, x := range s.Ended {
		if got := s.Whole(x, events.Side_REQUEST); string(got) != body || x.Request.Body.Kept != int64(len(body)) {
			t.Fatalf("%s: %d bytes of the body are kept, want %d", x.Request.Target, len(got), len(body))
		}
	}
	if d.pending != 0 {
		t.Errorf("%d bytes are held of nothing", d.pending)
	}
}

func TestDetect(t *testing.T) {
	for first, want := range map[string]wire.Match{
		"": wire.More, "PRI": wire.More, preface: wire.Yes, preface + "x": wire.Yes, "PRI /": wire.No, "GET / HTTP/1.1": wire.No,
	} {
		if got := (&Protocol{}).Detect([]byte(first)); got != want {
			t.Errorf("%q: got %v, want %v", first, got, want)
		}
		if both := (&http1.Protocol{}).Detect([]byte(first)); want == wire.Yes && both != wire.No {
			t.Errorf("%q: HTTP/1 takes it as well", first)
		}
	}
	for first, want := range map[string]wire.Match{
		"": wire.More, "\x00\x00\x06\x04": wire.More, "\x00\x00\x06\x04\x00\x00\x00\x00\x00": wire.Yes, "\x00\x00\x00\x04\x00\x00\x00\x00\x00": wire.Yes,
		"\x00\x00\x05\x04\x00\x00\x00\x00\x00": wire.No, "220 mail.example ESMTP": wire.No, "\x4a\x00\x00\x00\x0a8.0.36": wire.No,
	} {
		if got := (&Protocol{}).DetectServer([]byte(first)); got != want {
			t.Errorf("server's %q: got %v, want %v", first, got, want)
		}
	}
}

// What a service serves over both versions is one endpoint with one signature.
func TestOneEndpointForBothVersions(t *testing.T) {
	talk := newTalk()
	talk.client.headers(1, true, ":method: GET", ":scheme: http", ":authority: Shop:80", ":path: /users/7?x=1", "authorization: Bearer t")
	talk.answer(1, "404", "no")
	x := wiretest.Dissect(&Protocol{}, closed(talk.chunks), 1<<20).Ended[0]
	one := wiretest.Dissect(&http1.Protocol{}, closed([]wiretest.Chunk{
		{Side: events.Side_REQUEST, Time: start, Data: []byte("GET /users/7?x=1 HTTP/1.1\r\nHost: Shop:80\r\nAuthorization: Bearer t\r\n\r\n")},
		{Side: events.Side_RESPONSE, Time: start, Data: []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")},
	}), 1<<20).Ended[0]
	p := &Protocol{}
	a, b := p.Describe(x), p.Describe(one)
	if a.Endpoint.String() != b.Endpoint.String() || a.Path != b.Path || a.Class != b.Class || a.Session != b.Session || p.Name() != "http" {
		t.Errorf("HTTP/2: %+v, HTTP/1: %+v", a, b)
	}
	if p.Signature(x) != p.Signature(one) {
		t.Error("signatures differ")
	}
}
