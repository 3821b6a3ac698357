package http1_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// serve runs a server on loopback until the test ends.
func serve(t *testing.T, s *http1.Server, answer wire.Answer) (address string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, answer) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Second):
			return errors.New("server did not stop")
		}
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return l.Addr().String(), stop
}

func field(line string) *events.Field {
	name, value, _ := strings.Cut(line, ": ")
	return &events.Field{Name: []byte(name), Value: []byte(value)}
}

func fields(lines ...string) []*events.Field {
	var fs []*events.Field
	for _, l := range lines {
		fs = append(fs, field(l))
	}
	return fs
}

func body(text string) *events.Body {
	return &events.Body{Data: []byte(text), Size: int64(len(text)), Kept: int64(len(text))}
}

func respond(status, text string, lines ...string) *events.Response {
	return &events.Response{Status: status, Reason: http.StatusText(atoi(status)), Headers: fields(lines...), Body: body(text)}
}

func atoi(s string) (n int) {
	fmt.Sscan(s, &n)
	return n
}

// talk sends bytes and returns all that comes until the server closes or is
// silent after the last expected byte.
func talk(t *testing.T, address, send string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("read after %q: %v", got, err)
	}
	return string(got)
}

// Bytes in, bytes out: the exact wire form of the answers.
func TestServerFraming(t *testing.T) {
	const last = "GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	const end = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nend"
	address, _ := serve(t, &http1.Server{MaxBody: 1000}, func(_ context.Context, x *events.Exchange) *events.Response {
		switch x.Request.Target {
		case "/end":
			return respond("200", "end", "Content-Length: 3")
		case "/case":
			return respond("200", "hello", "x-B: 2", "X-a: 1", "x-B: 3", "content-LENGTH: 999")
		case "/chunked":
			r := respond("200", "hello", "Transfer-Encoding: chunked", "Trailer: X-Sum")
			r.Trailers = fields("X-Sum: 5")
			return r
		case "/204":
			return respond("204", "", "Content-Length: 0", "X: y")
		case "/304":
			return respond("304", "", "Content-Length: 77", "ETag: x")
		case "/noframe":
			return respond("200", "until close", "X: y")
		case "/empty":
			return respond("200", "")
		case "/inject":
			return respond("200", "", "X: a\r\nSet-Cookie: b")
		case "/reason":
			return &events.Response{Status: "200"}
		case "/gone":
			return nil
		case "/close":
			return respond("200", "x", "Connection: close")
		}
		text := x.Request.Method + " " + string(x.Request.Body.Data)
		for _, f := range x.Request.Trailers {
			text += fmt.Sprintf(" %s=%s", f.Name, f.Value)
		}
		return respond("200", text, "Content-Length: 1")
	})
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }
	for _, tt := range []struct{ name, send, want string }{
		{"order, case and duplicates stay; the length is the real one", get("/case") + last,
			"HTTP/1.1 200 OK\r\nx-B: 2\r\nX-a: 1\r\nx-B: 3\r\ncontent-LENGTH: 5\r\n\r\nhello" + end},
		{"chunks and trailers", get("/chunked") + last,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n" + end},
		{"no chunks for HTTP/1.0", "GET /chunked HTTP/1.0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"HTTP/1.0 keeps alive when asked", "GET /case HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /end HTTP/1.0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nx-B: 2\r\nX-a: 1\r\nx-B: 3\r\ncontent-LENGTH: 5\r\nConnection: keep-alive\r\n\r\nhello" + end},
		{"HEAD has the recorded length and no body", "HEAD /case HTTP/1.1\r\nHost: a\r\n\r\n" + last,
			"HTTP/1.1 200 OK\r\nx-B: 2\r\nX-a: 1\r\nx-B: 3\r\ncontent-LENGTH: 999\r\n\r\n" + end},
		{"204 has no length", get("/204") + last, "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n" + end},
		{"304 keeps the length of what it speaks of", get("/304") + last,
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: x\r\n\r\n" + end},
		{"recorded until close gets a length", get("/noframe") + last,
			"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 11\r\n\r\nuntil close" + end},
		{"an empty body has a length", get("/empty") + last, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + end},
		{"a line break in a value stays in it", get("/inject") + last,
			"HTTP/1.1 200 OK\r\nX: a  Set-Cookie: b\r\nContent-Length: 0\r\n\r\n" + end},
		{"no reason", get("/reason") + last, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n" + end},
		{"no answer closes", get("/case") + get("/gone") + last,
			"HTTP/1.1 200 OK\r\nx-B: 2\r\nX-a: 1\r\nx-B: 3\r\ncontent-LENGTH: 5\r\n\r\nhello"},
		{"a recorded close closes", get("/close") + last,
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"},
		{"a chunked request", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n" + last,
			"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nPOST abcde T=v" + end},
		{"a pipelined pair", "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiPOST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n" + last,
			"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nPOST hiHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nPOST " + end},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := talk(t, address, tt.send)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServerRefuses(t *testing.T) {
	address, _ := serve(t, &http1.Server{MaxBody: 1000, MaxHead: 2000}, func(context.Context, *events.Exchange) *events.Response {
		t.Error("a bad request was answered")
		return nil
	})
	for _, tt := range []struct{ name, send, status string }{
		{"no request line", "hello\r\n\r\n", "400"},
		{"a space in a name", "GET / HTTP/1.1\r\nA b: c\r\n\r\n", "400"},
		{"a space before the colon", "GET / HTTP/1.1\r\nHost : c\r\n\r\n", "400"},
		{"two framings", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", "400"},
		{"two lengths", "POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 3\r\n\r\n", "400"},
		{"a bad length", "POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\n", "400"},
		{"a bad chunk", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "400"},
		{"a long chunk", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n", "400"},
		{"an unknown coding", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "501"},
		{"a large body", "POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", "413"},
		{"a large chunk", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n", "413"},
		{"a large body after 100-continue", "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n", "413"},
		{"a large head", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 2000) + "\r\n\r\n", "431"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := talk(t, address, tt.send)
			if !strings.HasPrefix(got, "HTTP/1.1 "+tt.status+" ") || !strings.Contains(got, "Connection: close") {
				t.Errorf("got %q, want status %s and the connection closed", got, tt.status)
			}
		})
	}
}

func TestServerContinues(t *testing.T) {
	address, _ := serve(t, &http1.Server{}, func(_ context.Context, x *events.Exchange) *events.Response {
		return respond("200", string(x.Request.Body.Data), "Content-Length: 1")
	})
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	r := bufio.NewReader(c)
	if line, _ := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("before the body: %q", line)
	}
	r.ReadString('\n')
	io.WriteString(c, "body")
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got, _ := io.ReadAll(response.Body); string(got) != "body" {
		t.Errorf("answer %q, want the body", got)
	}
}

// Answers under way are given, idle connections are closed, new ones refused.
func TestServerDrains(t *testing.T) {
	began, finish := make(chan bool), make(chan bool)
	address, stop := serve(t, &http1.Server{}, func(_ context.Context, x *events.Exchange) *events.Response {
		close(began)
		<-finish
		return respond("200", "done", "Content-Length: 4")
	})
	idle, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	answered := make(chan string)
	go func() { answered <- talk(t, address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") }()
	<-began
	stopped := make(chan error)
	go func() { stopped <- stop() }()
	idle.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("idle connection: %v, want it closed", err)
	}
	close(finish)
	if got := <-answered; !strings.HasSuffix(got, "Connection: close\r\n\r\ndone") {
		t.Errorf("answer while draining: %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestServerCutsAtDrainTimeout(t *testing.T) {
	began := make(chan bool)
	address, stop := serve(t, &http1.Server{DrainTimeout: 10 * time.Millisecond}, func(ctx context.Context, x *events.Exchange) *events.Response {
		close(began)
		<-ctx.Done()
		return nil
	})
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-began
	if err := stop(); err != nil {
		t.Error(err)
	}
}
