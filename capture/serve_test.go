package capture

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// serveVariable makes the test binary a server, in another network namespace
// or as another user: HTTP on this port, and one above it a server that speaks
// first.
const serveVariable = "TAPEDECK_TEST_SERVE"

const banner = "220 speaks first\n"

func serveForTest(port string) {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		log.Fatal(err)
	}
	greeter, err := net.Listen("tcp", fmt.Sprintf(":%d", l.Addr().(*net.TCPAddr).Port+1))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			c, err := greeter.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, banner)
			c.Close()
		}
	}()
	fmt.Println("ready")
	log.Fatal(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Method, r.URL)
	})))
}

// program is tapedeck as it is built, in a folder that every user can read.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tapedeck-test-")
	if err != nil {
		return "", err
	}
	removeProgram = func() { os.RemoveAll(dir) }
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "tapedeck")
	if out, err := exec.Command("go", "build", "-o", binary, "tapedeck").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
})

// removeProgram ends what program has begun.
var removeProgram = func() {}

func build(t testing.TB) string {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}
