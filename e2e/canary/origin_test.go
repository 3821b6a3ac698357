package canary

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// origin is what lies behind the capture: it answers with what it is sent.
type origin struct {
	web     *httptest.Server
	echo    net.Listener // of bytes
	answers sync.Map     // by path: pieces of an answer that is no good
	number  int
}

func newOrigin(t testing.TB) *origin {
	o := &origin{}
	o.web = httptest.NewUnstartedServer(http.HandlerFunc(o.serve))
	o.web.Config.Protocols = both()
	o.web.Config.ReadHeaderTimeout = time.Minute
	o.web.Start()
	t.Cleanup(o.web.Close)
	var err error
	if o.echo, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.echo.Close() })
	go o.echoes()
	return o
}

// both are HTTP/1 and HTTP/2 without TLS.
func both() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

func (o *origin) echoes() {
	for {
		c, err := o.echo.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	if pieces, ok := o.answers.Load(r.URL.Path); ok {
		say(w, pieces.([]string))
		return
	}
	if r.Header.Get("Upgrade") == "websocket" {
		echoMessages(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	for name, values := range r.Header {
		if !ownHeaders[name] {
			w.Header()[name] = values
		}
	}
	w.Write(body)
	for name, values := range r.Trailer {
		w.Header()[http.TrailerPrefix+name] = values
	}
}

var ownHeaders = map[string]bool{"Connection": true, "Content-Length": true, "Te": true, "Accept-Encoding": true, "Trailer": true, "Transfer-Encoding": true}

// say writes pieces as they are and ends the connection.
func say(w http.ResponseWriter, pieces []string) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	for _, piece := range pieces {
		io.WriteString(c, piece)
	}
}

func echoMessages(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: 1, InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, data); err != nil {
			return
		}
	}
}

// wires are where things are sent.
type wires struct {
	t            testing.TB
	origin       *origin
	inbound      string // to its web server
	bytes        string // to its echo
	proxy        string // HTTP and SOCKS5
	http1, http2 *http.Client
}

// listening are the flags of a capture with three listeners, and the wires to
// them.
func listening(t testing.TB, o *origin) (*wires, []string) {
	w := &wires{t: t, origin: o, inbound: freeAddress(t), bytes: freeAddress(t), proxy: freeAddress(t)}
	w.http1, w.http2 = client(t, false), client(t, true)
	named := filepath.Join(t.TempDir(), "logins.pb")
	writeDescriptors(t, named, "Logins", "Open", "user", "password")
	return w, []string{
		"--inbound", w.inbound + "=" + o.web.Listener.Addr().String(),
		"--inbound", w.bytes + "=" + o.echo.Addr().String(),
		"--outbound", w.proxy, "--on-pressure", "block", "--tape-age", "200ms", "--tag", "X-Note", "--grpc-descriptors", named,
	}
}

func client(t testing.TB, h2 bool) *http.Client {
	p := &http.Protocols{}
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	tr := &http.Transport{Protocols: p, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// tell writes pieces, ends the sending side, and reads what comes until the
// other ends.
func (w *wires) tell(address string, pieces ...string) string {
	w.t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	for _, piece := range pieces {
		io.WriteString(c, piece) // a server may have had enough
	}
	c.(*net.TCPConn).CloseWrite()
	b, _ := io.ReadAll(c)
	return string(b)
}

// ask gets an answer that consists of these pieces.
func (w *wires) ask(pieces ...string) {
	w.t.Helper()
	w.origin.number++
	path := fmt.Sprintf("/answers/%d", w.origin.number)
	w.origin.answers.Store(path, pieces)
	defer w.origin.answers.Delete(path)
	w.tell(w.inbound, "GET "+path+" HTTP/1.1\r\nHost: shop.example\r\n\r\n")
}

// socket says something over a WebSocket; fragments are frames of one message.
func (w *wires) socket(kind websocket.MessageType, mode websocket.CompressionMode, reason string, fragments ...string) {
	w.t.Helper()
	c, _, err := websocket.Dial(w.t.Context(), "ws://"+w.inbound+"/chat", &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.CloseNow()
	out, err := c.Writer(w.t.Context(), kind)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range fragments {
		if _, err := io.WriteString(out, f); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		w.t.Fatal(err)
	}
	if _, got, err := c.Read(w.t.Context()); err != nil || string(got) != strings.Join(fragments, "") {
		w.t.Errorf("WebSocket: got %.80q, %v", got, err)
	}
	c.Close(websocket.StatusNormalClosure, reason)
}
