// Package s3test runs a real S3 server for tests: VersityGW
// (https://github.com/versity/versitygw) over a private folder, on a free
// loopback port, with credentials of its own.
//
// A test that lacks the server skips, and builds it with REQUIRE_SERVICES=1.
package s3test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"tapedeck/internal/tool"
)

// Region is the region that every Server says it is in.
const Region = "us-east-1"

// Server is a running S3 server. It ends with the test.
type Server struct {
	Address string // host:port on the loopback
	Access  string // access key id
	Secret  string // secret access key
	Root    string // its folder: each sub-folder is a bucket

	cert, key string // files; "" without TLS

	tool   string
	state  string // where it keeps metadata
	cmd    *exec.Cmd
	exited chan struct{}
	output bytes.Buffer // to be read after exited only
}

// Start runs a server with these buckets in it.
func Start(t testing.TB, buckets ...string) *Server {
	t.Helper()
	return start(t, &Server{}, buckets)
}

// StartTLS runs one by TLS, with the certificate and key of these files. It
// listens on all addresses of this machine: clients need one by name.
func StartTLS(t testing.TB, cert, key string, buckets ...string) *Server {
	t.Helper()
	return start(t, &Server{cert: cert, key: key}, buckets)
}

func start(t testing.TB, s *Server, buckets []string) *Server {
	t.Helper()
	s.Access, s.Secret, s.Root, s.state, s.tool = random(10), random(20), t.TempDir(), t.TempDir(), tool.VersityGW.Require(t)
	for _, name := range buckets {
		if err := os.Mkdir(filepath.Join(s.Root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Stop)
	var err error
	// The port is free when it is looked for and may be taken a moment later.
	for range 5 {
		s.Address = freeAddress(t)
		if err = s.Run(t.Context()); err == nil {
			return s
		}
	}
	t.Fatalf("start S3 server: %v", err)
	return nil
}

// Endpoint is the server's URL.
func (s *Server) Endpoint() string {
	if s.cert != "" {
		return "https://" + s.Address
	}
	return "http://" + s.Address
}

// URL names a bucket and prefix of this server as --archive does.
func (s *Server) URL(bucket, prefix string) string {
	return "s3://" + bucket + "/" + prefix + "?" + url.Values{"endpoint": {s.Endpoint()}, "region": {Region}}.Encode()
}

// Setenv puts the server's credentials where S3 clients look for them.
func (s *Server) Setenv(t testing.TB) {
	t.Setenv("AWS_ACCESS_KEY_ID", s.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.Secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
}

// Run starts a stopped server again, at the same address with the same content.
func (s *Server) Run(ctx context.Context) error {
	s.output.Reset()
	listen := []string{"--port", s.Address}
	if s.cert != "" {
		_, port, _ := net.SplitHostPort(s.Address)
		listen = []string{"--port", ":" + port, "--cert", s.cert, "--key", s.key}
	}
	s.cmd = exec.Command(s.tool, append(listen, "--region", Region, "--health", "/healthz",
		"--keep-alive", "--quiet", "posix", "--sidecar", s.state, s.Root)...)
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+s.Access, "ROOT_SECRET_ACCESS_KEY="+s.Secret)
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		cmd.Wait() // how it ended is in its output
		close(exited)
	}(s.cmd, s.exited)
	return s.ready(ctx)
}

// Stop kills the server: what a client sees when S3 is down.
func (s *Server) Stop() {
	if s.exited == nil {
		return
	}
	s.cmd.Process.Kill() // it may have ended by itself
	<-s.exited
}

func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.answers(ctx) {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.exited:
			return fmt.Errorf("%s ended: %s", s.tool, bytes.TrimSpace(s.output.Bytes()))
		case <-ctx.Done():
			s.Stop()
			return errors.New(s.tool + " did not get ready in time: " + s.output.String())
		}
	}
}

func (s *Server) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint()+"/healthz", nil)
	if err != nil {
		return false
	}
	probe := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // it is asked whether it runs, nothing else
	resp, err := probe.RoundTrip(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
