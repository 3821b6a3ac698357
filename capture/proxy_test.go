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

	"github.com/google/go-cmp/cmp"

	"tapedeck/internal/natstest"
)

// TestHTTPProxyChangesNothingElse sends each request to the origin, and to the
// proxy in absolute-form with Proxy-* headers: client and origin see the same.
func TestHTTPProxyChangesNothingElse(t *testing.T) {
	origin := listenWatched(t)
	app := &httptest.Server{Listener: origin, Config: &http.Server{Handler: http.HandlerFunc(answerPlainly), ErrorLog: quietStdLog()}}
	app.Start()
	defer app.Close()
	direct := origin.Addr().String()
	c := start(t, Config{Outbound: []string{"0"}}, Deps{})
	for _, test := range []struct {
		name   string
		pieces []string // %s: where a target's scheme and host go, and Proxy-* headers
	}{
		{"get", []string{"GET %s/a?b=c;d&e=%%zz HTTP/1.1\r\nhOsT: h\r\n%sx-A: 1\r\nX-a:  2 \r\nConnection: close\r\n\r\n"}},
		{"http/1.0", []string{"GET %s/a HTTP/1.0\r\nHost: h\r\n%s\r\n"}},
		{"post", []string{"POST %s/a HTTP/1.1\r\nHost: h\r\n%sContent-Length: 5\r\nConnection: close\r\n\r\nhello"}},
		{"chunked", []string{"POST %s/a HTTP/1.1\r\nHost: h\r\n%sTransfer-Encoding: chunked\r\nTrailer: X\r\nConnection: close\r\n\r\n3;x=y\r\nabc\r\n", "2\r\nde\r\n0\r\nX: 1\r\n\r\n"}},
		{"continue", []string{"PUT %s/a HTTP/1.1\r\nHost: h\r\n%sExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n", "ok"}},
		{"pipelined", []string{"GET %s/a HTTP/1.1\r\nHost: h\r\n%s\r\n" + "HEAD %s/204 HTTP/1.1\r\nHost: h\r\n%s\r\n" + "POST %s/b HTTP/1.1\r\nHost: h\r\n%sContent-Length: 1\r\nConnection: close\r\n\r\nx"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fill := func(host, header string) []string {
				var out []string
				for _, p := range test.pieces {
					n := strings.Count(p, "%s") / 2
					var args []any
					for range n {
						args = append(args, host, header)
					}
					out = append(out, fmt.Sprintf(p, args...))
				}
				return out
			}
			want := talk(t, direct, fill("", ""), false)
			want.Origin = origin.take(t)
			got := talk(t, c.Addrs()[0].String(), fill("http://"+direct, "Proxy-Connection: keep-alive\r\nproxy-authorization: Basic x\r\n"), false)
			got.Origin = origin.take(t)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-direct +proxied):\n%s", diff)
			}
		})
	}
}

func TestHTTPProxyAnswersInOrderFromManyHosts(t *testing.T) {
	_, js := natstest.New(t)
	var hosts []string
	for i := range 3 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%d%s", i, r.URL.Path) }))
		defer s.Close()
		hosts = append(hosts, address(s))
	}
	c := start(t, Config{Outbound: []string{"0"}}, Deps{JS: js})
	conn, err := net.Dial("tcp", c.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	var all strings.Builder
	for i := range 9 {
		fmt.Fprintf(&all, "GET http://%s/%d HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i%3], i, hosts[i%3])
	}
	go io.WriteString(conn, all.String())
	r := bufio.NewReader(conn)
	for i := range 9 {
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		if want := fmt.Sprintf("%d/%d", i%3, i); string(body) != want {
			t.Errorf("answer %d is %q, want %q", i, body, want)
		}
	}
	conn.Close()
	c.stop()
	out := play(t, tapesOf(t, js))
	connections := map[string]int{}
	for _, x := range out.exchanges {
		connections[x.Connection.Server+" "+string(x.Connection.Id)]++
	}
	if len(out.rows) != 9 || len(connections) != 3 {
		t.Errorf("recorded %d exchanges on %d upstream connections, want 9 on 3", len(out.rows), len(connections))
	}
}

func TestHTTPProxySwitchesProtocols(t *testing.T) {
	_, js := natstest.New(t)
	l := listenWatched(t)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhello ")
		io.Copy(c, c)
	}()
	c := start(t, Config{Outbound: []string{"0"}}, Deps{JS: js})
	conn, err := net.Dial("tcp", c.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "GET http://%s/ws HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n", l.Addr())
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil || answer.StatusCode != 101 {
		t.Fatalf("%v, %v", answer, err)
	}
	io.WriteString(conn, "and back")
	conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(r); string(got) != "hello and back" {
		t.Errorf("got %q, %v", got, err)
	}
	conn.Close()
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 || out.rows[0].Status != "101" || out.rows[0].ResponseBytes != int64(len("hello and back")) || out.rows[0].RequestBytes != int64(len("and back")) {
		t.Errorf("recorded %+v", out.rows)
	}
}

// An upstream that closed an idle connection is dialled again; one that closes
// on a request closes the client's connection, as it would have without us.
func TestHTTPProxyAndStaleConnections(t *testing.T) {
	l := listenWatched(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			if _, err := http.ReadRequest(r); err == nil {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") // keeps alive, and closes
			}
			c.Close()
		}
	}()
	c := start(t, Config{Outbound: []string{"0"}}, Deps{})
	conn, err := net.Dial("tcp", c.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(conn)
	for i := range 5 {
		fmt.Fprintf(conn, "GET http://%s/%d HTTP/1.1\r\nHost: x\r\n\r\n", l.Addr(), i)
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		io.Copy(io.Discard, answer.Body)
		eventually(t, "closed at the origin", func() bool { return l.live.Load() == 0 })
	}
}

// What two parsers could read in two ways is refused in a body too.
func TestHTTPProxyRefusesDoubtfulBodies(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(answerPlainly))
	defer app.Close()
	c := start(t, Config{Outbound: []string{"0"}}, Deps{})
	for _, body := range []string{"0\r\n\n", "0\r\nX: y\n\r\n", "0\r\nX: y\r\n z\r\n\r\n", "0\r\nX : y\r\n\r\n", "g\r\n", "2\nab\r\n0\r\n\r\n", "2\r\nabc\r\n0\r\n\r\n"} {
		request := "POST http://" + address(app) + "/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body
		if got := talk(t, c.Addrs()[0].String(), []string{request}, false); !strings.HasPrefix(got.Client, "HTTP/1.1 400 ") || got.End != "EOF" {
			t.Errorf("%q: the client sees %+v, want 400", body, got)
		}
	}
}
