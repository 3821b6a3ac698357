package programs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	//lint:ignore SA1019 net/http can't be upgraded to h2c, which is tested here
	"golang.org/x/net/http2/h2c"

	"golang.org/x/net/http2"
)

// origin is what the programs call: this machine by its name and by loopback,
// in clear and by TLS. It answers with what it was asked.
type origin struct {
	name       string // of this machine
	plain, tls string // ports
	roots      string // file with the root of its certificate
	cert, key  string // files
}

func newOrigin(t *testing.T, h http.Handler) *origin {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := net.LookupHost(name); err != nil {
		t.Fatalf("the name of this machine must resolve: %v", err)
	}
	return newOriginAt(t, name, h, func() net.Listener { return listen(t) })
}

// newOriginAt is one of another name, which listens elsewhere.
func newOriginAt(t *testing.T, name string, h http.Handler, listen func() net.Listener) *origin {
	t.Helper()
	dir := t.TempDir()
	o := &origin{name: name, roots: filepath.Join(dir, "roots.pem"), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	certificate := o.certificate(t)
	//lint:ignore SA1019 net/http can't be upgraded to h2c
	o.plain = serve(t, listen(), h2c.NewHandler(h, &http2.Server{}), nil)
	o.tls = serve(t, listen(), h, &tls.Config{Certificates: []tls.Certificate{certificate}})
	return o
}

// clientsOwn are headers that clients choose by themselves for http or https,
// with a proxy or without: Java offers h2c only without one, Node br only by
// https, Go HTTP/2 only by https. Host is the LISTEN of a fixed dependency.
var clientsOwn = []string{"Accept-Encoding", "Connection", "Http2-Settings", "Upgrade", "User-Agent"}

// echo answers with the request as it came.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s\n", r.Method, r.RequestURI)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if !slices.Contains(clientsOwn, name) {
			fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
		}
	}
	fmt.Fprintf(w, "%s", body)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func portOf(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func serve(t *testing.T, l net.Listener, h http.Handler, secure *tls.Config) (port string) {
	t.Helper()
	s := &http.Server{Handler: h, TLSConfig: secure, ErrorLog: log.New(io.Discard, "", 0), Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	if secure != nil {
		go s.ServeTLS(l, "", "")
	} else {
		go s.Serve(l)
	}
	t.Cleanup(func() { s.Close() })
	return portOf(l)
}

// certificate is one for the machine's name and loopback; it is written into
// files, with the root that signs it.
func (o *origin) certificate(t *testing.T) tls.Certificate {
	t.Helper()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "programs test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: o.name}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{o.name, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	rootKey, leafKey := newKey(t), newKey(t)
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, o.roots, "CERTIFICATE", rootDER)
	writePEM(t, o.cert, "CERTIFICATE", leafDER)
	writePEM(t, o.key, "PRIVATE KEY", keyDER)
	return tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
