package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// watched is a listener that keeps what its connections were sent.
type watched struct {
	net.Listener
	mu   sync.Mutex
	seen []*watchedConn
	live atomic.Int32 // connections that have not been read to their end
}

type watchedConn struct {
	net.Conn
	of   *watched
	once sync.Once
	mu   sync.Mutex
	read bytes.Buffer
}

func (l *watched) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w := &watchedConn{Conn: c, of: l}
	l.live.Add(1)
	l.mu.Lock()
	l.seen = append(l.seen, w)
	l.mu.Unlock()
	return w, nil
}

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	c.read.Write(b[:n])
	c.mu.Unlock()
	if err != nil {
		c.ended()
	}
	return n, err
}

func (c *watchedConn) Close() error {
	err := c.Conn.Close()
	c.ended()
	return err
}

func (c *watchedConn) ended() { c.once.Do(func() { c.of.live.Add(-1) }) }

// take is what connections were sent since the last take, once they have ended.
func (l *watched) take(t *testing.T) string {
	t.Helper()
	eventually(t, "origin's connections end", func() bool { return l.live.Load() == 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, c := range l.seen {
		c.mu.Lock()
		all = append(all, c.read.String())
		c.mu.Unlock()
	}
	l.seen = nil
	return strings.Join(all, "|")
}

func listenWatched(t *testing.T) *watched {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &watched{Listener: l}
}

// outcome is what a client and the origin have seen.
type outcome struct {
	Client string // bytes
	End    string // "EOF", "reset", …
	Origin string // bytes
}

// talk sends pieces and reads to the end.
func talk(t *testing.T, address string, pieces []string, halfClose bool) outcome {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			break // the answer says why
		}
	}
	if halfClose {
		c.(*net.TCPConn).CloseWrite()
	}
	got, err := io.ReadAll(c)
	out := outcome{Client: string(got), End: "EOF"}
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		out.End = "reset"
	case err != nil:
		out.End = err.Error()
	}
	return out
}

