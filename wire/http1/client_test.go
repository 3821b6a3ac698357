package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/wire/http1"
)

func recorded(method, target, text string, lines ...string) *events.Exchange {
	return &events.Exchange{Direction: events.Direction_INBOUND, Request: &events.Request{
		Method: method, Target: target, Version: "HTTP/1.1", Headers: fields(lines...), Body: body(text),
	}}
}

func pool(t *testing.T, target string) *http1.Pool {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &http1.Pool{Target: u, Timeout: 10 * time.Second}
	t.Cleanup(func() { p.Close() })
	return p
}

func do(t *testing.T, c *http1.Client, x *events.Exchange) *events.Exchange {
	t.Helper()
	got, err := c.Do(t.Context(), x)
	if err != nil {
		t.Fatalf("do %s: %v", x.Request.Target, err)
	}
	return got
}

// script is a target that answers each connection with what handle writes.
func script(t *testing.T, handle func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(20 * time.Second))
			handle(c, bufio.NewReader(c))
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

// The bytes that reach the target are those that were recorded.
func TestClientSendsWhatWasRecorded(t *testing.T) {
	for _, tt := range []struct {
		name string
		x    *events.Exchange
		want string
	}{
		{"order, case, duplicates, host",
			recorded("GET", "/a?b=%20c#d", "", "hOST: recorded.example:8080", "b: 2", "A: 1", "b: 1", "Empty: "),
			"GET /a?b=%20c#d HTTP/1.1\r\nhOST: recorded.example:8080\r\nb: 2\r\nA: 1\r\nb: 1\r\nEmpty: \r\n\r\n"},
		{"a body by its length", recorded("POST", "/", "hello", "content-length: 99", "X: y"),
			"POST / HTTP/1.1\r\ncontent-length: 5\r\nX: y\r\n\r\nhello"},
		{"a declared empty body", recorded("POST", "/", "", "Content-Length: 0"), "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"},
		{"an absolute target goes to its origin", recorded("GET", "http://other:80/p?q", "", "Host: other"), "GET /p?q HTTP/1.1\r\nHost: other\r\n\r\n"},
		{"an absolute target without a path", recorded("GET", "http://other?q", "", "Host: other"), "GET /?q HTTP/1.1\r\nHost: other\r\n\r\n"},
		{"chunks", recorded("PUT", "/", "hello", "Transfer-Encoding: chunked"), "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan string, 1)
			target := script(t, func(c net.Conn, r *bufio.Reader) {
				b := make([]byte, len(tt.want))
				io.ReadFull(r, b)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				got <- string(b)
			})
			x := do(t, pool(t, target).Client(), tt.x)
			if x.Failure != "" {
				t.Errorf("failure %q", x.Failure)
			}
			if diff := cmp.Diff(tt.want, <-got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// What was recorded over HTTP/2 has its host beside its headers.
func TestClientSendsWhatCameOverHTTP2(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Proto, r.Host, r.Header.Get("x-a"), b)
	}))
	defer target.Close()
	x := recorded("POST", "/a", "text", "x-a: 1")
	x.Request.Version, x.Request.Host = "HTTP/2.0", "shop.example"
	got := do(t, pool(t, target.URL).Client(), x)
	if text := string(got.GetResponse().GetBody().GetData()); text != "HTTP/1.1 shop.example 1 text" || got.Failure != "" {
		t.Errorf("target sees %q, failure %q", text, got.Failure)
	}
}

