package capture

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"tapedeck/capture/ca"
	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/wire"
)

// opened is a capture that opens TLS, with clients that trust it.
type opened struct {
	*running
	data string
	ca   *x509.CertPool
}

func startOpening(t testing.TB, cfg Config, deps Deps) *opened {
	t.Helper()
	setDefault(&deps.Data, t.TempDir())
	cfg.OutboundTLS = "open"
	if cfg.Outbound == nil {
		cfg.Outbound = []string{"0"}
	}
	c := start(t, cfg, deps)
	pool := x509.NewCertPool()
	text, err := os.ReadFile(ca.CertificateFile(deps.Data))
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("certificate of the CA: %v", err)
	}
	return &opened{c, deps.Data, pool}
}

// web is a client that trusts roots.
func (o *opened) web(t testing.TB, roots *x509.CertPool) *http.Client {
	return secureClient(t, o.url(0), &tls.Config{RootCAs: roots})
}

func (o *opened) passed(t testing.TB, reason string) float64 {
	return value(t, o.metrics.passedThrough.WithLabelValues(reason))
}

// value is that of a counter or gauge.
func value(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

// fetch is the body of an answer, on a connection of its own.
func fetch(t testing.TB, c *http.Client, url string) (string, error) {
	t.Helper()
	defer c.CloseIdleConnections()
	answer, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func TestOpensTLS(t *testing.T) {
	authority := newTestCA(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "127.0.0.1")}, MaxVersion: version})
		_, js := natstest.New(t)
		c := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{JS: js})
		web := c.web(t, c.ca)
		web.Transport.(*http.Transport).ForceAttemptHTTP2 = true
		for i := range 3 {
			got := post(t, web, fmt.Sprintf("%s/orders/%d", upstream.URL, i), "text/plain", []byte("body"))
			if want := fmt.Sprintf("POST /orders/%d body", i); string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		web.CloseIdleConnections()
		c.stop()
		out := play(t, tapesOf(t, js))
		if len(out.rows) != 3 || out.rows[0].Connection != out.rows[2].Connection {
			t.Fatalf("recorded %+v, want 3 on one connection", out.rows)
		}
		for i, x := range out.exchanges {
			facts := x.Connection.Tls
			if row := out.rows[i]; row.Protocol != "http" || row.Template != "/orders/{id}" || row.Direction != events.Direction_OUTBOUND || x.Request.Scheme != "https" {
				t.Errorf("row %+v, scheme %s", row, x.Request.Scheme)
			}
			if facts.GetVersion() != tls.VersionName(version) || facts.GetAlpn() != "h2" || facts.GetServerName() != "127.0.0.1" {
				t.Errorf("TLS %v", facts)
			}
		}
		if n := value(t, c.metrics.opened); n != 1 {
			t.Errorf("opened %v", n)
		}
	}
}

// TestBadUpstreamsLookAsTheyAre: what is wrong with an upstream's certificate
// is seen by the client itself, in its own words, with us and without.
func TestBadUpstreamsLookAsTheyAre(t *testing.T) {
	authority, unknown := newTestCA(t), newTestCA(t)
	_, js := natstest.New(t)
	c := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{JS: js})
	for name, certificate := range map[string]tls.Certificate{
		"expired":    authority.leaf(t, time.Now().Add(-time.Hour), "127.0.0.1"),
		"wrong host": authority.leaf(t, inAnHour(), "other.test"),
		"unknown CA": unknown.leaf(t, inAnHour(), "127.0.0.1"),
	} {
		t.Run(name, func(t *testing.T) {
			upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{certificate}})
			both := authority.pool()
			both.AppendCertsFromPEM(mustRead(t, ca.CertificateFile(c.data)))
			for range 2 {
				_, want := fetch(t, secureClient(t, "", &tls.Config{RootCAs: both}), upstream.URL)
				_, got := fetch(t, c.web(t, both), upstream.URL)
				if want == nil || got == nil || got.Error() != want.Error() {
					t.Errorf("through us: %v\ndirectly:   %v", got, want)
				}
				var bad *tls.CertificateVerificationError
				if !errors.As(got, &bad) || !bytes.Equal(bad.UnverifiedCertificates[0].Raw, certificate.Certificate[0]) {
					t.Errorf("the client does not see the upstream's own certificate: %v", got)
				}
			}
			// A client that trusts it is answered, and seen as a connection.
			if got, err := fetch(t, secureClient(t, c.url(0), &tls.Config{InsecureSkipVerify: true}), upstream.URL+"/a"); got != "GET /a " {
				t.Errorf("a client that does not verify: %q, %v", got, err)
			}
		})
	}
	if c.passed(t, passUnverified) != 9 {
		t.Errorf("passed through %v, want 9", c.passed(t, passUnverified))
	}
	c.stop()
	for _, row := range play(t, tapesOf(t, js)).rows {
		if row.Protocol != "tcp" || row.Method != "CONNECT" {
			t.Errorf("row %+v", row)
		}
	}
	if _, err := os.Stat(filepath.Join(c.data, "passthrough.json")); err == nil {
		t.Error("a bad certificate is remembered for good")
	}
}

