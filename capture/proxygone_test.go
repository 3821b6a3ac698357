package capture

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// quietStream sends one event, and then nothing until its client is gone.
func quietStream(t *testing.T) (app *httptest.Server, gone chan string) {
	gone = make(chan string, 8)
	app = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: first\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		gone <- r.URL.Path
	}))
	t.Cleanup(app.Close)
	return app, gone
}

// TestClientLeavesAQuietStream: an upstream that has nothing to say learns
// through the HTTP proxy that its client is gone, as it would without us.
func TestClientLeavesAQuietStream(t *testing.T) {
	app, gone := quietStream(t)
	_, js := natstest.New(t)
	c := start(t, Config{Outbound: []string{"0"}}, Deps{JS: js})
	for _, as := range []struct {
		name  string
		body  string
		leave func(*net.TCPConn) error
	}{
		{"closes", "", (*net.TCPConn).Close},
		{"closes-after-a-body", "hello", (*net.TCPConn).Close},
		{"half-closes", "", (*net.TCPConn).CloseWrite},
		{"resets", "", func(c *net.TCPConn) error { c.SetLinger(0); return c.Close() }},
	} {
		conn, err := net.Dial("tcp", c.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST http://%s/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", address(app), as.name, len(as.body), as.body)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		r := bufio.NewReader(conn)
		for line := ""; line != "data: first\n"; {
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if err := as.leave(conn.(*net.TCPConn)); err != nil {
			t.Fatal(err)
		}
		select {
		case path := <-gone:
			if path != "/"+as.name {
				t.Errorf("%s has ended, want %s", path, as.name)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the upstream does not notice", as.name)
		}
	}
	c.stop()
	ok := 0
	for _, tape := range tapesOf(t, js) {
		for _, e := range tape.Index.Entries {
			if e.Kind == events.Kind_EXCHANGE && e.Class == events.StatusClass_OK {
				ok++
			}
		}
	}
	if counts := c.Counts(); ok != 4 || counts.Taped != 4 {
		t.Errorf("%d exchanges are recorded as ok, want 4; %+v", ok, counts)
	}
}

// TestHTTPProxyAnswersWhoSendsNoMore: requests that come while one before is
// answered for long are answered in turn, to a client that has half-closed.
func TestHTTPProxyAnswersWhoSendsNoMore(t *testing.T) {
	began, finish := make(chan bool, 1), make(chan bool)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/0" {
			began <- true
			<-finish
		}
		fmt.Fprintf(w, "%s;", r.URL.Path)
	}))
	defer app.Close()
	c := start(t, Config{Outbound: []string{"0"}}, Deps{})
	conn, err := net.Dial("tcp", c.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func(i int) {
		fmt.Fprintf(conn, "GET http://%s/%d HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", address(app), i, strings.Repeat("x", 9_000))
	}
	ask(0)
	<-began
	<-time.After(200 * time.Millisecond) // the proxy reads ahead by now
	for i := 1; i < 10; i++ {            // more than it reads ahead
		ask(i)
	}
	conn.(*net.TCPConn).CloseWrite()
	close(finish)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(conn)
	for i := range 10 {
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if body, err := io.ReadAll(answer.Body); string(body) != fmt.Sprintf("/%d;", i) {
			t.Errorf("request %d: answer %q, %v", i, body, err)
		}
	}
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Errorf("behind the answers: %q, %v", rest, err)
	}
}
