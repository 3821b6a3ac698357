package http1

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"tapedeck/events"
	"tapedeck/wire"
)

// collector is a sink that keeps everything.
type collector struct {
	begun   int
	ended   []*events.Exchange
	dropped map[string]int
	parts   map[string][]byte // by exchange and side
}

func newCollector() *collector {
	return &collector{dropped: map[string]int{}, parts: map[string][]byte{}}
}

func (c *collector) Begin(time.Time) events.ID {
	c.begun++
	var id events.ID
	id[15], id[14] = byte(c.begun), byte(c.begun>>8)
	return id
}

func (c *collector) Body(id events.ID, side events.Side, offset int64, b []byte) *events.RecordRef {
	key := fmt.Sprint(id, side)
	if int64(len(c.parts[key]))+events.BodyInline != offset {
		panic(fmt.Sprintf("offset %d after %d bytes", offset, len(c.parts[key])))
	}
	c.parts[key] = append(c.parts[key], b...)
	return &events.RecordRef{}
}

func (c *collector) End(x *events.Exchange) { c.ended = append(c.ended, x) }

func (c *collector) Drop(_ events.ID, reason string) { c.dropped[reason]++ }

func (c *collector) check(t testing.TB) {
	t.Helper()
	n := len(c.ended)
	for _, d := range c.dropped {
		n += d
	}
	if c.begun != n {
		t.Errorf("%d exchanges begun, %d ended or dropped", c.begun, n)
	}
}

// chunk is what one side sends.
type chunk struct {
	side events.Side
	data string
}

func ask(s string) chunk    { return chunk{events.Side_REQUEST, s} }
func answer(s string) chunk { return chunk{events.Side_RESPONSE, s} }

// dissect feeds chunks in pieces of at most n bytes and closes both sides with err.
func dissect(chunks []chunk, n int, err error) *collector {
	c := newCollector()
	connection := &events.Connection{Id: make([]byte, 16), Client: "127.0.0.1:5000", Server: "127.0.0.1:80"}
	d := (&Protocol{}).NewDissector(connection, events.Direction_INBOUND, c)
	t := time.Unix(1, 0)
	for _, part := range chunks {
		for b := []byte(part.data); len(b) > 0; {
			m := min(n, len(b))
			piece := bytes.Clone(b[:m])
			d.Data(part.side, t, piece)
			clear(piece) // whoever kept it shows now
			b = b[m:]
		}
	}
	d.Close(events.Side_REQUEST, t, nil)
	d.Close(events.Side_RESPONSE, t, err)
	return c
}

