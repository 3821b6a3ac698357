package fidelity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"tapedeck/capture"
	"tapedeck/capture/ca"
)

// dialer makes the connection that a client talks on.
type dialer func() (net.Conn, error)

func plainly(address string) dialer {
	return func() (net.Conn, error) { return net.Dial("tcp", address) }
}

// connect is a tunnel of an HTTP proxy.
func connect(proxy, to string) dialer {
	return asking(proxy, fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", to), "HTTP/1.1 200 Connection established\r\n\r\n")
}

// socks is one of a SOCKS5 proxy (RFC 1928), to an IPv4 address.
func socks(proxy string, to *net.TCPAddr) dialer {
	hello, request := "\x05\x01\x00", "\x05\x01\x00\x01"+string(to.IP.To4())+string([]byte{byte(to.Port >> 8), byte(to.Port)})
	return asking(proxy, hello+request, "\x05\x00"+"\x05\x00\x00")
}

// asking says something to a proxy before the connection is the client's. The
// answer begins as is wanted; nothing behind it is read.
func asking(proxy, say, want string) dialer {
	return func() (net.Conn, error) {
		c, err := net.Dial("tcp", proxy)
		if err != nil {
			return nil, err
		}
		c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, say); err != nil {
			return nil, err
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			c.Close()
			return nil, fmt.Errorf("the proxy answers %q, %w", got, err)
		}
		if strings.HasPrefix(want, "\x05") { // the rest is the address that it called from: IPv4
			_, err = io.ReadFull(c, make([]byte, 1+4+2))
		}
		return c, err
	}
}

// secured speaks TLS on what dial makes.
func secured(dial dialer, trust *x509.CertPool) dialer {
	return func() (net.Conn, error) {
		c, err := dial()
		if err != nil {
			return nil, err
		}
		client := tls.Client(c, &tls.Config{RootCAs: trust, ServerName: "example.com"})
		c.SetDeadline(time.Now().Add(patience))
		return client, client.Handshake()
	}
}

// TestTheOriginIsSentTheSameBytesThroughTunnels: CONNECT and SOCKS5.
func TestTheOriginIsSentTheSameBytesThroughTunnels(t *testing.T) {
	t.Parallel()
	all := cases()
	s := &socket{listenLocal(t)}
	c := startWith(t, capture.Config{Outbound: []string{"0"}})
	proxy, to := c.Addrs()[0].String(), s.l.Addr().(*net.TCPAddr)
	for i, k := range all {
		for mode, way := range map[string]dialer{"CONNECT": connect(proxy, to.String()), "SOCKS5": socks(proxy, to)} {
			if err := s.checkBy(way, k, scriptOf(i)); err != nil {
				t.Errorf("%s %s: %v", mode, k.name, err)
			}
		}
	}
	c.mustBeWhole(2 * len(all))
}

// TestAnOriginAnswersTheSameInOpenedTLS: the raw cases in TLS that we open, in
// a tunnel and at a fixed dependency, to net/http.
func TestAnOriginAnswersTheSameInOpenedTLS(t *testing.T) {
	t.Parallel()
	origin := httptest.NewUnstartedServer(nil)
	origin.Config = goServer(time.Minute)
	origin.StartTLS()
	t.Cleanup(origin.Close)
	roots, _ := pemFiles(t, origin)
	direct := origin.Listener.Addr().String()
	data := t.TempDir()
	c := startIn(t, data, capture.Config{Outbound: []string{"0", "0=" + direct}, OutboundTLS: "open", UpstreamCA: roots})
	ours := x509.NewCertPool()
	if pem, err := os.ReadFile(ca.CertificateFile(data)); err != nil || !ours.AppendCertsFromPEM(pem) {
		t.Fatalf("the certificate of the authority: %v", err)
	}
	theirs := x509.NewCertPool()
	theirs.AddCert(origin.Certificate())
	var n comparison
	some(cases(), finish, func(k *talk) {
		if err := n.ways(k, secured(plainly(direct), theirs),
			secured(connect(c.Addrs()[0].String(), direct), ours), secured(plainly(c.Addrs()[1].String()), ours)); err != nil {
			t.Error(err)
		}
	})
	if opened := c.metric("tapedeck_capture_tls_opened_total"); int(opened) < 2*int(n.cases.Load()) {
		t.Errorf("the TLS of %v connections is opened, want that of %d at least", opened, 2*n.cases.Load())
	}
	c.mustBeWhole(2 * int(n.cases.Load()))
	t.Logf("%d cases, %d with an answer; in %d the origin alone gives several", n.cases.Load(), n.answered.Load(), n.timing.Load())
}