func mustRead(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A pinned client fails once; from then on, and after a restart, it gets
// through, while another client goes on being opened.
func TestPinnedClientsArePassedThrough(t *testing.T) {
	authority, data := newTestCA(t), t.TempDir()
	upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "localhost", "127.0.0.1")}})
	_, port, _ := net.SplitHostPort(address(upstream))
	url := "https://localhost:" + port
	for start := range 2 {
		_, js := natstest.New(t)
		c := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{JS: js, Data: data})
		pinned := c.web(t, authority.pool())
		pinned.Transport.(*http.Transport).TLSClientConfig.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256} // another program
		if _, err := fetch(t, pinned, url); (err == nil) != (start > 0) {
			t.Errorf("start %d: first request of the pinned client: %v", start, err)
		}
		eventually(t, "the refusal is known", func() bool { // the client knows it earlier
			p := c.terms.passthrough
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.learned) == 1
		})
		for range 2 {
			if got, err := fetch(t, pinned, url+"/p"); got != "GET /p " {
				t.Errorf("start %d: pinned client: %q, %v", start, got, err)
			}
		}
		if got, err := fetch(t, c.web(t, c.ca), url+"/t"); got != "GET /t " {
			t.Errorf("start %d: trusting client: %q, %v", start, got, err)
		}
		if n := value(t, c.metrics.caused.WithLabelValues(passPinned)); n != float64(1-start) {
			t.Errorf("start %d: %v errors counted", start, n)
		}
		c.stop()
		out := play(t, tapesOf(t, js))
		seen := map[string]int{}
		for i, row := range out.rows {
			seen[row.Protocol+" "+row.Class.Name()]++
			if name := out.exchanges[i].Connection.GetTls().GetServerName(); name != "localhost" {
				t.Errorf("start %d: server name %q of %+v", start, name, row)
			}
		}
		if seen["http ok"] != 1 || seen["tcp ok"] != 2+start || seen["tcp failed"] != 1-start {
			t.Errorf("start %d: recorded %v", start, seen)
			for _, x := range out.exchanges {
				t.Log(x.Protocol, x.Failure)
			}
		}
	}
	info, err := os.Stat(filepath.Join(data, "passthrough.json"))
	var memory memoryFile
	if err != nil || json.Unmarshal(mustRead(t, filepath.Join(data, "passthrough.json")), &memory) != nil || len(memory.Learned) != 1 || info.Mode().Perm() != 0o600 {
		t.Errorf("memory %+v, %v", memory, err)
	}
	// Another CA may please the client.
	os.Remove(ca.File(data))
	c := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{Data: data})
	both := authority.pool()
	both.AppendCertsFromPEM(mustRead(t, ca.CertificateFile(data)))
	again := c.web(t, both)
	again.Transport.(*http.Transport).TLSClientConfig.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
	if got, err := fetch(t, again, url+"/n"); got != "GET /n " || value(t, c.metrics.opened) != 1 {
		t.Errorf("with a new CA: %q, %v, opened %v", got, err, value(t, c.metrics.opened))
	}
}

