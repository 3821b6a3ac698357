// Package ca is the certificate authority of an installation: it signs the
// leaf certificates by which capture opens the TLS of outbound calls.
//
// The authority is one file with its key and certificate, mode 0600, made at
// first use. It is valid for a year at most and replaced a month before its
// end. Its key is never printed, logged or sent. Programs trust its
// certificate, which has a file of its own.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	// validity is a little less than a year.
	validity = 360 * 24 * time.Hour
	// renewal is how long before its end the authority is replaced.
	renewal = 30 * 24 * time.Hour
	// skew is how far the clock of a program may be behind ours.
	skew = time.Hour
)

// CA is an authority. It may be used by many goroutines.
type CA struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	leaves      leaves
}

// File is where the authority of a data folder is kept.
func File(data string) string { return filepath.Join(data, "ca.pem") }

// CertificateFile is where its certificate alone is put, for programs to
// trust.
func CertificateFile(data string) string { return filepath.Join(data, "ca.crt") }

// Open reads the authority at path. A missing one is made, and one that ends
// soon is replaced: programs must trust the new one then.
func Open(path string, now time.Time) (*CA, error) {
	for range 2 { // another process may be making it at the same moment
		c, err := read(path)
		switch {
		case err == nil && now.Before(c.Certificate.NotAfter.Add(-renewal)):
			return c, nil
		case err == nil:
			err = os.Remove(path)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("open certificate authority: %w", err)
		default:
			err = nil
		}
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			err = create(path, now)
		}
		if err != nil {
			return nil, fmt.Errorf("make certificate authority: %w", err)
		}
	}
	c, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("open certificate authority: %w", err)
	}
	return c, nil
}

func read(path string) (*CA, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &CA{leaves: newLeaves()}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			c.Certificate, err = x509.ParseCertificate(block.Bytes)
		case "PRIVATE KEY":
			c.key, err = parseKey(block.Bytes)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if c.Certificate == nil || c.key == nil {
		return nil, fmt.Errorf("%s does not hold a certificate and its key", path)
	}
	if !c.Certificate.IsCA || !c.key.PublicKey.Equal(c.Certificate.PublicKey) {
		return nil, fmt.Errorf("%s: the key is not that of a certificate authority", path)
	}
	return c, nil
}

// parseKey never puts the key's text into an error.
func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the private key can't be read")
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is not of an elliptic curve")
	}
	return ec, nil
}

// create links the finished file into place: of two processes that start at
// once, both get the authority of the one that was first.
func create(path string, now time.Time) error {
	der, key, err := sign(now)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".ca-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// sign makes a certificate that signs itself.
func sign(now time.Time) (der []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: clip("tapedeck CA of "+host, 64), Organization: []string{"tapedeck"}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(validity),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return der, key, err
}

func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	b[0] &= 0x7f    // positive
	return new(big.Int).SetBytes(b[:])
}

// clip keeps a name within the bound of X.509 (ub-common-name).
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// PEM is the authority's certificate, without its key.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate.Raw})
}

// Fingerprint is the SHA-256 of the certificate in hex.
func (c *CA) Fingerprint() string {
	sum := sha256.Sum256(c.Certificate.Raw)
	return hex.EncodeToString(sum[:])
}

// String hides the key from logs.
func (c *CA) String() string { return c.Certificate.Subject.CommonName }

// GoString hides the key from logs.
func (c *CA) GoString() string { return c.String() }
