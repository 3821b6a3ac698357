package capture

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// TestDissectorsThatPanic: a binary is built whose dissectors panic when they
// are asked to, in the midst of every client's connection. Clients notice
// nothing, each connection stays one, what came before is on tape, what was
// read is counted, and the rest of each connection is on tape as bytes.
func TestDissectorsThatPanic(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "tapedeck")
	if out, err := exec.Command("go", "build", "-tags", "paniconpurpose", "-o", binary, "tapedeck").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"http", "http2"} {
		t.Run(name, func(t *testing.T) { dissectorsPanic(t, binary, name == "http2") })
	}
}

func dissectorsPanic(t *testing.T, binary string, http2 bool) {
	const clients, before, after = 8, 5, 20
	broker, _, js := natstest.Start(t, t.TempDir())
	if _, err := events.Setup(t.Context(), js, events.SetupOptions{Database: true, MaxBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	app, connections := countingEcho(t)
	p := startBinary(t, binary, t.TempDir(), broker.URL(), address(app))
	var load errgroup.Group
	for i := range clients {
		load.Go(func() error { return askWithPanic(p.address, http2, i, before, after) })
	}
	if err := load.Wait(); err != nil {
		t.Error("a client notices:", err)
	}
	if n := connections.Load(); n != clients {
		t.Errorf("%d connections reach the service, want %d", n, clients)
	}
	p.end(t, syscall.SIGTERM)

	out := play(t, tapesOf(t, js))
	seen := map[string]int{}
	for i, r := range out.rows {
		seen[r.Protocol+" "+r.Class.Name()]++
		if asked := out.exchanges[i].Request.GetBody().GetData(); r.Protocol == "http" && !bytes.Equal(asked, out.exchanges[i].Response.GetBody().GetData()) {
			t.Errorf("%s has the answer to another", r.Path)
		}
	}
	if len(seen) != 2 || seen["http ok"] != clients*before || seen["tcp ok"] != clients {
		t.Errorf("on tape: %v, want %d of http before the panics and %d connections", seen, clients*before, clients)
	}
	c := out.last.Counters
	if !out.last.Last || c.Open != 0 || len(c.Dropped) != 1 || c.Dropped["panic"] != clients || c.Taped != uint64(len(out.rows)) || c.Begun != c.Taped+clients {
		t.Errorf("the ledger says %v, last %v", c, out.last.Last)
	}
	if n := strings.Count(p.out.String(), "dissector panicked"); n != clients {
		t.Errorf("%d panics are logged, want %d", n, clients)
	}
}

// countingEcho counts the connections that ask something.
func countingEcho(t *testing.T) (*httptest.Server, *atomic.Int64) {
	var n atomic.Int64
	var seen sync.Map
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	app.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateActive {
			if _, again := seen.LoadOrStore(c, true); !again {
				n.Add(1)
			}
		}
	}
	app.Config.Protocols = &http.Protocols{}
	app.Config.Protocols.SetHTTP1(true)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	t.Cleanup(app.Close)
	return app, &n
}

// askWithPanic asks before and after a request that makes a dissector panic.
func askWithPanic(address string, http2 bool, client, before, after int) error {
	transport := &http.Transport{Protocols: &http.Protocols{}}
	defer transport.CloseIdleConnections()
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetUnencryptedHTTP2(http2)
	for n := range before + 1 + after {
		text := fmt.Sprintf("client %d, request %d", client, n)
		if n == before {
			text = "panic on purpose"
		}
		answer, err := (&http.Client{Transport: transport}).Post("http://"+address+"/items", "text/plain", strings.NewReader(text))
		if err != nil {
			return err
		}
		got, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || string(got) != text {
			return fmt.Errorf("%s: got %q, %w", text, got, err)
		}
	}
	return nil
}