// A client that says nothing when it goes away is believed the third time, if
// it never used a connection.
func TestSilentRefusals(t *testing.T) {
	authority := newTestCA(t)
	upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "127.0.0.1")}})
	c := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{})
	c.terms.passthrough.soon = time.Minute // this machine may be slow
	leave := func(config *tls.Config) {
		conn := tunnel(t, c, address(upstream))
		defer conn.Close()
		config.InsecureSkipVerify = true
		if err := tls.Client(conn, config).Handshake(); err != nil {
			t.Error(err)
		}
	}
	waiting := func(n float64) bool {
		return value(t, c.metrics.opened) == n && value(t, c.metrics.connections.WithLabelValues("outbound")) == 0
	}
	for i := range 4 {
		leave(&tls.Config{})
		eventually(t, "ended", func() bool { return waiting(float64(min(i+1, 3))) })
	}
	if c.passed(t, passPinned) != 1 || value(t, c.metrics.caused.WithLabelValues("silent")) != 1 {
		t.Errorf("passed %v, counted %v", c.passed(t, passPinned), value(t, c.metrics.caused.WithLabelValues("silent")))
	}
	// One that has used a connection may open others in advance.
	preconnecting := &tls.Config{RootCAs: c.ca, CurvePreferences: []tls.CurveID{tls.CurveP256}}
	if _, err := fetch(t, secureClient(t, c.url(0), preconnecting), upstream.URL); err != nil {
		t.Error(err)
	}
	for i := range 4 {
		eventually(t, "ended", func() bool { return waiting(float64(4 + i)) })
		leave(&tls.Config{CurvePreferences: preconnecting.CurvePreferences, NextProtos: []string{"http/1.1"}, ServerName: ""})
	}
}

// tunnel asks the proxy for a tunnel.
func tunnel(t testing.TB, c *opened, authority string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority)
	const want = "HTTP/1.1 200 Connection established\r\n\r\n"
	b := make([]byte, len(want))
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != want {
		t.Fatalf("got %q, %v", b, err)
	}
	return conn
}

// A server that asks for client certificates is passed through from the first
// connection on: the client can show its own.
func TestServersThatAskForCertificates(t *testing.T) {
	authority, data := newTestCA(t), t.TempDir()
	upstream := secureServer(t, &tls.Config{
		Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "127.0.0.1")}, ClientCAs: authority.pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	})
	for start := range 2 {
		c := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{Data: data})
		web := c.web(t, authority.pool())
		web.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{authority.leaf(t, inAnHour(), "client")}
		for range 2 {
			if got, err := fetch(t, web, upstream.URL+"/m"); got != "GET /m " {
				t.Errorf("start %d: %q, %v", start, got, err)
			}
		}
		if c.passed(t, passCertificate) != 2 || value(t, c.metrics.caused.WithLabelValues(passPinned)) != 0 {
			t.Errorf("start %d: passed %v, caused %v errors", start, c.passed(t, passCertificate), value(t, c.metrics.caused.WithLabelValues(passPinned)))
		}
		c.stop()
	}
}

// A server may ask when it is too late for the connection (TLS 1.2's second
// handshake): the next one is passed through.
func TestServersThatAskLate(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	authority := newTestCA(t)
	cert, key := writePair(t, t.TempDir(), authority.leaf(t, inAnHour(), "127.0.0.1"))
	server := exec.CommandContext(t.Context(), openssl, "s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key", key, "-tls1_2")
	in, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); server.Process.Kill(); server.Wait() }()
	lines := bufio.NewScanner(out)
	read := func(prefix string) string {
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), prefix); ok {
				return rest
			}
		}
		t.Fatalf("openssl says no %q", prefix)
		return ""
	}
	upstream := strings.TrimSpace(read("ACCEPT "))
	c := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{})
	conn := tunnel(t, c, upstream)
	defer conn.Close()
	secure := tls.Client(conn, &tls.Config{RootCAs: c.ca, ServerName: "127.0.0.1"})
	io.WriteString(secure, "hello\n")
	read("hello")
	io.WriteString(in, "R\n")
	if _, err := io.Copy(io.Discard, secure); err == nil {
		t.Error("the connection goes on")
	}
	if n := value(t, c.metrics.caused.WithLabelValues(passCertificate)); n != 1 {
		t.Errorf("%v errors counted", n)
	}
	if reason := c.terms.passthrough.reason(visitor{host: upstream}, upstream, time.Now()); reason != passCertificate {
		t.Errorf("from then on: %q", reason)
	}
}

