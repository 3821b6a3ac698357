package capture

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// testCA is an authority that upstreams of tests have their certificates of.
type testCA struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newTestCA(t testing.TB) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &testCA{c, key}
}

// leaf signs a certificate for names (and addresses) until end.
func (c *testCA) leaf(t testing.TB, end time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.certificate, &key.PublicKey, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (c *testCA) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.certificate)
	return pool
}

// file is the CA's certificate in a file.
func (c *testCA) file(t testing.TB) string {
	return writeFile(t, filepath.Join(t.TempDir(), "roots.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.certificate.Raw}))
}

func writeFile(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// writePair puts a certificate and its key into files.
func writePair(t testing.TB, dir string, c tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, filepath.Join(dir, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})),
		writeFile(t, filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func inAnHour() time.Time { return time.Now().Add(time.Hour) }

// secureServer answers "METHOD path body" over TLS.
func secureServer(t testing.TB, config *tls.Config) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, body)
	}))
	s.TLS, s.EnableHTTP2 = config, true
	s.TLS.NextProtos = []string{"h2", "http/1.1"}
	s.Config.ErrorLog = quietStdLog()
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// secureClient trusts roots and speaks TLS as config says (nil: as it does).
func secureClient(t testing.TB, proxy string, config *tls.Config) *http.Client {
	c := client(t, proxy)
	c.Transport.(*http.Transport).TLSClientConfig = config
	return c
}

func TestInboundTLS(t *testing.T) {
	authority, dir := newTestCA(t), t.TempDir()
	cert, key := writePair(t, dir, authority.leaf(t, inAnHour(), "shop.test"))
	upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "shop.test")}})
	_, js := natstest.New(t)
	c := start(t, Config{
		Inbound: []string{"0=" + address(echo(t)), "0=https://" + address(upstream)}, InboundCert: cert, InboundKey: key, UpstreamCA: authority.file(t),
	}, Deps{JS: js})
	web := secureClient(t, "", &tls.Config{RootCAs: authority.pool(), ServerName: "shop.test"})
	if got := post(t, web, strings.Replace(c.url(0), "http", "https", 1)+"/a", "text/plain", random(100<<10)); !bytes.Equal(got, random(100<<10)) {
		t.Errorf("got %d bytes through TLS on one side", len(got))
	}
	if got := post(t, web, strings.Replace(c.url(1), "http", "https", 1)+"/b", "text/plain", []byte("x")); string(got) != "POST /b x" {
		t.Errorf("got %q through TLS on both sides", got)
	}
	web.CloseIdleConnections()
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 2 {
		t.Fatalf("recorded %d, want 2: %v", len(out.rows), out.last.Counters)
	}
	for i, x := range out.exchanges {
		facts := x.Connection.Tls
		if x.Request.Scheme != "https" || facts.GetVersion() != "TLS 1.3" || facts.GetServerName() != "shop.test" || !strings.HasPrefix(facts.GetCipher(), "TLS_") {
			t.Errorf("exchange %d: scheme %s, %v", i, x.Request.Scheme, facts)
		}
		if out.rows[i].Direction != events.Direction_INBOUND || out.rows[i].Protocol != "http" || out.rows[i].Status != "200" {
			t.Errorf("row %+v", out.rows[i])
		}
	}
}

func TestInboundCertificateIsReadAgain(t *testing.T) {
	first, second, dir := newTestCA(t), newTestCA(t), t.TempDir()
	cert, key := writePair(t, dir, first.leaf(t, inAnHour(), "shop.test"))
	c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}, InboundCert: cert, InboundKey: key}, Deps{})
	served := func(by *testCA) bool {
		conn, err := tls.Dial("tcp", c.Addrs()[0].String(), &tls.Config{RootCAs: by.pool(), ServerName: "shop.test"})
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}
	if !served(first) {
		t.Fatal("the first certificate is not served")
	}
	writeFile(t, cert, []byte("half of a certificate"))
	c.terms.certificate.mu.Lock()
	c.terms.certificate.checked = time.Time{} // a second later
	c.terms.certificate.mu.Unlock()
	if !served(first) {
		t.Fatal("a broken file replaces a certificate")
	}
	writePair(t, dir, second.leaf(t, inAnHour(), "shop.test"))
	eventually(t, "the second certificate", func() bool { return served(second) })
}

// A bad certificate of the upstream ends the client's connection, and is
// recorded; nothing is sent to it.
func TestInboundVerifiesItsUpstream(t *testing.T) {
	authority := newTestCA(t)
	upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "other.test")}})
	_, js := natstest.New(t)
	cert, key := writePair(t, t.TempDir(), authority.leaf(t, inAnHour(), "shop.test"))
	c := start(t, Config{Inbound: []string{"0=https://" + address(upstream)}, Outbound: []string{"0=https://" + address(upstream)},
		InboundCert: cert, InboundKey: key, UpstreamCA: authority.file(t)}, Deps{JS: js})
	web := secureClient(t, "", &tls.Config{RootCAs: authority.pool(), ServerName: "shop.test"})
	for i, scheme := range []string{"https", "http"} {
		if answer, err := web.Get(strings.Replace(c.url(i), "http", scheme, 1)); err == nil {
			t.Errorf("%s: status %d from an upstream with another's certificate", scheme, answer.StatusCode)
		}
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 2 {
		t.Fatalf("recorded %d, want 2", len(out.rows))
	}
	for _, x := range out.exchanges {
		if !strings.Contains(x.Failure, "certificate") {
			t.Errorf("%s: failure %q", x.Direction, x.Failure)
		}
	}
}

