package ca

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// systemRoots is where systems keep their roots as one file: Debian, Fedora,
// SUSE, RHEL, then Alpine, macOS and the BSDs.
var systemRoots = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// fileVariables name a file with roots, for the programs and libraries that
// read them: OpenSSL, Go, Ruby, Python's ssl · curl · Python's requests · Node
// · the AWS SDKs · git · pip · Deno · cargo · gRPC's C core.
var fileVariables = []string{
	"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE",
	"GIT_SSL_CAINFO", "PIP_CERT", "DENO_CERT", "CARGO_HTTP_CAINFO", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
}

// Variables make programs read their roots from a bundle.
func Variables(bundle string) []string {
	if absolute, err := filepath.Abs(bundle); err == nil {
		bundle = absolute // the program may start elsewhere
	}
	var out []string
	for _, name := range fileVariables {
		out = append(out, name+"="+bundle)
	}
	return out
}

// WriteBundle writes the authority's certificate behind all roots that
// programs had before, into a file for Variables: the system's, and those of
// files that getenv names already.
func (c *CA) WriteBundle(path string, getenv func(string) string) error {
	var bundle bytes.Buffer
	seen := map[string]bool{}
	for _, file := range rootFiles(getenv) {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // named, and not there: the program did without it, too
		}
		appendCertificates(&bundle, text, seen)
	}
	if len(seen) == 0 {
		return errors.New("write certificate bundle: this system's roots are not found")
	}
	bundle.Write(c.PEM())
	if err := replace(path, bundle.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write certificate bundle: %w", err)
	}
	return nil
}

// rootFiles are the files of roots, each once.
func rootFiles(getenv func(string) string) []string {
	var files []string
	if getenv("SSL_CERT_FILE") == "" { // it replaces the system's
		for _, file := range systemRoots {
			if _, err := os.Stat(file); err == nil {
				files = append(files, file)
				break
			}
		}
	}
	for _, name := range fileVariables {
		if file := getenv(name); file != "" {
			files = append(files, file)
		}
	}
	return files
}

func appendCertificates(to *bytes.Buffer, text []byte, seen map[string]bool) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" && !seen[string(block.Bytes)] {
			seen[string(block.Bytes)] = true
			pem.Encode(to, &pem.Block{Type: block.Type, Bytes: block.Bytes}) // to memory: never fails
		}
	}
}

// WriteCertificate writes the certificate into a file of its own, for
// programs to trust.
func (c *CA) WriteCertificate(path string) error {
	if err := replace(path, c.PEM(), 0o644); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}

// replace puts a whole file into place: readers see the old or the new one.
func replace(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
