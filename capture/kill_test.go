package capture

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tapedeck/capture/ledger"
	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// captureProcess is the built binary, recording what goes to upstream.
type captureProcess struct {
	*exec.Cmd
	address string
	out     output
}

// freeAddress is one on loopback that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func startProcess(t *testing.T, data, nats, upstream string, more ...string) *captureProcess {
	t.Helper()
	return startBinary(t, build(t), data, nats, upstream, more...)
}

// startBinary starts one that is built in another way.
func startBinary(t *testing.T, binary, data, nats, upstream string, more ...string) *captureProcess {
	t.Helper()
	p := &captureProcess{address: freeAddress(t)}
	args := append([]string{"capture", "--nats", nats, "--data", data, "--service", "shop", "--inbound", p.address + "=" + upstream}, more...)
	p.Cmd = exec.Command(binary, args...)
	p.Stdout, p.Stderr = &p.out, &p.out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			p.Process.Kill()
			p.Wait()
		}
		if t.Failed() {
			t.Log(p.out.String())
		}
	})
	eventually(t, "capture listens", func() bool {
		c, err := net.Dial("tcp", p.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

func (p *captureProcess) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil && signal != syscall.SIGKILL {
		t.Errorf("capture ends with %v", err)
	}
}

// askUntilDead asks until it gets no more answers, and counts them.
func askUntilDead(address string, answered *atomic.Uint64) (wait func()) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
			defer client.CloseIdleConnections()
			for n := 0; ; n++ {
				answer, err := client.Get(fmt.Sprintf("http://%s/%d/%d", address, i, n))
				if err != nil {
					return
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				answered.Add(1)
			}
		})
	}
	return wg.Wait
}

// TestLedgerOutlivesSIGKILL kills capture under load, again and again. The next
// start publishes what was closed and says what was lost: begun = taped +
// dropped, and what is taped is there.
func TestLedgerOutlivesSIGKILL(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL, strings.Repeat("x", 500)) }))
	defer app.Close()
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("NATS away %v", away), func(t *testing.T) {
			broker, _, js := natstest.Start(t, t.TempDir())
			if _, err := events.Setup(t.Context(), js, events.SetupOptions{Database: true, MaxBytes: 1 << 30}); err != nil {
				t.Fatal(err)
			}
			data, nats := t.TempDir(), broker.URL()
			if away {
				nats = "nats://" + freeAddress(t)
			}
			var answered []uint64
			const kills = 4
			for i := range kills {
				p := startProcess(t, data, nats, address(app), "--tape-age", "20ms")
				var n atomic.Uint64
				wait := askUntilDead(p.address, &n)
				eventually(t, "load", func() bool { return n.Load() > uint64(200+200*i) })
				p.end(t, syscall.SIGKILL)
				wait()
				answered = append(answered, n.Load())
			}
			p := startProcess(t, data, broker.URL(), address(app))
			eventually(t, "spool is empty", func() bool { return len(spooledNames(t, data)) == 0 })
			p.end(t, syscall.SIGTERM)
			checkKilled(t, tapesOf(t, js), answered)
			if left, err := os.ReadDir(filepath.Join(data, "sources")); err != nil || len(left) > 0 {
				t.Errorf("left %v, %v, want no ledger of a source that is settled", left, err)
			}
		})
	}
}

func spooledNames(t *testing.T, data string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "spool", "*.tape"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// checkKilled reconciles every source of tapes.
func checkKilled(t *testing.T, tapes []*events.Tape, answered []uint64) {
	t.Helper()
	type source struct {
		last      *events.Header
		exchanges uint64
		seen      map[events.ID]bool
	}
	sources := map[events.ID]*source{}
	for _, tape := range tapes {
		id := events.ID(tape.Header.SourceId)
		if sources[id] == nil {
			sources[id] = &source{seen: map[events.ID]bool{}}
		}
		s := sources[id]
		if s.seen[tape.TapeID()] {
			continue // published twice, as it may be
		}
		s.seen[tape.TapeID()] = true
		s.exchanges += ledger.Exchanges(tape.Front)
		if s.last == nil || tape.Header.Number > s.last.Number {
			s.last = tape.Header
		}
	}
	var begun, killed, answers uint64
	for id, s := range sources {
		c, dropped := s.last.Counters, uint64(0)
		for _, n := range c.Dropped {
			dropped += n
		}
		begun, killed = begun+c.Begun, killed+c.Dropped[ledger.Killed]
		if !s.last.Last || c.Open != 0 || c.Begun != c.Taped+dropped || c.Taped != s.exchanges {
			t.Errorf("source %s: last %v, %v with %d exchanges in its tapes", id, s.last.Last, c, s.exchanges)
		}
	}
	for _, n := range answered {
		answers += n
	}
	// What was relayed and not dissected yet has not begun: a kill takes it
	// along uncounted, so begun may be less than the answers, but not nothing.
	if len(sources) != len(answered)+1 || begun < answers/2 {
		t.Errorf("%d sources began %d exchanges; %d processes answered %d", len(sources), begun, len(answered)+1, answers)
	}
	t.Logf("begun %d, dropped by the kills %d, clients got %d answers", begun, killed, answers)
}
