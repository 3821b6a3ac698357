package fidelity

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// origin is a real server that says in its answer how it read the request. It
// gives up on a client after its patience.
type origin struct {
	name  string
	serve func(t *testing.T, l *net.TCPListener, patience time.Duration)
}

var origins = []origin{{"go", serveGo}, {"nginx", serveNginx}, {"node", serveNode}}

// start runs it until the end of the test.
func (o origin) start(t *testing.T, patience time.Duration) (address string) {
	t.Helper()
	l := listenLocal(t)
	o.serve(t, l, patience)
	return l.Addr().String()
}

func listenLocal(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

func serveGo(t *testing.T, l *net.TCPListener, patience time.Duration) {
	s := goServer(patience)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

func goServer(patience time.Duration) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(answer), ErrorLog: log.New(io.Discard, "", 0),
		ReadTimeout: patience, IdleTimeout: patience,
	}
}

func answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/304" {
		w.Header().Set("ETag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %q %q %q %v %q %q %d %q\n", r.Method, r.RequestURI, r.Host, body, err != nil, r.Header, r.Trailer, r.ContentLength, r.TransferEncoding)
}

// serveNginx runs nginx with a socket of ours, which it takes over as it would
// from an older nginx.
func serveNginx(t *testing.T, l *net.TCPListener, patience time.Duration) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/nginx") // where it is, if not in an ordinary user's path
	}
	if err != nil {
		missing(t, "nginx")
	}
	dir, err := os.MkdirTemp("", "nginx") // its inner socket needs a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755) // started by root, it works as nobody
	template, err := os.ReadFile("testdata/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	conf := strings.NewReplacer("LISTEN", l.Addr().String(), "DIR", dir, "PATIENCE", fmt.Sprint(patience.Milliseconds(), "ms")).Replace(string(template))
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-p", dir, "-c", file, "-e", filepath.Join(dir, "error.log"))
	cmd.Env = append(os.Environ(), "NGINX=3;")
	run(t, cmd, l)
}

func serveNode(t *testing.T, l *net.TCPListener, patience time.Duration) {
	program, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node")
	}
	run(t, exec.Command(program, "testdata/origin.js", fmt.Sprint(patience.Milliseconds())), l)
}

func missing(t *testing.T, program string) {
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		t.Fatalf("no %s: run `make tools`", program)
	}
	t.Skipf("no %s: run `make tools`", program)
}

// run gives a program the listener as file 3. What connects before it accepts
// waits in the listener's queue.
func run(t *testing.T, cmd *exec.Cmd, l *net.TCPListener) {
	t.Helper()
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{file}, t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.Close() // it is the program's alone
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // so that nginx ends its worker
		cmd.Wait()
	})
}
