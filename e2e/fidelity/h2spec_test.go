package fidelity

import (
	"crypto/x509"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"testing"

	"tapedeck/capture"
	"tapedeck/internal/tool"
)

// TestH2specFindsNoDifference: the cases of h2spec that a real server fails are
// the same direct and through us: HTTP/2 in clear, TLS passed on, and TLS that
// ends at us.
func TestH2specFindsNoDifference(t *testing.T) {
	spec := tool.H2spec.Require(t)
	for _, test := range []struct {
		name   string
		secure bool
		cfg    func(t *testing.T, s *httptest.Server) capture.Config
	}{
		{"h2c", false, func(_ *testing.T, s *httptest.Server) capture.Config {
			return capture.Config{Inbound: []string{"0=" + s.Listener.Addr().String()}}
		}},
		{"TLS passed on", true, func(_ *testing.T, s *httptest.Server) capture.Config {
			return capture.Config{Inbound: []string{"0=" + s.Listener.Addr().String()}}
		}},
		{"TLS ended and begun", true, func(t *testing.T, s *httptest.Server) capture.Config {
			cert, key := pemFiles(t, s)
			return capture.Config{Inbound: []string{"0=https://" + s.Listener.Addr().String()}, InboundCert: cert, InboundKey: key, UpstreamCA: cert}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := startH2(test.secure)
			defer s.Close()
			c := startWith(t, test.cfg(t, s))
			direct, through := s.Listener.Addr().String(), c.inbound()
			want := conformance(t, spec, direct, test.secure)
			got := conformance(t, spec, through, test.secure)
			t.Logf("%d cases, of which the server fails %d", len(want), len(failed(want)))
			if len(want) < 100 {
				t.Error("want 100 cases at least")
			}
			differ := differing(want, got)
			for range 4 { // some cases are a race in the server, or too slow on a busy machine
				if len(differ) > 0 {
					again := groups(differ)
					want, got = conformance(t, spec, direct, test.secure, again...), conformance(t, spec, through, test.secure, again...)
					differ = differing(want, got)
				}
			}
			if len(differ) > 0 || len(want) == 0 {
				t.Errorf("%q differ: failed through us %q, direct %q", differ, failed(got), failed(want))
			}
			c.mustBeWhole(1)
		})
	}
}

// startH2 is Go's HTTP/2 server.
func startH2(secure bool) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "hello")
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
		return s
	}
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	return s
}

// pemFiles are the server's certificate and key, for capture to serve with.
func pemFiles(t *testing.T, s *httptest.Server) (cert, key string) {
	t.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: s.Certificate().Raw}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// conformance runs h2spec, or some groups of its cases, and says which passed.
func conformance(t *testing.T, spec, address string, secure bool, groups ...string) map[string]bool {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.xml")
	args := append([]string{"-h", host, "-p", port, "-j", report}, groups...)
	if secure {
		args = append(args, "-t", "-k")
	}
	out, err := exec.CommandContext(t.Context(), spec, args...).CombinedOutput() // it exits with 1 when a case fails
	raw, missing := os.ReadFile(report)
	if missing != nil {
		t.Fatalf("h2spec: %v: %s", err, out)
	}
	var suites struct {
		Suite []struct {
			Package string `xml:"package,attr"`
			Case    []struct {
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(raw, &suites); err != nil {
		t.Fatal(err)
	}
	passed := map[string]bool{}
	for _, s := range suites.Suite {
		for i, c := range s.Case {
			if c.Skipped == nil {
				passed[fmt.Sprintf("%s/%d", s.Package, i+1)] = c.Failure == nil && c.Error == nil
			}
		}
	}
	return passed
}

func differing(a, b map[string]bool) (cases []string) {
	for id, passed := range a {
		if other, ok := b[id]; !ok || other != passed {
			cases = append(cases, id)
		}
	}
	slices.Sort(cases)
	return cases
}

// groups are those that hold the cases.
func groups(cases []string) (all []string) {
	for _, id := range cases {
		all = append(all, path.Dir(id))
	}
	return slices.Compact(all)
}

func failed(all map[string]bool) (cases []string) {
	for id, passed := range all {
		if !passed {
			cases = append(cases, id)
		}
	}
	slices.Sort(cases)
	return cases
}
