package capture

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"tapedeck/capture/ca"
	"tapedeck/internal/natstest"
)

// TLS on both sides against what it is made of: the same requests to the same
// TLS server directly, through a relay that only decrypts, copies and
// encrypts, and through capture with every exchange recorded and published.

// benchTLSServer is benchServer by TLS.
func benchTLSServer(b *testing.B, config *tls.Config) string {
	return serveTLS(b, config, answerBench)
}

// bareTLSRelay is what any Go program does that relays TLS.
func bareTLSRelay(b *testing.B, upstream string, server, client *tls.Config) string {
	return serveTLS(b, server, func(c net.Conn) {
		u, err := tls.Dial("tcp", upstream, client)
		if err != nil {
			return
		}
		defer u.Close()
		copyBoth(c, u)
	})
}

func serveTLS(b *testing.B, config *tls.Config, handle func(net.Conn)) string {
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l.Addr().String()
}

func copyBoth(a, b net.Conn) {
	go func() {
		io.Copy(struct{ io.Writer }{b}, struct{ io.Reader }{a})
		b.(interface{ CloseWrite() error }).CloseWrite()
	}()
	io.Copy(struct{ io.Writer }{a}, struct{ io.Reader }{b})
}

// loadTLS is load on connections that dial makes.
func loadTLS(b *testing.B, dial func() (net.Conn, error)) {
	var wg sync.WaitGroup
	for i := range benchConnections {
		n := b.N / benchConnections
		if i < b.N%benchConnections {
			n++
		}
		wg.Go(func() {
			c, err := dial()
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			if err := askOn(c, "shop.test", i, n); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

func measureTLS(b *testing.B, dial func() (net.Conn, error), after func()) {
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	loadTLS(b, dial)
	b.StopTimer()
	if after != nil {
		after()
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e3, "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

func BenchmarkTLSRelay(b *testing.B) {
	authority := newTestCA(b)
	server := &tls.Config{Certificates: []tls.Certificate{authority.leaf(b, inAnHour(), "shop.test", "127.0.0.1")}}
	trusting := &tls.Config{RootCAs: authority.pool(), ServerName: "shop.test"}
	to := func(address string) func() (net.Conn, error) {
		return func() (net.Conn, error) { return tls.Dial("tcp", address, trusting) }
	}
	b.Run("direct", func(b *testing.B) { measureTLS(b, to(benchTLSServer(b, server)), nil) })
	b.Run("bare", func(b *testing.B) {
		measureTLS(b, to(bareTLSRelay(b, benchTLSServer(b, server), server, trusting)), nil)
	})
	b.Run("inbound", func(b *testing.B) {
		_, js := natstest.New(b)
		dir := b.TempDir()
		cert, key := writePair(b, dir, server.Certificates[0])
		c := start(b, Config{Inbound: []string{"0=https://" + benchTLSServer(b, server)}, InboundCert: cert, InboundKey: key, UpstreamCA: authority.file(b), TapeAge: time.Second},
			Deps{JS: js, Data: dir})
		measureTLS(b, to(c.Addrs()[0].String()), c.stop)
		reportRecorded(b, c)
	})
	b.Run("opened", func(b *testing.B) {
		_, js := natstest.New(b)
		upstream, dir := benchTLSServer(b, server), b.TempDir()
		c := start(b, Config{Outbound: []string{"0"}, OutboundTLS: "open", UpstreamCA: authority.file(b), TapeAge: time.Second}, Deps{JS: js, Data: dir})
		roots := x509.NewCertPool()
		text, err := os.ReadFile(ca.CertificateFile(dir))
		if err != nil || !roots.AppendCertsFromPEM(text) {
			b.Fatal(err)
		}
		measureTLS(b, func() (net.Conn, error) {
			conn, err := net.Dial("tcp", c.Addrs()[0].String())
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\n\r\n", upstream)
			if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))); err != nil {
				return nil, err
			}
			return tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "shop.test"}), nil
		}, c.stop)
		reportRecorded(b, c)
	})
}

func reportRecorded(b *testing.B, c *running) {
	b.ReportMetric(float64(c.Counts().Taped)/float64(b.N), "recorded/op")
}