// line is a one-line form of an exchange, easy to compare and to read.
func line(x *events.Exchange) string {
	s := fmt.Sprintf("%s %s %q", x.Request.Method, x.Request.Target, x.Request.Body.Data)
	for _, i := range x.Interim {
		s += " " + i.Status
	}
	if x.Response != nil {
		s += fmt.Sprintf(" > %s %q", x.Response.Status, x.Response.Body.Data)
		if x.Response.Body.Size != int64(len(x.Response.Body.Data)) {
			s += fmt.Sprintf(" of %d", x.Response.Body.Size)
		}
	}
	for _, f := range append(x.Request.Trailers, x.GetResponse().GetTrailers()...) {
		s += fmt.Sprintf(" %s:%s", f.Name, f.Value)
	}
	if x.Failure != "" {
		s += " ! " + x.Failure
	}
	return s
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

var dissections = []struct {
	name   string
	chunks []chunk
	err    error
	want   []string
}{
	{"simple", []chunk{ask("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), answer(ok)}, nil, []string{`GET /a "" > 200 "ok"`}},
	{"keep-alive", []chunk{ask("GET /a HTTP/1.1\r\n\r\n"), answer(ok), ask("POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), answer(ok)}, nil,
		[]string{`GET /a "" > 200 "ok"`, `POST /b "abc" > 200 "ok"`}},
	{"pipelined", []chunk{ask("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nHEAD /c HTTP/1.1\r\n\r\nGET /d HTTP/1.1\r\n\r\n"),
		answer(ok + ok), answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + ok)}, nil,
		[]string{`GET /a "" > 200 "ok"`, `GET /b "" > 200 "ok"`, `HEAD /c "" > 200 ""`, `GET /d "" > 200 "ok"`}},
	{"blank lines before a request", []chunk{ask("\r\n\r\nGET /a HTTP/1.1\r\n\r\n\r\n"), answer(ok)}, nil, []string{`GET /a "" > 200 "ok"`}},
	{"bare line feeds", []chunk{ask("GET /a HTTP/1.0\nHost: x\n\n"), answer("HTTP/1.0 200\n\nbody")}, nil, []string{`GET /a "" > 200 "body"`}},
	{"no content, not modified", []chunk{ask("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"),
		answer("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n")}, nil,
		[]string{`GET /a "" > 204 ""`, `GET /b "" > 304 ""`}},
	{"100-continue", []chunk{ask("PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"), answer("HTTP/1.1 100 Continue\r\n\r\n"), ask("data"), answer(ok)}, nil,
		[]string{`PUT /a "data" 100 > 200 "ok"`}},
	{"early hints", []chunk{ask("GET /a HTTP/1.1\r\n\r\n"), answer("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + ok)}, nil,
		[]string{`GET /a "" 103 103 > 200 "ok"`}},
	{"chunked with trailers", []chunk{ask("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 7\r\n\r\n"),
		answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Took: 1\r\nX-Took: 2\r\n\r\n")}, nil,
		[]string{`POST /a "abc0123456789" > 200 "hi" X-Sum:7 X-Took:1 X-Took:2`}},
	{"until close", []chunk{ask("GET /a HTTP/1.1\r\n\r\n"), answer("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")}, nil, []string{`GET /a "" > 200 "all of it"`}},
	{"until close, reset", []chunk{ask("GET /a HTTP/1.1\r\n\r\n"), answer("HTTP/1.1 200 OK\r\n\r\nsome")}, syscall.ECONNRESET,
		[]string{`GET /a "" > 200 "some" ! response cut off: reset by peer`}},
	{"cut response", []chunk{ask("GET /a HTTP/1.1\r\n\r\n"), answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")}, nil,
		[]string{`GET /a "" > 200 "some" ! response cut off: connection closed`}},
	{"cut response head", []chunk{ask("GET /a HTTP/1.1\r\n\r\n"), answer("HTTP/1.1 200 O")}, nil, []string{`GET /a "" ! response cut off: connection closed`}},
	{"no answer", []chunk{ask("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"), answer(ok)}, nil,
		[]string{`GET /a "" > 200 "ok"`, `GET /b "" ! no answer: connection closed`}},
	{"cut request", []chunk{ask("POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nsome")}, nil, []string{`POST /a "some" ! request cut off: connection closed`}},
	{"cut request head", []chunk{ask("POST /a HT")}, nil, []string{`  "" ! request cut off: connection closed`}},
	{"early answer", []chunk{ask("POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nsome"), answer("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"), ask(" more"), ask("GET /b HTTP/1.1\r\n\r\n"), answer(ok)}, nil,
		[]string{`POST /a "some more" > 413 ""`, `GET /b "" > 200 "ok"`}},
	{"upgrade", []chunk{ask("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), answer("HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi"), ask("\x81\x03abc")}, nil,
		[]string{`GET /ws "" > 101 "" of 4`}},
	{"switch that nobody asked for", []chunk{ask("GET /a HTTP/1.1\r\n\r\nGET /b"), answer("HTTP/1.1 101 Switching Protocols\r\n\r\n"), ask("abc")}, nil,
		[]string{`  "" ! gap: the connection speaks another protocol`, `GET /a "" > 101 ""`}},
	{"upgrade refused", []chunk{ask("GET /ws HTTP/1.1\r\nUpgrade: h2c\r\n\r\nGET /b HTTP/1.1\r\n\r\n"), answer(ok), answer(ok), ask("GET /c HTTP/1.1\r\n\r\n"), answer(ok)}, nil,
		[]string{`GET /ws "" > 200 "ok"`, `GET /b "" > 200 "ok"`, `GET /c "" > 200 "ok"`}},
	{"connect", []chunk{ask("CONNECT x:443 HTTP/1.1\r\n\r\n"), answer("HTTP/1.1 200 Connection established\r\n\r\n"), ask("tls"), answer("tls!")}, nil,
		[]string{`CONNECT x:443 "" > 200 "" of 4`}},
	{"connect refused", []chunk{ask("CONNECT x:443 HTTP/1.1\r\n\r\n"), answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"), ask("GET /b HTTP/1.1\r\n\r\n"), answer(ok)}, nil,
		[]string{`CONNECT x:443 "" > 403 "no"`, `GET /b "" > 200 "ok"`}},
	{"malformed request, answered", []chunk{ask("GET /a HTTP/1.1\r\nno colon\r\n\r\nGET /b HTTP/1.1\r\n\r\n"), answer("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")}, nil,
		[]string{`GET /a "" > 400 "" ! malformed request: header line without a name and a colon`}},
	{"two lengths", []chunk{ask("POST /a HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")}, nil,
		[]string{`POST /a "" ! malformed request: Content-Length is no number or there are two`}},
	{"two equal lengths", []chunk{ask("POST /a HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3, 3\r\n\r\nabc"), answer(ok)}, nil, []string{`POST /a "abc" > 200 "ok"`}},
	{"length and chunked", []chunk{ask("POST /a HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"), answer(ok)}, nil, []string{`POST /a "a" > 200 "ok"`}},
	{"chunk size is no number", []chunk{ask("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), answer("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")}, nil,
		[]string{`POST /a "" > 400 "" ! malformed request: chunk size is no number`}},
	{"malformed response", []chunk{ask("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"), answer("HTTP/2 200\r\n\r\n")}, nil,
		[]string{`GET /a "" ! malformed response: start line is not HTTP/1.x`, `GET /b "" ! gap: the bytes after a malformed response`}},
	{"answer without a request", []chunk{answer("HTTP/1.1 408 Request Timeout\r\n\r\n"), ask("GET /a HTTP/1.1\r\n\r\n")}, nil, nil},
	{"answer too many", []chunk{ask("GET /a HTTP/1.1\r\n\r\n"), answer(ok + ok)}, nil, []string{`GET /a "" > 200 "ok"`}},
	{"empty connection", nil, nil, nil},
}

func TestDissect(t *testing.T) {
	for _, test := range dissections {
		t.Run(test.name, func(t *testing.T) {
			for _, n := range []int{1 << 20, 1, 2, 3, 7} {
				c := dissect(test.chunks, n, test.err)
				c.check(t)
				var got []string
				for _, x := range c.ended {
					got = append(got, line(x))
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Fatalf("in pieces of %d bytes (-want +got):\n%s", n, diff)
				}
			}
		})
	}
}

func TestDissectKeepsHeadersAsSent(t *testing.T) {
	c := dissect([]chunk{ask("GET /a?b=c HTTP/1.1\r\nhOST: Shop.example:80\r\nX-A: 1\r\nx-a:\t 2 \r\nX-Empty:\r\nX-Fold: a\r\n  b\r\n\r\n"), answer(ok)}, 1<<20, nil)
	x := c.ended[0]
	var got []string
	for _, f := range x.Request.Headers {
		got = append(got, fmt.Sprintf("%s=%s", f.Name, f.Value))
	}
	want := []string{"hOST=Shop.example:80", "X-A=1", "x-a=2", "X-Empty=", "X-Fold=a\r\n b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if x.Request.Host != "Shop.example:80" || x.Request.Target != "/a?b=c" || x.Request.Version != "HTTP/1.1" {
		t.Errorf("got host %q, target %q, version %q", x.Request.Host, x.Request.Target, x.Request.Version)
	}
	if x.Connection.Client != "127.0.0.1:5000" || x.Connection.Ordinal != 0 {
		t.Errorf("got connection %v", x.Connection)
	}
}

func TestDissectStreamsLongBodies(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 40_000) // 640 KB
	for _, n := range []int{1 << 20, 1000, 32 << 10} {
		c := dissect([]chunk{ask(fmt.Sprintf("PUT /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s", len(body), body)),
			answer("HTTP/1.1 200 OK\r\n\r\n" + string(body))}, n, nil)
		x := c.ended[0]
		for side, b := range map[events.Side]*events.Body{events.Side_REQUEST: x.Request.Body, events.Side_RESPONSE: x.Response.Body} {
			whole := append(bytes.Clone(b.Data), c.parts[fmt.Sprint(events.ID(x.Id), side)]...)
			if !bytes.Equal(whole, body) || len(b.Data) != events.BodyInline {
				t.Errorf("%s in pieces of %d: got %d bytes with %d inline, want %d with %d", side, n, len(whole), len(b.Data), len(body), events.BodyInline)
			}
			if b.Size != int64(len(body)) || b.Kept != b.Size {
				t.Errorf("%s: size %d, kept %d, want %d", side, b.Size, b.Kept, len(body))
			}
		}
	}
}

func TestDissectTimes(t *testing.T) {
	c := newCollector()
	d := (&Protocol{}).NewDissector(&events.Connection{}, events.Direction_OUTBOUND, c)
	at := func(ms int) time.Time { return time.Unix(100, 0).Add(time.Duration(ms) * time.Millisecond) }
	d.Data(events.Side_REQUEST, at(0), []byte("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na"))
	d.Data(events.Side_REQUEST, at(5), []byte("b"))
	d.Data(events.Side_RESPONSE, at(9), []byte("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"))
	d.Data(events.Side_RESPONSE, at(12), []byte("x"))
	x := c.ended[0]
	got := []int64{x.Request.FirstByte, x.Request.LastByte, x.Response.FirstByte, x.Response.LastByte}
	want := []int64{at(0).UnixNano(), at(5).UnixNano(), at(9).UnixNano(), at(12).UnixNano()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
}

func TestDissectGap(t *testing.T) {
	c := newCollector()
	d := (&Protocol{}).NewDissector(&events.Connection{}, events.Direction_INBOUND, c)
	now := time.Unix(1, 0)
	feed := func(side events.Side, s string) { d.Data(side, now, []byte(s)) }
	// A gap inside a body of known length costs that exchange only.
	feed(events.Side_REQUEST, "PUT /a HTTP/1.1\r\nContent-Length: 10\r\n\r\n012")
	d.Gap(events.Side_REQUEST, 4)
	feed(events.Side_REQUEST, "789")
	feed(events.Side_RESPONSE, ok)
	feed(events.Side_REQUEST, "GET /b HTTP/1.1\r\n\r\n")
	feed(events.Side_RESPONSE, ok)
	// Anywhere else the place is lost until a request begins a read.
	feed(events.Side_REQUEST, "GET /c HTTP/1.1\r\n\r\n")
	d.Gap(events.Side_RESPONSE, 40)
	feed(events.Side_RESPONSE, "rest of it")
	feed(events.Side_REQUEST, "GET /d HTTP/1.1\r\n\r\n")
	feed(events.Side_RESPONSE, "stale")
	feed(events.Side_RESPONSE, ok)
	d.Close(events.Side_REQUEST, now, nil)
	d.Close(events.Side_RESPONSE, now, nil)
	c.check(t)
	var got []string
	for _, x := range c.ended {
		got = append(got, line(x))
	}
	if diff := cmp.Diff([]string{`GET /b "" > 200 "ok"`, `GET /d "" > 200 "ok"`}, got); diff != "" {
		t.Errorf("exchanges (-want +got):\n%s", diff)
	}
	if c.dropped[wire.DropPressure] != 2 {
		t.Errorf("dropped %v, want 2 by pressure", c.dropped)
	}
}

func TestDissectBoundsWhatItHolds(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	for name, chunks := range map[string][]chunk{
		"endless head":       {ask("GET / HTTP/1.1\r\nX: " + long)},
		"endless trailers":   {ask("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + long)},
		"endless chunk size": {ask("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + long)},
		"endless upgrade":    {ask("GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n" + long)},
		"endless pipeline":   {ask(strings.Repeat("GET / HTTP/1.1\r\n\r\n", 1000))},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1 << 20, 1000} {
				c := dissect(chunks, n, io.ErrUnexpectedEOF)
				c.check(t)
				if len(c.ended) == 0 || c.ended[0].Failure == "" {
					t.Errorf("got %d exchanges, want one with a failure", len(c.ended))
				}
			}
		})
	}
}

// FuzzDissect: whatever comes, no panic, every exchange that begins ends, and
// however the bytes are split, the exchanges are the same. Input is a script:
// 0x00 begins bytes of the client, 0x01 of the server.
func FuzzDissect(f *testing.F) {
	for _, test := range dissections {
		var script []byte
		for _, c := range test.chunks {
			script = append(script, byte(c.side-1))
			script = append(script, c.data...)
		}
		f.Add(script, 3)
	}
	f.Fuzz(func(t *testing.T, script []byte, n int) {
		var chunks []chunk
		for i, side := 0, events.Side_REQUEST; i < len(script); {
			if script[i] < 2 {
				side = events.Side(script[i] + 1)
				i++
			}
			j := i
			for j < len(script) && script[j] > 1 {
				j++
			}
			chunks = append(chunks, chunk{side, string(script[i:j])})
			i = j
		}
		whole := dissect(chunks, 1<<20, nil)
		whole.check(t)
		pieces := dissect(chunks, max(n%17, 1), nil)
		pieces.check(t)
		if diff := cmp.Diff(whole.ended, pieces.ended, protocmp.Transform()); diff != "" {
			t.Errorf("pieces of %d bytes make a difference (-whole +pieces):\n%s", max(n%17, 1), diff)
		}
		for _, x := range whole.ended {
			(&Protocol{}).Describe(x)
			(&Protocol{}).Signature(x)
		}
	})
}