func TestPassthroughList(t *testing.T) {
	authority := newTestCA(t)
	upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "localhost", "127.0.0.1")}})
	_, js := natstest.New(t)
	c := startOpening(t, Config{UpstreamCA: authority.file(t), Passthrough: []string{"*.bank.test", "localhost"}}, Deps{JS: js})
	_, port, _ := net.SplitHostPort(address(upstream))
	if got, err := fetch(t, c.web(t, authority.pool()), "https://localhost:"+port+"/l"); got != "GET /l " {
		t.Errorf("got %q, %v", got, err)
	}
	if c.passed(t, passListed) != 1 {
		t.Errorf("passed %v", c.passed(t, passListed))
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 || out.rows[0].Protocol != "tcp" || out.exchanges[0].Connection.GetTls().GetServerName() != "localhost" {
		t.Errorf("recorded %+v", out.rows)
	}
}

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern, host, port string
		want                bool
	}{
		{"api.test", "api.test", "443", true}, {"API.test.", "api.test", "443", true}, {"api.test", "www.api.test", "443", false},
		{"*.test", "api.test", "443", true}, {"*.test", "a.b.test", "443", true}, {"*.test", "test", "443", false}, {"*.test", "atest", "443", false},
		{"api.test:8443", "api.test", "443", false}, {"*.test:443", "api.test", "443", true}, {"*", "anything", "1", true}, {"10.0.0.1", "10.0.0.1", "443", true},
	} {
		p, err := parsePattern(test.pattern)
		if err != nil || p.match(test.host, test.port) != test.want {
			t.Errorf("%s matches %s:%s: %v, %v", test.pattern, test.host, test.port, !test.want, err)
		}
	}
	for _, bad := range []string{"", "a*b", "*a.test", "**", ".", "a.*"} {
		if _, err := parsePattern(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// What is no TLS is relayed as it comes and seen by its first bytes, and a
// server may speak first.
func TestTunnelsOfOtherProtocols(t *testing.T) {
	_, js := natstest.New(t)
	c := startOpening(t, Config{}, Deps{JS: js})
	plain := tunnel(t, c, address(echo(t)))
	defer plain.Close()
	io.WriteString(plain, "POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
	if got, err := io.ReadAll(plain); !strings.HasSuffix(string(got), "hi") {
		t.Errorf("plain HTTP: %q, %v", got, err)
	}
	for name, first := range map[string]string{"speaks first": "", "one byte": "x", "like TLS": "\x16\x03\x01", "no hello": "\x16\x03\x01\x00\x04abcd"} {
		l := greeter(t)
		conn := tunnel(t, c, l.Addr().String())
		io.WriteString(conn, first)
		conn.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(conn); string(got) != "220 hello\r\n"+first || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		conn.Close()
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	kinds := []string{}
	for _, row := range out.rows {
		kinds = append(kinds, row.Protocol+" "+row.Method)
	}
	if !slices.Equal(kinds, []string{"http POST", "tcp CONNECT", "tcp CONNECT", "tcp CONNECT", "tcp CONNECT"}) {
		t.Errorf("recorded %v, %v", kinds, out.last.Counters)
	}
}

// A client that says nothing and ends first is listened to by the server: the
// connection is recorded to its end.
func TestServerSpeaksToAClientThatHasEnded(t *testing.T) {
	_, js := natstest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.Copy(io.Discard, conn) // until the client's end
		io.WriteString(conn, "220 hello\r\n")
	}()
	c := start(t, Config{Inbound: []string{"0=" + l.Addr().String()}}, Deps{JS: js})
	conn, err := net.Dial("tcp", c.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(conn); string(got) != "220 hello\r\n" {
		t.Errorf("got %q, %v", got, err)
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 || out.rows[0].ResponseBytes != 11 || out.last.Counters.Open != 0 {
		t.Errorf("recorded %+v, %v", out.rows, out.last.Counters)
	}
}

// greeter greets at once and then echoes.
func greeter(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "220 hello\r\n")
		io.Copy(conn, conn)
	}()
	return l
}

// A hello in many pieces, behind the CONNECT in one packet, is opened as well.
func TestHelloInPieces(t *testing.T) {
	authority := newTestCA(t)
	upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "127.0.0.1")}})
	c := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{})
	for _, size := range []int{1, 100, 10000} {
		conn, err := net.Dial("tcp", c.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		p := &pieces{Conn: conn, size: size, early: fmt.Sprintf("CONNECT %s HTTP/1.1\r\n\r\n", address(upstream))}
		secure := tls.Client(p, &tls.Config{RootCAs: c.ca, ServerName: "127.0.0.1"})
		io.WriteString(secure, "GET /pieces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if got, err := io.ReadAll(secure); !strings.HasSuffix(string(got), "GET /pieces ") {
			t.Errorf("pieces of %d: %q, %v", size, got, err)
		}
		conn.Close()
	}
	if n := value(t, c.metrics.opened); n != 3 {
		t.Errorf("opened %v, want 3", n)
	}
}

// pieces writes in small pieces, the first behind a CONNECT, whose answer it
// takes away.
type pieces struct {
	net.Conn
	size     int
	early    string
	answered bool
}

