package s3test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Version is the pinned version of VersityGW.
const Version = "v1.8.0"

const toolPackage = "github.com/versity/versitygw/cmd/versitygw"

// find returns the built tool. It builds it only where tests must not skip,
// because that takes minutes.
func find(ctx context.Context) (string, error) {
	path, err := toolPath()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if os.Getenv("REQUIRE_SERVICES") != "1" {
		return "", fmt.Errorf("%s is not built: run `go run ./internal/s3test/install` once", path)
	}
	return Install(ctx)
}

// Install builds the tool unless it is there and returns its path. Processes
// that ask at the same time build it once.
func Install(ctx context.Context) (string, error) {
	path, err := toolPath()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	return path, build(ctx, path)
}

func toolPath() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("where to keep the S3 server: %w", err)
	}
	return filepath.Join(cache, "tapedeck-tools", "versitygw-"+Version, "versitygw"), nil
}

// build compiles into a folder beside the tool's and renames, so that a
// half-written tool is never found.
func build(ctx context.Context, path string) error {
	bin, err := os.MkdirTemp(filepath.Dir(path), "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	cmd := exec.CommandContext(ctx, "go", "install", toolPackage+"@"+Version)
	cmd.Dir = bin // outside of our module
	cmd.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s@%s: %w: %s", toolPackage, Version, err, out)
	}
	return os.Rename(filepath.Join(bin, "versitygw"), path)
}
