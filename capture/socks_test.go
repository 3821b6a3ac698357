package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// dialSocks sends raw bytes and returns all of the answer up to its end.
func dialSocks(t *testing.T, c *running, raw string) string {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, raw)
	conn.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(conn) // a refusal may end with a reset
	return string(answer)
}

func TestSocksHandshake(t *testing.T) {
	greeter, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer greeter.Close()
	go func() {
		for {
			c, err := greeter.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, banner)
			c.Close()
		}
	}()
	at := greeter.Addr().(*net.TCPAddr).Port
	port := string([]byte{byte(at >> 8), byte(at)})
	const hello = "\x05\x01\x00"
	const none, v4 = "\x00\x01\x00\x00\x00\x00\x00\x00", "\x00\x01\x7f\x00\x00\x01"
	open := start(t, Config{Outbound: []string{"0"}}, Deps{})
	closed := start(t, Config{Outbound: []string{"0"}, ProxyUser: "shop:pass:word"}, Deps{})
	for _, test := range []struct {
		name    string
		capture *running
		send    string
		want    string // its beginning
	}{
		{"no auth", open, hello + "\x05\x01" + v4[:6] + port, "\x05\x00\x05\x00"},
		{"domain", open, hello + "\x05\x01\x00\x03\x09localhost" + port, "\x05\x00\x05\x00"},
		{"address as domain", open, hello + "\x05\x01\x00\x03\x09127.0.0.1" + port, "\x05\x00\x05\x00"},
		{"auth, anything", open, "\x05\x01\x02" + "\x01\x01a\x00" + "\x05\x01" + v4[:6] + port, "\x05\x02\x01\x00\x05\x00"},
		{"both offered", open, "\x05\x02\x02\x00" + "\x05\x01" + v4[:6] + port, "\x05\x00\x05\x00"},
		{"gssapi only", open, "\x05\x01\x01", "\x05\xff"},
		{"no method", open, "\x05\x00", "\x05\xff"},
		{"bind", open, hello + "\x05\x02" + v4[:6] + port, "\x05\x00\x05\x07" + none},
		{"udp associate", open, hello + "\x05\x03" + v4[:6] + "\x00\x00", "\x05\x00\x05\x07" + none},
		{"unknown address type", open, hello + "\x05\x01\x00\x02" + "abcdef", "\x05\x00\x05\x08" + none},
		{"refused", open, hello + "\x05\x01" + v4[:6] + "\x00\x01", "\x05\x00\x05\x05" + none},
		{"empty name", open, hello + "\x05\x01\x00\x03\x00" + port, "\x05\x00\x05\x01" + none},
		{"name that is none", open, hello + "\x05\x01\x00\x03\x03a\xffb" + port, "\x05\x00\x05\x01" + none},
		{"version of the request", open, hello + "\x04\x01" + v4[:6] + port, "\x05\x00\x05\x01" + none},
		{"right password", closed, "\x05\x01\x02" + "\x01\x04shop\x09pass:word" + "\x05\x01" + v4[:6] + port, "\x05\x02\x01\x00\x05\x00"},
		{"wrong password", closed, "\x05\x01\x02" + "\x01\x04shop\x04nope" + "\x05\x01" + v4[:6] + port, "\x05\x02\x01\x01"},
		{"wrong subnegotiation", closed, "\x05\x01\x02" + "\x05\x04shop\x09pass:word", "\x05\x02"},
		{"no password", closed, hello + "\x05\x01" + v4[:6] + port, "\x05\xff"},
		{"cut off", open, hello + "\x05\x01\x00\x03\x50loc", "\x05\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := dialSocks(t, test.capture, test.send)
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q, want %q…", got, test.want)
			}
			opens := strings.HasSuffix(test.want, "\x05\x00") && len(test.want) > 2
			if strings.HasSuffix(got, banner) != opens {
				t.Errorf("got %q; a tunnel: %v", got, opens)
			}
		})
	}
}

func TestSocksFailure(t *testing.T) {
	for err, want := range map[error]socksReply{
		syscall.ECONNREFUSED: socksRefused, syscall.ENETUNREACH: socksNetwork, syscall.EHOSTUNREACH: socksHost,
		os.ErrDeadlineExceeded: socksHost, errors.New("another"): socksFailed,
	} {
		if got := socksFailure(fmt.Errorf("dial: %w", err)); got != want {
			t.Errorf("%v: got %d, want %d", err, got, want)
		}
	}
	if got := socksFailure(&net.DNSError{IsNotFound: true}); got != socksHost {
		t.Errorf("unknown host: got %d, want %d", got, socksHost)
	}
}

