package ca

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t testing.TB, now time.Time) (*CA, string) {
	t.Helper()
	file := File(filepath.Join(t.TempDir(), "data"))
	c, err := Open(file, now)
	if err != nil {
		t.Fatal(err)
	}
	return c, file
}

func TestOpenMakesItOnce(t *testing.T) {
	now := time.Now()
	c, file := open(t, now)
	if name := c.String(); !strings.HasPrefix(name, "tapedeck CA of ") {
		t.Errorf("name %q", name)
	}
	if age := c.Certificate.NotAfter.Sub(c.Certificate.NotBefore); age > 365*24*time.Hour {
		t.Errorf("valid for %s, want a year at most", age)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if again, err := Open(file, now); err != nil || again.Fingerprint() != c.Fingerprint() {
				t.Errorf("opened again: %v, %v", again, err)
			}
		})
	}
	all.Wait()
	if bytes.Contains(c.PEM(), []byte("PRIVATE")) || strings.Contains(fmt.Sprintf("%v %+v %#v", c, c, c), "key") {
		t.Error("the key is shown")
	}
}

func TestOpenReplacesWhatEndsSoon(t *testing.T) {
	now := time.Now()
	c, file := open(t, now)
	later, err := Open(file, now.Add(validity-renewal+time.Hour))
	if err != nil || later.Fingerprint() == c.Fingerprint() {
		t.Errorf("a month before its end: %v, want another", err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	_, one := open(t, time.Now())
	_, two := open(t, time.Now())
	a, _ := os.ReadFile(one)
	b, _ := os.ReadFile(two)
	certificate, _, _ := bytes.Cut(a, []byte("-----BEGIN PRIVATE"))
	_, key, _ := bytes.Cut(b, []byte("-----BEGIN PRIVATE"))
	for name, text := range map[string][]byte{
		"empty": nil, "no key": certificate, "another's key": append(bytes.Clone(certificate), append([]byte("-----BEGIN PRIVATE"), key...)...),
		"broken": []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(file, time.Now()); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLeaf(t *testing.T) {
	now := time.Now()
	c, _ := open(t, now)
	roots := x509.NewCertPool()
	roots.AddCert(c.Certificate)
	for _, name := range []string{"api.example", "10.1.2.3", "::1", strings.Repeat("a", 60) + ".test"} {
		leaf, err := c.Leaf(name, now)
		if err != nil {
			t.Fatal(err)
		}
		verify := x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now}
		if strings.Contains(name, ":") {
			verify.DNSName = "[" + name + "]"
		}
		if _, err := leaf.Leaf.Verify(verify); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if age := leaf.Leaf.NotAfter.Sub(leaf.Leaf.NotBefore); age > 24*time.Hour {
			t.Errorf("%s: valid for %s", name, age)
		}
		same := func(at time.Time) bool {
			other, err := c.Leaf(name, at)
			return err == nil && bytes.Equal(other.Certificate[0], leaf.Certificate[0])
		}
		if !same(now.Add(time.Hour)) || same(now.Add(20*time.Hour)) {
			t.Errorf("%s: not kept for an hour, or for too long", name)
		}
	}
	if _, err := c.Leaf("not\xffa name", now); err == nil {
		t.Error("a name that is none: no error")
	}
}

// The memory for leaves is bounded; what is used stays.
func TestLeavesAreBounded(t *testing.T) {
	now := time.Now()
	c, _ := open(t, now)
	c.leaves.bound = 10
	kept, err := c.Leaf("0:0::1", now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := c.Leaf(fmt.Sprintf("h%d.test", i), now); err != nil {
			t.Fatal(err)
		}
		if again, _ := c.Leaf("::1", now); again != kept {
			t.Fatalf("after %d others: what is used was forgotten", i)
		}
	}
	if n, m := len(c.leaves.byName), c.leaves.used.Len(); n != 10 || m != 10 {
		t.Errorf("%d names and %d leaves are kept, want 10", n, m)
	}
}

func TestBundle(t *testing.T) {
	now := time.Now()
	c, _ := open(t, now)
	other, otherFile := open(t, now)
	file := filepath.Join(t.TempDir(), "bundle.pem")
	named := map[string]string{"SSL_CERT_FILE": otherFile, "CURL_CA_BUNDLE": otherFile, "PIP_CERT": filepath.Join(t.TempDir(), "missing")}
	if err := c.WriteBundle(file, func(name string) string { return named[name] }); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || bytes.Count(text, []byte("BEGIN CERTIFICATE")) != 2 || bytes.Contains(text, []byte("PRIVATE")) {
		t.Errorf("bundle %v:\n%s", err, text)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	for _, authority := range []*CA{c, other} {
		leaf, err := authority.Leaf("x.test", now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "x.test"}); err != nil {
			t.Error(err)
		}
	}
	if v := Variables(file); len(v) != len(fileVariables) || v[0] != "SSL_CERT_FILE="+file {
		t.Errorf("variables %q", v)
	}
}

func BenchmarkLeaf(b *testing.B) {
	c, _ := open(b, time.Now())
	var leaf *tls.Certificate
	for i := 0; b.Loop(); i++ {
		leaf, _ = c.Leaf(fmt.Sprintf("h%d.test", i), time.Now())
	}
	if leaf == nil {
		b.Error("no leaf")
	}
}