// rawRequests are what clients send, well-formed or not. Each ends with the
// server closing, or with the client's half-close.
var rawRequests = []struct {
	name      string
	pieces    []string
	halfClose bool
}{
	{"get", []string{"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}, false},
	{"http/1.0", []string{"GET /a HTTP/1.0\r\n\r\n"}, false},
	{"http/1.0 keep-alive", []string{"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n"}, false},
	{"post", []string{"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"}, false},
	{"post in pieces", []string{"PO", "ST /a HTTP/1.1\r", "\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r", "\nhe", "llo"}, false},
	{"chunked with trailers", []string{"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"}, false},
	{"pipelined", []string{"GET /a HTTP/1.1\r\nHost: x\r\n\r\nHEAD /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}, false},
	{"continue", []string{"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n", "ok"}, false},
	{"unknown expectation", []string{"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: magic\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"}, false},
	{"absolute form", []string{"GET http://x/a?b HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n"}, false},
	{"odd query", []string{"GET /a?x=1;y=%zz&&=;#f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}, false},
	{"not modified", []string{"GET /304 HTTP/1.1\r\nHost: x\r\n\r\nGET /204 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}, false},
	{"options star", []string{"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}, false},
	{"header case and duplicates", []string{"GET /a HTTP/1.1\r\nhOsT: x\r\nx-A: 1\r\nX-a:2\r\nX-A:\t 3 \r\nConnection: close\r\n\r\n"}, false},
	{"no host", []string{"GET /a HTTP/1.1\r\n\r\n"}, false},
	{"two hosts", []string{"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"}, false},
	{"bare line feeds", []string{"GET /a HTTP/1.1\nHost: x\nConnection: close\n\n"}, false},
	{"folded header", []string{"GET /a HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\nConnection: close\r\n\r\n"}, false},
	{"blank before colon", []string{"GET /a HTTP/1.1\r\nHost : x\r\nConnection: close\r\n\r\n"}, false},
	{"length and chunked", []string{"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\nX"}, true},
	{"chunked and length", []string{"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\nConnection: close\r\n\r\n0\r\n\r\nX"}, true},
	{"two lengths", []string{"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"}, false},
	{"two equal lengths", []string{"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"}, false},
	{"signed length", []string{"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\nab"}, false},
	{"list of lengths", []string{"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\n\r\nab"}, false},
	{"coding xchunked", []string{"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"}, false},
	{"coding with blanks", []string{"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"}, false},
	{"chunk size garbage", []string{"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nxyz\r\n"}, true},
	{"chunk too long", []string{"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nabc\r\n0\r\n\r\n"}, true},
	{"cut body", []string{"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"}, true},
	{"cut head", []string{"POST /a HTTP/1.1\r\nHos"}, true},
	{"no version", []string{"GET /a\r\n\r\n"}, false},
	{"version 2", []string{"GET /a HTTP/2.0\r\nHost: x\r\n\r\n"}, false},
	{"h2 preface", []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, false},
	{"control bytes", []string{"GET /a HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n"}, false},
	{"header without colon", []string{"GET /a HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n"}, false},
	{"not http at all", []string{"\x16\x03\x01\x02\x00\x01\x00hello"}, true},
	{"nothing", nil, true},
	{"blank lines first", []string{"\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}, false},
	{"bytes after close", []string{"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET /b HTTP/1.1\r\n\r\n"}, true},
}

// TestRelayIsTransparentToAServer sends each request to net/http, directly and
// through us: client and server see the same bytes.
func TestRelayIsTransparentToAServer(t *testing.T) {
	origin := listenWatched(t)
	app := &httptest.Server{Listener: origin, Config: &http.Server{Handler: http.HandlerFunc(answerPlainly), ErrorLog: nil}}
	app.Config.ErrorLog = quietStdLog()
	app.Start()
	defer app.Close()
	direct := origin.Addr().String()
	c := start(t, Config{Inbound: []string{"0=" + direct}}, Deps{})
	for _, test := range rawRequests {
		t.Run(test.name, func(t *testing.T) {
			want := talk(t, direct, test.pieces, test.halfClose)
			want.Origin = origin.take(t)
			got := talk(t, c.Addrs()[0].String(), test.pieces, test.halfClose)
			got.Origin = origin.take(t)
			// What a server that closes early has not read is timing, not
			// the relay: bytes it did read must be the same.
			n := min(len(want.Origin), len(got.Origin))
			want.Origin, got.Origin = want.Origin[:n], got.Origin[:n]
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-direct +relayed):\n%s", diff)
			}
		})
	}
}

func answerPlainly(w http.ResponseWriter, r *http.Request) {
	w.Header()["Date"] = nil // the one header that differs from run to run
	switch r.URL.Path {
	case "/204":
		w.WriteHeader(204)
		return
	case "/304":
		w.Header().Set("ETag", `"1"`)
		w.WriteHeader(304)
		return
	}
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s %q %v %v %v\n", r.Method, r.RequestURI, r.Host, body, err != nil, r.Header, r.Trailer)
}

// TestRelayIsTransparentToASocket does the same with an origin that says what
// it was sent, whatever it was, and with origins that misbehave.
func TestRelayIsTransparentToASocket(t *testing.T) {
	for _, origin := range []struct {
		name  string
		serve func(io.Reader, *net.TCPConn)
	}{
		{"reads to the end, then answers", func(r io.Reader, c *net.TCPConn) {
			b, _ := io.ReadAll(r)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
			c.Close()
		}},
		{"answers at once, then reads", func(r io.Reader, c *net.TCPConn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			c.CloseWrite()
			io.Copy(io.Discard, r)
			c.Close()
		}},
		{"speaks first", func(r io.Reader, c *net.TCPConn) {
			io.WriteString(c, "220 ready\r\n")
			io.Copy(io.Discard, r)
			c.Close()
		}},
		{"answers nonsense", func(r io.Reader, c *net.TCPConn) {
			io.Copy(io.Discard, r)
			io.WriteString(c, "HTTP/1.1 2xx \x00\r\n\r\n\r\nHTTP/9")
			c.Close()
		}},
		{"resets", func(r io.Reader, c *net.TCPConn) {
			io.Copy(io.Discard, r)
			c.SetLinger(0)
			c.Close()
		}},
		{"cuts its answer", func(r io.Reader, c *net.TCPConn) {
			io.Copy(io.Discard, r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok")
			c.Close()
		}},
	} {
		t.Run(origin.name, func(t *testing.T) {
			l := listenWatched(t)
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go origin.serve(c, c.(*watchedConn).Conn.(*net.TCPConn))
				}
			}()
			c := start(t, Config{Inbound: []string{"0=" + l.Addr().String()}}, Deps{})
			for _, test := range rawRequests {
				want := talk(t, l.Addr().String(), test.pieces, true)
				want.Origin = l.take(t)
				got := talk(t, c.Addrs()[0].String(), test.pieces, true)
				got.Origin = l.take(t)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-direct +relayed):\n%s", test.name, diff)
				}
			}
		})
	}
}

func TestRelayOfLargeStreamsBothWays(t *testing.T) {
	l := listenWatched(t)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 256<<10) // 4 MiB each way at once
	origin := make(chan struct{})
	go func() {
		defer close(origin)
		c, err := l.Accept()
		if err != nil {
			return
		}
		tcp := c.(*watchedConn).Conn.(*net.TCPConn)
		var wg sync.WaitGroup
		wg.Go(func() { tcp.Write(payload); tcp.CloseWrite() })
		got, _ := io.ReadAll(tcp)
		wg.Wait()
		if !bytes.Equal(got, payload) {
			t.Errorf("origin got %d bytes, want %d", len(got), len(payload))
		}
		tcp.Close()
	}()
	c := start(t, Config{Inbound: []string{"0=" + l.Addr().String()}}, Deps{})
	conn, err := net.Dial("tcp", c.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { conn.Write(payload); conn.(*net.TCPConn).CloseWrite() }()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, payload) {
		t.Errorf("client got %d bytes, %v, want %d", len(got), err, len(payload))
	}
	<-origin // it may still be reading what the client sent
}

func TestRefusedUpstreamIsAResetAndAFailedExchange(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	_, js := natstest.New(t)
	c := start(t, Config{Inbound: []string{"0=" + nobody}}, Deps{JS: js})
	conn, err := net.Dial("tcp", c.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /orders/1 HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("client sees %v, want a reset", err)
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 {
		t.Fatalf("recorded %d exchanges, want 1", len(out.rows))
	}
	if r, x := out.rows[0], out.exchanges[0]; r.Class != events.StatusClass_FAILED || r.Template != "/orders/{id}" || x.Failure != "no answer: refused" {
		t.Errorf("recorded %s %s, failure %q", r.Class, r.Template, x.Failure)
	}
}
