// Package canary sends secrets through the services as people start them, in
// every place and encoding that they can stand in, and looks for them in
// everything that is written. CANARIES says how many.
package canary

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tapedeck/cli"
	"tapedeck/internal/benchtest"
	"tapedeck/internal/service"
)

// selfVariable makes this binary tapedeck.
const selfVariable = "CANARY_IS_TAPEDECK"

func TestMain(m *testing.M) {
	if os.Getenv(selfVariable) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := cli.Run(ctx, os.Args[1:], cli.Terminal())
	if message := cli.Message(err); message != "" {
		fmt.Fprintln(os.Stderr, message)
	}
	os.Exit(cli.ExitCode(err))
}

// process is a service that runs.
type process struct {
	t      *testing.T
	http   string // of its debug listener
	output string // file
	cmd    *exec.Cmd
	exited chan struct{}
}

// run starts a service in a folder of its own, with a folder of its own for
// temporary files, and returns when it is ready.
func run(t *testing.T, folder string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temporary := filepath.Join(folder, "tmp")
	if err := os.MkdirAll(temporary, 0o755); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, http: freeAddress(t), output: filepath.Join(folder, args[0]+".log"), exited: make(chan struct{})}
	log, err := os.Create(p.output)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(self, append(args, "--data", filepath.Join(folder, "data"), "--http", p.http, "--log", "debug")...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = folder, log, log
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), isOurs), selfVariable+"=1", "TMPDIR="+temporary)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
		if said, _ := os.ReadFile(p.output); t.Failed() {
			t.Logf("%s says: %s", args[0], said[max(0, len(said)-4000):])
		}
	})
	eventually(t, strings.Join(args, " ")+" is ready", func() bool {
		select {
		case <-p.exited:
			said, _ := os.ReadFile(p.output)
			t.Fatalf("%s ended: %s", args[0], said)
		default:
		}
		answer, err := http.Get("http://" + p.http + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return p
}

func isOurs(variable string) bool { return strings.HasPrefix(variable, "TAPEDECK_") }

// pages are what it says on its debug listener.
func (p *process) pages() (all []byte) {
	p.t.Helper()
	for _, path := range []string{"/metrics", "/status", "/version", "/readyz", "/healthz", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
		answer, err := http.Get("http://" + p.http + path)
		if err != nil {
			p.t.Fatal(err)
		}
		b, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// end drains it and returns what it has logged.
func (p *process) end() []byte {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.t.Fatalf("%s does not end", p.cmd.Args[1])
	}
	said, err := os.ReadFile(p.output)
	if err != nil || !p.cmd.ProcessState.Success() {
		p.t.Fatalf("%s ended with %s, %v: %s", p.cmd.Args[1], p.cmd.ProcessState, err, said)
	}
	return said
}

// command runs a command line and returns what it prints.
func command(t *testing.T, args ...string) []byte {
	t.Helper()
	var out, said bytes.Buffer
	err := cli.Run(t.Context(), args, &cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &said, Width: 200})
	if code := cli.ExitCode(err); err != nil && (code != 1 || args[0] != "replay") {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, &said)
	}
	return append(out.Bytes(), said.Bytes()...)
}

// eventually polls until done says so.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within two minutes: %s", what)
		}
		service.Sleep(t.Context(), 20*time.Millisecond)
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := benchtest.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