func TestClientReadsAnswers(t *testing.T) {
	answer := ""
	for _, tt := range []struct{ name, method, answer, status, body, failure string }{
		{"a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200", "hi", ""},
		{"chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", "200", "hi", ""},
		{"until close", "GET", "HTTP/1.0 200 OK\r\n\r\nhi", "200", "hi", ""},
		{"no body for HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "200", "", ""},
		{"no body with 304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "304", "", ""},
		{"interim answers", "GET", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "204", "", ""},
		{"cut in the body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", "200", "hi", "closed before the answer was complete"},
		{"cut in the head", "GET", "HTTP/1.1 200 OK\r\nConte", "", "", "closed before the answer was complete"},
		{"nothing", "POST", "", "", "", "closed before the answer was complete"},
		{"no HTTP", "GET", "SSH-2.0-OpenSSH\r\n\r\n", "", "", "malformed answer: start line is not HTTP/1.x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer = tt.answer
			target := script(t, func(c net.Conn, r *bufio.Reader) {
				http.ReadRequest(r)
				io.WriteString(c, answer)
			})
			x := do(t, pool(t, target).Client(), recorded(tt.method, "/", "", "Host: a"))
			if x.Failure != tt.failure {
				t.Errorf("failure %q, want %q", x.Failure, tt.failure)
			}
			if got := x.Response.GetStatus(); got != tt.status {
				t.Errorf("status %q, want %q", got, tt.status)
			}
			if got := x.Response.GetBody(); string(got.GetData()) != tt.body || got.GetKept() != int64(len(tt.body)) || got.GetSize() != got.GetKept() {
				t.Errorf("body %v, want %q", got, tt.body)
			}
			checkTimes(t, x)
		})
	}
}

func checkTimes(t *testing.T, x *events.Exchange) {
	t.Helper()
	r := x.Request
	if r.FirstByte == 0 || r.LastByte < r.FirstByte {
		t.Errorf("request times %d to %d", r.FirstByte, r.LastByte)
	}
	if p := x.Response; p != nil && (p.FirstByte < r.FirstByte || p.LastByte < p.FirstByte) {
		t.Errorf("response times %d to %d after %d", p.FirstByte, p.LastByte, r.FirstByte)
	}
}

// Bodies of all sizes, both framings, both ways, through a server that this
// repo did not write, over TLS and plain.
func TestClientBodies(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Write(b)
	})
	plain, secure := httptest.NewServer(echo), httptest.NewTLSServer(echo)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	for _, server := range []*httptest.Server{plain, secure} {
		p := pool(t, server.URL)
		if server.Certificate() != nil {
			p.TLS = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		}
		c := p.Client()
		for _, size := range []int{0, 1, 4096, 64 << 10, 64<<10 + 1, 1 << 20, 20 << 20} {
			for _, framing := range []string{"Content-Length: 0", "Transfer-Encoding: chunked", "Expect: 100-continue"} {
				b := make([]byte, size)
				rand.Read(b)
				x := do(t, c, recorded("POST", "/", string(b), "Host: a", framing))
				if x.Failure != "" || !bytes.Equal(x.Response.Body.Data, b) {
					t.Errorf("%s, %d bytes, %s: failure %q, %d bytes back", p.Target.Scheme, size, framing, x.Failure, len(x.Response.GetBody().GetData()))
				}
				checkTimes(t, x)
				if (x.Connection.Tls != nil) != (p.Target.Scheme == "https") {
					t.Errorf("tls facts %v", x.Connection.Tls)
				}
			}
		}
	}
}

// A target may answer, and close, before it has read a large body.
func TestClientEarlyAnswer(t *testing.T) {
	target := script(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		io.CopyN(io.Discard, r, 1<<20) // not all of it
	})
	x := do(t, pool(t, target).Client(), recorded("POST", "/", strings.Repeat("x", 20<<20), "Host: a", "Content-Length: 1"))
	if x.Response.GetStatus() != "413" {
		t.Errorf("status %q failure %q, want 413", x.Response.GetStatus(), x.Failure)
	}
}

