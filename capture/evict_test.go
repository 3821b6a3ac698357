package capture

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// fill sends n requests with bodies that do not compress, one tape each.
func fill(t *testing.T, c *running, n int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range n {
		before := c.Counts().Taped + c.Counts().Dropped[dropSpool]
		answer, err := client.Get(fmt.Sprintf("%s/%d", c.url(0), i))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		eventually(t, "taped", func() bool { x := c.Counts(); return x.Taped+x.Dropped[dropSpool] > before && x.Open == 0 })
		c.recorder.tick(time.Now().Add(10 * time.Hour))
	}
}

// TestSpoolDropsByChoice: at the bound the oldest or the newest tapes go, are
// counted, and the ledger holds.
func TestSpoolDropsByChoice(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(random(20 << 10)) }))
	defer app.Close()
	for _, choice := range []string{"oldest", "newest"} {
		t.Run(choice, func(t *testing.T) {
			data := t.TempDir()
			c := start(t, Config{Inbound: []string{"0=" + address(app)}, SpoolSize: 100 << 10, SpoolDrop: choice, TapeAge: time.Hour}, Deps{Data: data, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
			fill(t, c, 20)
			c.stop()
			got := c.Counts()
			if got.Begun != 20 || got.Taped+got.Dropped[dropSpool] != 20 || got.Taped < 3 || got.Taped > 5 {
				t.Errorf("counted %+v, want 4 or so of 20 taped", got)
			}
			kept := map[string]bool{}
			for _, tape := range spooledIn(t, filepath.Join(data, "spool")) {
				for _, e := range tape.Index.Entries {
					kept[e.Path] = true
				}
			}
			if uint64(len(kept)) != got.Taped || kept["/19"] != (choice == "oldest") || kept["/0"] != (choice == "newest") {
				t.Errorf("kept %v of %d", kept, got.Taped)
			}
		})
	}
}

// TestDropOfAnotherSourcesTapes: what an earlier run spooled and a later one
// drops is counted by the earlier one's ledger, and said when it can be.
func TestDropOfAnotherSourcesTapes(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(random(20 << 10)) }))
	defer app.Close()
	data := t.TempDir()
	cfg := Config{Inbound: []string{"0=" + address(app)}, SpoolSize: 100 << 10, SpoolDrop: "oldest", TapeAge: time.Hour}
	first := start(t, cfg, Deps{Data: data, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	fill(t, first, 3)
	first.stop()
	second := start(t, cfg, Deps{Data: data, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	fill(t, second, 4)
	second.stop()
	_, js := natstest.New(t)
	third := start(t, cfg, Deps{Data: data, JS: js})
	eventually(t, "spool is empty", func() bool { return third.publisher.spool.Tapes() == 0 })
	third.stop()
	last, exchanges := map[events.ID]*events.Header{}, map[events.ID]uint64{}
	for _, tape := range tapesOf(t, js) {
		id := events.ID(tape.Header.SourceId)
		if last[id] == nil || last[id].Number < tape.Header.Number {
			last[id] = tape.Header
		}
		exchanges[id] += uint64(len(tape.Index.Entries))
	}
	for _, c := range []*running{first, second, third} {
		h := last[c.Source()]
		if h == nil {
			t.Fatalf("no header of source %s", c.Source())
		}
		n := h.Counters
		if !h.Last || n.Open != 0 || n.Begun != n.Taped+n.Dropped[dropSpool] || n.Taped != exchanges[c.Source()] {
			t.Errorf("source %s: last %v, %v, has %d exchanges", c.Source(), h.Last, n, exchanges[c.Source()])
		}
	}
	if n := last[first.Source()].Counters; n.Begun != 3 || n.Dropped[dropSpool] == 0 {
		t.Errorf("the first source says %v, want that some of its 3 are dropped", n)
	}
}
