package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// load is what a loader process is told. Without Rate each connection (with
// Streams: each stream) sends its next request when it has the answer.
type load struct {
	Address     string
	Connections int
	Duration    time.Duration
	Requests    int64   // this many instead of Duration
	Rate        float64 // requests/s at exact times, on whichever connection is free
	Streams     int     // a connection: HTTP/2 with prior knowledge; 0 is HTTP/1.1
	Idle        bool    // open the connections, ask once on each, say so, and hold them
	Ghz         string  // program that calls gRPC instead
	Protoset    string  // for it

	Host        string // named in requests; default Address
	Absolute    bool   // absolute-form, as a proxy wants it
	Connect     bool   // CONNECT Host, then TLS
	TLS         bool
	Roots       string // PEM file to verify the other side with; "" verifies nothing
	Prefix      string // of the paths
	Paths       int    // distinct ones
	Body        int    // bytes of each answer's body
	Credentials bool   // send some, for redaction to find
}

// answers is what it says at its end.
type answers struct {
	Answered int64
	Failed   int64  // connections that broke, and answers that are not as they should be
	First    string // failure
	Elapsed  time.Duration
	P50, P99 time.Duration // from the send to the last byte
	Late99   time.Duration // with Rate: p99 from the intended time of the send
	CPU      time.Duration // of the loader
}

func (a *answers) rate() float64 { return float64(a.Answered) / a.Elapsed.Seconds() }

// runLoad runs a loader process.
func runLoad(ctx context.Context, l load) (*answers, error) {
	if l.Ghz != "" {
		return runGhz(ctx, l)
	}
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "role", "load", string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("loader: %w", err)
	}
	var a answers
	if err := json.Unmarshal(out, &a); err != nil {
		return nil, fmt.Errorf("loader said %q: %w", out, err)
	}
	return &a, nil
}

// loader is the state that the workers of a loader process share.
type loader struct {
	load
	requests [][]byte
	begun    time.Time
	left     atomic.Int64 // requests to send
	over     atomic.Bool
	due      chan time.Duration // with Rate: when to send, since begun

	mu      sync.Mutex
	total   answers
	took    *hdrhistogram.Histogram // ns
	delayed *hdrhistogram.Histogram
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, int64(time.Minute), 3) }

// loaderRole is the loader process.
func loaderRole(ctx context.Context, text string) error {
	w := &loader{took: newHistogram(), delayed: newHistogram()}
	if err := json.Unmarshal([]byte(text), &w.load); err != nil {
		return err
	}
	if w.Idle {
		return w.idle(ctx)
	}
	before := ownCPU()
	if err := w.run(ctx); err != nil {
		return err
	}
	w.total.CPU = ownCPU() - before
	w.total.P50 = time.Duration(w.took.ValueAtQuantile(50))
	w.total.P99 = time.Duration(w.took.ValueAtQuantile(99))
	w.total.Late99 = time.Duration(w.delayed.ValueAtQuantile(99))
	return json.NewEncoder(os.Stdout).Encode(w.total)
}

// run connects, then lets all workers go at once.
func (w *loader) run(ctx context.Context) error {
	w.requests = w.build()
	w.left.Store(w.Requests)
	work := w.http1
	if w.Streams > 0 {
		work = w.http2
	}
	connected, start := make(chan error, w.Connections), make(chan struct{})
	var workers sync.WaitGroup
	for n := range w.Connections {
		workers.Go(func() {
			conn, err := w.dial(ctx)
			connected <- err
			if err != nil {
				return
			}
			<-start
			work(ctx, n, conn, bufio.NewReaderSize(conn, 16<<10))
		})
	}
	for range w.Connections {
		if err := <-connected; err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	if w.Rate > 0 {
		w.due = make(chan time.Duration, 1<<20)
	}
	w.begun = time.Now()
	close(start)
	if w.Rate > 0 {
		w.pace()
	} else if w.Requests == 0 {
		time.AfterFunc(w.Duration, func() { w.over.Store(true) })
	}
	workers.Wait()
	w.total.Elapsed = time.Since(w.begun)
	return ctx.Err()
}

// next says when to send the next request, if another is wanted.
func (w *loader) next(ctx context.Context) (time.Duration, bool) {
	if w.due != nil {
		at, ok := <-w.due
		return at, ok && ctx.Err() == nil
	}
	if w.over.Load() || ctx.Err() != nil || w.Requests > 0 && w.left.Add(-1) < 0 {
		return 0, false
	}
	return time.Since(w.begun), true
}

// tally is what one worker saw, added to the total at its end.
type tally struct {
	answers
	took, delayed *hdrhistogram.Histogram
}

func newTally() *tally { return &tally{took: newHistogram(), delayed: newHistogram()} }

func (t *tally) answered(took, delayed time.Duration) {
	t.Answered++
	t.took.RecordValue(int64(took))
	t.delayed.RecordValue(int64(delayed))
}

func (t *tally) failed(err error) {
	t.Failed++
	if t.First == "" {
		t.First = err.Error()
	}
}

func (w *loader) add(t *tally) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total.Answered += t.Answered
	w.total.Failed += t.Failed
	if w.total.First == "" {
		w.total.First = t.First
	}
	w.took.Merge(t.took)
	w.delayed.Merge(t.delayed)
}

func ownCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