func (p *pieces) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i += p.size {
		piece := p.early + string(b[i:min(i+p.size, len(b))])
		p.early = ""
		if _, err := io.WriteString(p.Conn, piece); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (p *pieces) Read(b []byte) (int, error) {
	if !p.answered {
		p.answered = true
		if _, err := io.ReadFull(p.Conn, make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))); err != nil {
			return 0, err
		}
	}
	return p.Conn.Read(b)
}

// Only what can be dissected is offered: a client that speaks only HTTP/2 is
// not broken by that.
func TestProtocolsAsTheUpstreamAnswers(t *testing.T) {
	authority := newTestCA(t)
	certificates := []tls.Certificate{authority.leaf(t, inAnHour(), "127.0.0.1")}
	c := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{Protocols: []wire.Protocol{httpProtocol()}})
	for _, test := range []struct{ server, client, want string }{
		{"h2 http/1.1", "h2 http/1.1", "http/1.1"}, {"http/1.1", "", ""}, {"", "http/1.1", ""}, {"h2", "h2", "h2"}, {"http/1.1 x", "x http/1.1", "http/1.1"},
	} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates, NextProtos: strings.Fields(test.server)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() { defer conn.Close(); io.Copy(conn, conn) }()
			}
		}()
		roots := authority.pool()
		roots.AppendCertsFromPEM(mustRead(t, ca.CertificateFile(c.data)))
		conn := tunnel(t, c, l.Addr().String())
		secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: strings.Fields(test.client)})
		if err := secure.Handshake(); err != nil || secure.ConnectionState().NegotiatedProtocol != test.want {
			t.Errorf("server %q, client %q: %q, %v", test.server, test.client, secure.ConnectionState().NegotiatedProtocol, err)
		}
		secure.Close()
	}
	if c.passed(t, passProtocol) != 1 {
		t.Errorf("passed through %v", c.passed(t, passProtocol))
	}
}

// HTTP/2 is offered when there is a dissector for it.
func TestHTTP2WhenItCanBeDissected(t *testing.T) {
	authority := newTestCA(t)
	upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "127.0.0.1")}})
	_, js := natstest.New(t)
	c := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{JS: js})
	web := c.web(t, c.ca)
	web.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	answer, err := web.Get(upstream.URL)
	if err != nil || answer.Proto != "HTTP/2.0" {
		t.Fatalf("%v, %v", answer, err)
	}
	answer.Body.Close()
	web.CloseIdleConnections()
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 || out.rows[0].Protocol != "http" || out.rows[0].Status != "200" || out.exchanges[0].Connection.GetTls().GetAlpn() != "h2" {
		t.Errorf("recorded %+v", out.rows)
	}
}

// A fixed dependency is opened like a tunnel.
func TestFixedDependencyIsOpened(t *testing.T) {
	authority := newTestCA(t)
	upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "payments.test")}})
	_, js := natstest.New(t)
	c := startOpening(t, Config{Outbound: []string{"0=" + address(upstream)}, UpstreamCA: authority.file(t)}, Deps{JS: js})
	web := secureClient(t, "", &tls.Config{RootCAs: c.ca, ServerName: "payments.test"})
	if got, err := fetch(t, web, strings.Replace(c.url(0), "http", "https", 1)+"/f"); got != "GET /f " {
		t.Errorf("got %q, %v", got, err)
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 || out.rows[0].Protocol != "http" || out.exchanges[0].Connection.GetTls().GetServerName() != "payments.test" {
		t.Errorf("recorded %+v", out.rows)
	}
}

