// Package programs shows tapedeck to programs that nobody here wrote: each is
// run without us and with us, must see the same, and all of it must be on tape.
package programs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// callVariable makes this binary a program that calls the URLs of its
// arguments: Go's own client, as every Go program has it.
const callVariable = "TAPEDECK_TEST_CALL"

func TestMain(m *testing.M) {
	if os.Getenv(callVariable) != "" {
		be(call(os.Args[1:]))
	}
	if os.Getenv(s3Variable) != "" {
		be(useS3(context.Background()))
	}
	code := m.Run()
	if binary, err := tapedeck(); err == nil {
		os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// be ends as a program does.
func be(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func call(urls []string) error {
	for _, url := range urls {
		answer, err := http.Get(url)
		if err != nil {
			return err
		}
		io.Copy(os.Stdout, answer.Body)
		answer.Body.Close()
		fmt.Println()
	}
	return nil
}

// require finds a program; a test without it skips, and fails where services
// are required.
func require(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil && os.Getenv("REQUIRE_SERVICES") == "1" {
		t.Fatalf("%v: `make tools` installs it", err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}

// tapedeck is the built binary.
var tapedeck = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tapedeck-programs-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "tapedeck")
	cmd := exec.Command("go", "build", "-o", binary, "tapedeck")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
})

// run runs a program in an environment without proxies, with more variables,
// and returns what it prints on stdout.
func run(t *testing.T, variables []string, argv ...string) string {
	t.Helper()
	out, _ := runBoth(t, variables, argv...)
	return out
}

// runBoth returns what it prints on stderr as well.
func runBoth(t *testing.T, variables []string, argv ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), isProxyVariable), variables...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(argv, " "), err, out, &said)
	}
	return string(out), said.String()
}

func isProxyVariable(v string) bool {
	name, _, _ := strings.Cut(strings.ToLower(v), "=")
	return strings.HasSuffix(name, "_proxy") || strings.HasPrefix(name, "tapedeck_")
}

// freePort is one on loopback that is free now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func built(t *testing.T) string {
	t.Helper()
	binary, err := tapedeck()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// onTape lists the last recording, a line an exchange.
func onTape(t *testing.T, data string) string {
	t.Helper()
	return run(t, nil, built(t), "traffic", "--data", data, "--last", "-o", "json")
}