// FuzzSocks: whatever a client says, the handshake ends, and where it wants to
// go is an address that can be dialled and recorded.
func FuzzSocks(f *testing.F) {
	f.Add([]byte("\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"))
	f.Add([]byte("\x01\x02\x01\x01a\x01b\x05\x01\x00\x03\x01h\x00\x50"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		h := &socks{client: &scripted{Reader: bytes.NewReader(sent)}, allow: nil}
		authority, err := h.serve()
		if err != nil {
			return
		}
		host, _, err := net.SplitHostPort(authority)
		if err != nil || host == "" || strings.ToValidUTF8(authority, "?") != authority {
			t.Errorf("%q goes to %q: %v", sent, authority, err)
		}
	})
}

// scripted is a client that says what it says, and never listens.
type scripted struct {
	net.Conn
	io.Reader
}

func (s *scripted) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s *scripted) Write(b []byte) (int, error) { return len(b), nil }

// TestCurlThroughTheProxy drives both protocols of the one listener, with and
// without credentials.
func TestCurlThroughTheProxy(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL) }))
	defer app.Close()
	secure := httptest.NewTLSServer(app.Config.Handler)
	defer secure.Close()
	_, port, err := net.SplitHostPort(address(app))
	if err != nil {
		t.Fatal(err)
	}
	_, js := natstest.New(t)
	open := start(t, Config{Outbound: []string{"0"}, Service: "open"}, Deps{JS: js})
	closed := start(t, Config{Outbound: []string{"0"}, Service: "closed", ProxyUser: "shop:s3cret"}, Deps{JS: js})
	run := func(c *running, how, credentials, url string) (string, error) {
		args := []string{"-sS", "-k", "--noproxy", "", "--max-time", "10", how, credentials + c.Addrs()[0].String(), url}
		if credentials == "" {
			args[7] = c.Addrs()[0].String()
		}
		out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
		return string(out), err
	}
	for _, test := range []struct {
		c           *running
		credentials string
		ok          bool
	}{
		{open, "", true}, {open, "any:thing@", true}, {closed, "shop:s3cret@", true}, {closed, "shop:wrong@", false}, {closed, "", false},
	} {
		for _, how := range []string{"--socks5", "--socks5-hostname", "--proxy"} {
			for _, url := range []string{"http://localhost:" + port + "/plain", secure.URL + "/tls"} {
				got, err := run(test.c, how, test.credentials, url)
				if !test.ok && !strings.HasPrefix(url, "https") && how == "--proxy" {
					if !strings.Contains(got, "--proxy-user") {
						t.Errorf("%s without credentials: %q, %v", how, got, err)
					}
					continue
				}
				if want := url[strings.LastIndexByte(url, '/'):]; (err == nil && got == want) != test.ok {
					t.Errorf("%s %q %s: got %q, %v, want success: %v", how, test.credentials, url, got, err, test.ok)
				}
			}
		}
	}
	open.stop()
	closed.stop()
	var mine []*events.Tape
	for _, tape := range tapesOf(t, js) {
		if tape.Header.Workload.Service == "open" {
			mine = append(mine, tape)
		}
	}
	counts := map[string]int{}
	for _, x := range play(t, mine).exchanges {
		counts[x.Protocol+" "+x.Request.Target+" "+strings.TrimSuffix(x.Connection.Server, port)]++
		if strings.Contains(x.String(), "thing") {
			t.Errorf("the proxy's credentials are in %v", x)
		}
	}
	// With --socks5 curl looks the name up itself; ::1 is tried first where it is known.
	named, plain := 0, 0
	for key, n := range counts {
		switch {
		case strings.HasPrefix(key, "http /plain localhost:"):
			named += n
		case strings.HasPrefix(key, "http /plain"):
			plain += n
		}
	}
	if named != 4 || plain != 2 {
		t.Errorf("recorded %v, want 4 requests to localhost by name and 2 by address", counts)
	}
}

func TestProxyUserIsChecked(t *testing.T) {
	for _, bad := range []string{"shop", ":x", strings.Repeat("u", 256) + ":p"} {
		_, err := New(Config{ProxyUser: bad}, Deps{Data: t.TempDir()})
		if err == nil || strings.Contains(err.Error(), "shop") {
			t.Errorf("%.10q: %v, want an error that does not repeat it", bad, err)
		}
	}
}