func TestPoolKeepsConnections(t *testing.T) {
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/close" {
			w.Header().Set("Connection", "close")
		}
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	p := pool(t, server.URL)
	p.Max = 2
	a, b, c := p.Client(), p.Client(), p.Client()
	get := func(c *http1.Client, path string) events.ID {
		x := do(t, c, recorded("GET", path, "", "Host: a"))
		if x.Failure != "" {
			t.Errorf("failure %q", x.Failure)
		}
		return events.ID(x.Connection.Id)
	}
	idA, idB := get(a, "/"), get(b, "/")
	if idA == idB {
		t.Error("two sessions share a connection while there are enough")
	}
	if get(a, "/") != idA || get(b, "/") != idB {
		t.Error("a session lost its connection")
	}
	if got := get(c, "/"); got != idA {
		t.Error("a third session did not get the longest idle connection")
	}
	b.Close()
	if got := get(a, "/"); got != idB {
		t.Error("a session that ended kept its connection from others")
	}
	get(a, "/close")
	get(a, "/")
	if got := opened.Load(); got != 3 {
		t.Errorf("opened %d connections, want 3", got)
	}
	server.CloseClientConnections()
	get(a, "/") // a closed connection is noticed, not a failure
	get(c, "/")
}

// Many sessions share a few connections, and none waits for ever.
func TestPoolBoundsConnections(t *testing.T) {
	var now, most atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		io.Copy(w, r.Body)
		now.Add(-1)
	}))
	var open, mostOpen atomic.Int32
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			if n := open.Add(1); n > mostOpen.Load() {
				mostOpen.Store(n)
			}
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	p := pool(t, server.URL)
	p.Max = 4
	var sessions sync.WaitGroup
	for n := range 40 {
		sessions.Go(func() {
			c := p.Client()
			defer c.Close()
			for i := range 10 {
				text := fmt.Sprint("session ", n, " request ", i)
				got, err := c.Do(t.Context(), recorded("POST", "/", text, "Host: a", "Content-Length: 0"))
				if err != nil || string(got.Response.GetBody().GetData()) != text {
					t.Errorf("%v, answer %v %s, want %s", err, got.GetFailure(), got.Response.GetBody(), text)
				}
			}
		})
	}
	sessions.Wait()
	if most.Load() > 4 || mostOpen.Load() > 4 {
		t.Errorf("%d requests at once on %d connections, want 4", most.Load(), mostOpen.Load())
	}
}

func TestClientFailures(t *testing.T) {
	silent := script(t, func(c net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	p := pool(t, silent)
	p.Timeout = 20 * time.Millisecond
	if x := do(t, p.Client(), recorded("GET", "/", "")); x.Failure != "timeout" {
		t.Errorf("silent target: %q, want timeout", x.Failure)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p = pool(t, silent)
	time.AfterFunc(20*time.Millisecond, cancel)
	x, err := p.Client().Do(ctx, recorded("GET", "/", ""))
	if err != nil || x.Failure != "cancelled" {
		t.Errorf("cancelled: %v %v", x.GetFailure(), err)
	}

	l, _ := net.Listen("tcp", "127.0.0.1:0")
	l.Close()
	if x := do(t, pool(t, "http://"+l.Addr().String()).Client(), recorded("GET", "/", "")); x.Failure != "refused" {
		t.Errorf("nobody listens: %q, want refused", x.Failure)
	}

	p = pool(t, silent)
	p.Control = func(network, address string, _ syscall.RawConn) error {
		return fmt.Errorf("%w: %s", http1.ErrRefused, address)
	}
	if _, err := p.Client().Do(t.Context(), recorded("GET", "/", "")); err == nil || !strings.Contains(err.Error(), "target refused: 127.0.0.1:") {
		t.Errorf("refused target: %v", err)
	}

	truncated := recorded("POST", "/", "abc")
	truncated.Request.Body.Size = 10
	if _, err := pool(t, silent).Client().Do(t.Context(), truncated); err == nil || !strings.Contains(err.Error(), "body is not whole: 3 of 10 bytes are there") {
		t.Errorf("truncated body: %v", err)
	}

	p = pool(t, strings.Replace(silent, "http:", "https:", 1))
	p.TLS = &tls.Config{}
	p.Timeout = 50 * time.Millisecond
	if x := do(t, p.Client(), recorded("GET", "/", "")); x.Failure != "timeout" {
		t.Errorf("no TLS at the target: %q", x.Failure)
	}
}
