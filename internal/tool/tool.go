// Package tool provides programs that tests drive and tapedeck does not link:
// built once, at a pinned version, into the user's cache folder.
package tool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"syscall"
	"testing"
)

// Tool is a Go program at a pinned version.
type Tool struct {
	Package string // import path of its main package
	Version string
}

// The tools.
var (
	VersityGW = Tool{"github.com/versity/versitygw/cmd/versitygw", "v1.8.0"}  // an S3 server
	NATS      = Tool{"github.com/nats-io/natscli/nats", "v0.5.1"}             // the NATS command line
	GRPCurl   = Tool{"github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.4"} // a gRPC client
	// H2spec is a conformance test of HTTP/2 servers. Later versions are no modules.
	H2spec = Tool{"github.com/summerwind/h2spec/cmd/h2spec", "v2.2.1+incompatible"}
)

// All tools, for an installation ahead of the tests.
var All = []Tool{VersityGW, NATS, GRPCurl, H2spec}

// Name is the program's name.
func (t Tool) Name() string { return path.Base(t.Package) }

// Require returns the path of the built tool. A test that lacks it skips; with
// REQUIRE_SERVICES=1 the tool is built, which takes a minute, and a failure
// fails the test.
func (t Tool) Require(tb testing.TB) string {
	tb.Helper()
	file, err := t.Find(tb.Context())
	if err != nil && os.Getenv("REQUIRE_SERVICES") == "1" {
		tb.Fatal(err)
	}
	if err != nil {
		tb.Skip(err)
	}
	return file
}

// Find returns the path of the built tool. It builds it only where tests must
// not skip.
func (t Tool) Find(ctx context.Context) (string, error) {
	file, err := t.file()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if os.Getenv("REQUIRE_SERVICES") != "1" {
		return "", fmt.Errorf("%s is not built: run `make tools` once", t.Name())
	}
	return t.Install(ctx)
}

// Install builds the tool unless it is there and returns its path. Processes
// that ask at the same time build it once.
func (t Tool) Install(ctx context.Context) (string, error) {
	file, err := t.file()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	return file, t.build(ctx, file)
}

func (t Tool) file() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("where to keep %s: %w", t.Name(), err)
	}
	return filepath.Join(cache, "tapedeck-tools", t.Name()+"-"+t.Version, t.Name()), nil
}

// build compiles into a folder beside the tool's and renames, so that a
// half-written tool is never found.
func (t Tool) build(ctx context.Context, file string) error {
	bin, err := os.MkdirTemp(filepath.Dir(file), "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	cmd := exec.CommandContext(ctx, "go", "install", t.Package+"@"+t.Version)
	cmd.Dir = bin // outside of our module
	cmd.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s@%s: %w: %s", t.Package, t.Version, err, out)
	}
	return os.Rename(filepath.Join(bin, t.Name()), file)
}
