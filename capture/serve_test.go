package capture

import (
	"bytes"
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

	"tapedeck/capture/spool"
	"tapedeck/events"
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

// output collects what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) { o.mu.Lock(); defer o.mu.Unlock(); return o.b.Write(p) }
func (o *output) String() string              { o.mu.Lock(); defer o.mu.Unlock(); return o.b.String() }

// spooledIn reads all tapes of a spool.
func spooledIn(t testing.TB, dir string) []*events.Tape {
	t.Helper()
	store, err := spool.Open(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	var tapes []*events.Tape
	for _, id := range store.Oldest(store.Tapes()) {
		tape, err := store.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		tapes = append(tapes, tape)
	}
	return tapes
}
