package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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

// TestAResetIsPassedOnWhicheverDirectionHearsOfIt: an answer that is written
// to a client which has just reset its connection takes the error from the
// read that waits there.
func TestAResetIsPassedOnWhicheverDirectionHearsOfIt(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := start(t, Config{Inbound: []string{"0=" + l.Addr().String()}}, Deps{})
	for range 300 {
		client, err := net.Dial("tcp", c.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		origin, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		origin.SetDeadline(time.Now().Add(10 * time.Second))
		client.(*net.TCPConn).SetLinger(0)
		io.WriteString(origin, "an answer")
		client.Close()
		if _, err := origin.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Fatalf("the client resets, the origin sees %v", err)
		}
		origin.Close()
	}
}