// TestClientsNobodyHereWrote: each verifies our certificate with the file that
// record gives it.
func TestClientsNobodyHereWrote(t *testing.T) {
	authority := newTestCA(t)
	upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "localhost")}})
	_, port, _ := net.SplitHostPort(address(upstream))
	url := "https://localhost:" + port
	_, js := natstest.New(t)
	c := startOpening(t, Config{UpstreamCA: authority.file(t)}, Deps{JS: js})
	bundle := filepath.Join(c.data, "ca-bundle.pem")
	opening, err := ca.Open(ca.File(c.data), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := opening.WriteBundle(bundle, func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	proxy := c.Addrs()[0].String()
	for name, argv := range map[string][]string{
		"curl":    {"curl", "-sS", "--proxy", "http://" + proxy, "--noproxy", "", url + "/curl"},
		"socks":   {"curl", "-sS", "--proxy", "socks5h://" + proxy, "--noproxy", "", url + "/socks"},
		"node":    {"node", "-e", nodeClient, proxy, "localhost:" + port},
		"openssl": {"openssl", "s_client", "-proxy", proxy, "-connect", "localhost:" + port, "-servername", "localhost", "-CAfile", bundle, "-verify_return_error", "-quiet"},
		"python":  {"python3", "-c", pythonClient, "http://" + proxy, url + "/python"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(argv[0]); err != nil {
				t.Skipf("no %s here", argv[0])
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
			cmd.Env = append(os.Environ(), ca.Variables(bundle)...)
			cmd.Stdin = strings.NewReader("GET /openssl HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("GET /"+name+" ")) {
				t.Errorf("%v\n%s", err, out)
			}
			opened := value(t, c.metrics.opened)
			cmd = exec.CommandContext(ctx, argv[0], argv[1:]...) // and it does verify: without our CA it fails
			cmd.Args = slices.DeleteFunc(cmd.Args, func(a string) bool { return a == "-CAfile" || a == bundle })
			if out, err := cmd.CombinedOutput(); err == nil || bytes.Contains(out, []byte("GET /")) {
				t.Errorf("does not verify: %s", out)
			}
			if n := value(t, c.metrics.opened); n > opened+1 {
				t.Errorf("opened %v, then %v", opened, n)
			}
		})
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	seen := map[string]bool{}
	for _, row := range out.rows {
		seen[row.Path] = seen[row.Path] || row.Protocol == "http" && row.Status == "200"
	}
	if !seen["/curl"] || !seen["/socks"] {
		t.Errorf("recorded %v", seen)
	}
}

// nodeClient is https over a CONNECT of its own: Node 20 reads no proxy
// variables.
const nodeClient = `
const http = require('http'), https = require('https');
const [proxy, target] = process.argv.slice(1);
const [host, port] = proxy.split(':');
http.request({host, port, method: 'CONNECT', path: target}).on('connect', (answer, socket) => {
  https.get({host: 'localhost', path: '/node', socket, agent: false, servername: 'localhost'}, r => r.pipe(process.stdout))
    .on('error', e => { console.error(e.message); process.exit(1); });
}).end();`

const pythonClient = `
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({'https': sys.argv[1]}))
print(opener.open(sys.argv[2]).read().decode())`

// An upstream that is gone when it is asked again, and one that never answers
// the handshake, end in bounded time.
func TestUpstreamGoneAtTheSecondDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted atomic.Int32
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		accepted.Add(1)
		l.Close()
		conn.Read(make([]byte, 1))
		conn.Close()
	}()
	_, js := natstest.New(t)
	c := startOpening(t, Config{}, Deps{JS: js})
	if _, err := fetch(t, c.web(t, c.ca), "https://"+l.Addr().String()); err == nil || accepted.Load() != 1 {
		t.Errorf("%v after %d connections", err, accepted.Load())
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 || out.rows[0].Class != events.StatusClass_FAILED {
		t.Errorf("recorded %+v", out.rows)
	}
}

// What is learned is bounded, ages, and survives another process writing.
func TestMemory(t *testing.T) {
	file, now := filepath.Join(t.TempDir(), "data", "passthrough.json"), time.Now()
	one, err := openPassthrough(nil, file, "ca1")
	if err != nil {
		t.Fatal(err)
	}
	two, err := openPassthrough(nil, file, "ca1")
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range []*passthrough{one, two} {
		if err := p.remember(visitor{fmt.Sprintf("host%d:443", i), "c"}, passPinned, now); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 * maxRemembered {
		two.forNow(fmt.Sprintf("other%d:443", i), passUnverified, now.Add(time.Second))
	}
	if len(two.learned) != maxRemembered {
		t.Errorf("%d are remembered", len(two.learned))
	}
	again, err := openPassthrough(nil, file, "ca1")
	if err != nil || len(again.learned) != 2 {
		t.Fatalf("%d of 2 are read again, %v", len(again.learned), err)
	}
	who := visitor{"host0:443", "c"}
	if again.reason(who, "host0:443", now) != passPinned || again.reason(who, "host0:443", now.Add(memoryAge)) != "" || again.reason(visitor{who.host, "d"}, "host0:443", now) != "" {
		t.Error("a refusal is not for its client and its time")
	}
	again.ca = "ca2"
	if again.reason(who, "host0:443", now) != "" {
		t.Error("a refusal is not for its CA")
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openPassthrough(nil, file, "ca1"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a broken file: %v", err)
	}
}
