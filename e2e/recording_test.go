package e2e

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/archiver"
	"tapedeck/archiver/tapes"
	"tapedeck/capture"
	"tapedeck/capture/spool"
	"tapedeck/events"
	"tapedeck/indexer"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/natstest"
	"tapedeck/internal/pgtest"
	"tapedeck/internal/service"
)

// recording is the path from the wire to archive and index, in this process
// and on real servers.
type recording struct {
	t       *testing.T
	js      jetstream.JetStream
	capture *capture.Service
	archive *tapes.Archive
	reader  *traffic.Reader
	address string // that clients connect to
	stop    func() // the capture, and waits for its last tape
	config  capture.Config
	data    string // folder of the capture
	log     *slog.Logger
}

// record starts to record what goes to upstream.
func record(t *testing.T, upstream, archive string, cfg capture.Config) *recording {
	t.Helper()
	_, js := natstest.New(t)
	return recordOn(t, js, upstream, archive, cfg)
}

// recordOn records by way of a broker that is set up.
func recordOn(t *testing.T, js jetstream.JetStream, upstream, archive string, cfg capture.Config) *recording {
	t.Helper()
	log := warnings(t)
	cfg.Inbound = []string{"127.0.0.1:0=" + upstream}
	r := &recording{t: t, config: cfg, data: t.TempDir(), log: log, js: js}
	dsn := pgtest.New(t)
	var err error
	if r.archive, err = tapes.Open(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	indexing, err := indexer.New(indexer.Config{}, indexer.Deps{JS: r.js, Database: dsn, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	archiving, err := archiver.New(archiver.Config{ReelAge: time.Second}, archiver.Deps{JetStream: r.js, Archive: r.archive, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	r.capture = r.newCapture()
	r.address = r.capture.Addrs()[0].String()
	r.start(archiving.Run, indexing.Run)
	if r.reader, err = traffic.OpenReader(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.reader.Close)
	return r
}

// start runs the capture and its workers until the test ends.
func (r *recording) start(workers ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	group := service.NewGroup(ctx)
	for _, run := range workers {
		group.Go("worker", run)
	}
	end := r.run(ctx, r.capture)
	r.stop = func() {
		end()
		// On a busy machine the server may have been too slow for some tapes:
		// the next start brings them.
		eventually(r.t, "the spool is empty", func() bool {
			if r.spooled() == 0 {
				return true
			}
			r.run(ctx, r.newCapture())()
			return false
		})
		r.drained()
	}
	r.t.Cleanup(func() {
		cancel()
		if err := group.Wait(); err != nil {
			r.t.Errorf("workers: %v", err)
		}
	})
}

func (r *recording) newCapture() *capture.Service {
	r.t.Helper()
	c, err := capture.New(r.config, capture.Deps{JS: r.js, Data: r.data, Log: r.log})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// run runs a capture; end drains it.
func (r *recording) run(ctx context.Context, c *capture.Service) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Fatalf("capture ended with %v", err)
		}
	}
}

// spooled is how many tapes an ended capture has left for the next.
func (r *recording) spooled() int {
	r.t.Helper()
	s, err := spool.Open(filepath.Join(r.data, "spool"), 1<<30)
	if err != nil {
		r.t.Fatal(err)
	}
	return s.Tapes()
}

// warnings shows what the services complain about when the test has failed.
func warnings(t *testing.T) *slog.Logger {
	var lines lockedBuffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(lines.String())
		}
	})
	return slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// drained waits until archive and index have every tape, and the index knows
// where they lie.
func (r *recording) drained() {
	r.t.Helper()
	for _, d := range []struct{ stream, durable string }{
		{events.StreamCaptured, events.DurableArchiver}, {events.StreamCaptured, events.DurableIndexer}, {events.StreamArchived, events.DurableIndexer},
	} {
		c, err := service.Consumer(r.t.Context(), r.js, d.stream, d.durable)
		if err != nil {
			r.t.Fatal(err)
		}
		s, err := r.js.Stream(r.t.Context(), d.stream)
		if err != nil {
			r.t.Fatal(err)
		}
		last := s.CachedInfo().State.LastSeq // what is pending is counted a moment after a publish is acked
		eventually(r.t, d.stream+" is taken by "+d.durable, func() bool {
			i, err := c.Info(r.t.Context())
			return err == nil && i.Delivered.Stream >= last && i.NumPending == 0 && i.NumAckPending == 0
		})
	}
}

// eventually polls until done says so.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		service.Sleep(t.Context(), 20*time.Millisecond)
	}
}