func TestOutboundAddsTLS(t *testing.T) {
	authority := newTestCA(t)
	upstream := secureServer(t, &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "127.0.0.1")}})
	_, js := natstest.New(t)
	c := start(t, Config{Outbound: []string{"0=https://" + address(upstream)}, UpstreamCA: authority.file(t)}, Deps{JS: js})
	if got := post(t, client(t, ""), c.url(0)+"/pay", "text/plain", []byte("7")); string(got) != "POST /pay 7" {
		t.Errorf("got %q", got)
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 || out.exchanges[0].Connection.Tls == nil || out.exchanges[0].Connection.Listen == "" {
		t.Errorf("recorded %+v", out.exchanges)
	}
}

// Ends are passed on as they were said: close_notify with FIN, or FIN alone.
func TestTLSEndsAsItDoesWithoutUs(t *testing.T) {
	authority := newTestCA(t)
	config := &tls.Config{Certificates: []tls.Certificate{authority.leaf(t, inAnHour(), "shop.test")}}
	cert, key := writePair(t, t.TempDir(), config.Certificates[0])
	for _, notify := range []bool{true, false} {
		upstream, err := tls.Listen("tcp", "127.0.0.1:0", config)
		if err != nil {
			t.Fatal(err)
		}
		defer upstream.Close()
		ended := make(chan string, 1)
		go func() {
			accepted, err := upstream.Accept()
			if err != nil {
				return
			}
			conn := accepted.(*tls.Conn)
			defer conn.NetConn().Close()
			got, err := io.ReadAll(conn) // until the client's half-close
			ended <- fmt.Sprint(string(got), err)
			io.WriteString(conn, "answer")
			if notify {
				conn.CloseWrite()
			}
		}()
		c := start(t, Config{Inbound: []string{"0=https://" + upstream.Addr().String()}, InboundCert: cert, InboundKey: key, UpstreamCA: authority.file(t)}, Deps{})
		conn, err := tls.Dial("tcp", c.Addrs()[0].String(), &tls.Config{RootCAs: authority.pool(), ServerName: "shop.test"})
		if err != nil {
			t.Fatal(err)
		}
		seen := &endWatcher{Conn: conn.NetConn()}
		io.WriteString(conn, "question")
		conn.CloseWrite()
		if got, err := io.ReadAll(conn); string(got) != "answer" || err != nil {
			t.Errorf("client reads %q, %v", got, err)
		}
		if got := <-ended; got != "question<nil>" {
			t.Errorf("upstream reads %q", got)
		}
		if n := seen.rest(t); n != 0 {
			t.Errorf("notify %v: %d bytes behind the end", notify, n)
		}
		conn.NetConn().Close()
		c.stop()
	}
}

// endWatcher reads what is below TLS after its end.
type endWatcher struct{ net.Conn }

func (w *endWatcher) rest(t *testing.T) int {
	w.SetReadDeadline(time.Now().Add(10 * time.Second))
	rest, err := io.ReadAll(w)
	if err != nil {
		t.Errorf("no FIN behind the end: %v", err)
	}
	return len(rest)
}

func TestHandshakesThatFail(t *testing.T) {
	authority := newTestCA(t)
	cert, key := writePair(t, t.TempDir(), authority.leaf(t, inAnHour(), "shop.test"))
	_, js := natstest.New(t)
	c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}, InboundCert: cert, InboundKey: key}, Deps{JS: js})
	look, err := net.Dial("tcp", c.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	look.Close() // only looks whether we listen
	if answer, err := client(t, "").Get(c.url(0)); err == nil {
		t.Errorf("plain HTTP: status %d", answer.StatusCode)
	}
	if _, err := tls.Dial("tcp", c.Addrs()[0].String(), &tls.Config{ServerName: "shop.test", RootCAs: x509.NewCertPool()}); err == nil {
		t.Error("a client without our root shakes hands")
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 2 || out.rows[0].Class != events.StatusClass_FAILED || out.rows[1].Class != events.StatusClass_FAILED {
		t.Errorf("recorded %+v, want the two failures", out.rows)
	}
}

func TestOpenSSLSeesTheCertificate(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	authority := newTestCA(t)
	cert, key := writePair(t, t.TempDir(), authority.leaf(t, inAnHour(), "shop.test"))
	c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}, InboundCert: cert, InboundKey: key}, Deps{})
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, openssl, "s_client", "-connect", c.Addrs()[0].String(), "-servername", "shop.test",
			"-CAfile", authority.file(t), "-verify_return_error", "-alpn", "h2,http/1.1", "-ign_eof", version)
		cmd.Stdin = strings.NewReader("GET /x HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("HTTP/1.1 200")) || !bytes.Contains(out, []byte("ALPN protocol: http/1.1")) {
			t.Errorf("%s: %v\n%s", version, err, out)
		}
	}
}
