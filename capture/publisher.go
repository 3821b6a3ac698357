package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/capture/spool"
	"tapedeck/events"
	"tapedeck/internal/service"
)

const (
	freshTapes     = 32 // that wait to be published, about 16 MiB
	inFlight       = 8  // fresh tapes published at once
	drainFlight    = inFlight / 2
	publishTimeout = 5 * time.Second
	resendAfter    = 500 * time.Millisecond
	checkEvery     = time.Minute
	recheckEvery   = 3 * time.Second // while something is missing
)

// publisher brings tapes to JetStream, or to the spool: any error, timeout or
// disconnect means that the tape's fate is unknown, so it is spooled and
// published again under the same id, which both sinks know to be the same.
type publisher struct {
	js       jetstream.JetStream // nil: everything is spooled
	spool    *spool.Spool
	workload *events.Workload
	source   string // CloudEvents source
	lost     func(t *closedTape, reason string)
	stored   func(t *closedTape) // it is with JetStream or in the spool
	evict    func(size int) bool // makes room in the spool, a tape at a time; nil: never
	emptied  func()              // the spool is empty again
	log      *slog.Logger
	metrics  *metrics

	fresh chan *closedTape
	ready atomic.Bool // connected, and every consumer is there
	why   string      // not, as last logged; of watch
	poke  chan struct{}

	spooling sync.RWMutex // held alone to make room

	once    sync.Once
	checked chan struct{} // closed when watch has looked for the first time
	drains  sync.Mutex    // of the spool: one at a time
}

func newPublisher() *publisher {
	return &publisher{fresh: make(chan *closedTape, freshTapes), poke: make(chan struct{}, 1), checked: make(chan struct{})}
}

// take hands a tape over. It waits for room: what comes meanwhile queues before
// the dissectors, and there is the one place where recording is given up for
// traffic's sake, exchange by exchange.
func (p *publisher) take(t *closedTape) { p.fresh <- t }

// run publishes until fresh is closed and empty; ctx ends waiting for the
// server early, what is left goes to the spool.
func (p *publisher) run(ctx context.Context) {
	<-p.checked // bounded: tapes that come with the start need no spool
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for t := range p.fresh {
				p.store(ctx, t)
			}
		})
	}
	wg.Wait()
}

// store brings one fresh tape to a durable place. One that was sent without an
// answer may be stored: it can't be counted as dropped, so while the spool
// refuses it, it is sent again until NATS answers.
func (p *publisher) store(ctx context.Context, t *closedTape) {
	for sent := false; ; {
		if p.ready.Load() {
			err := p.send(ctx, t.id, p.workload, t.bytes, "fresh")
			if err == nil {
				p.stored(t)
				return
			}
			sent = true
			p.log.Warn("publish tape, spooling it", "tape", t.id, "error", err)
			p.ready.Store(false) // the next ones need not wait as long; watch looks again
		}
		err := p.put(t)
		if err == nil {
			p.metrics.spooled.Inc()
			p.stored(t)
			return
		}
		if !sent || !service.Sleep(ctx, resendAfter) {
			p.log.Error("tape is lost", "tape", t.id, "exchanges", t.exchanges, "error", err)
			p.lost(t, dropSpool)
			return
		}
	}
}

// put spools a tape, and makes room for it when that is wanted.
func (p *publisher) put(t *closedTape) error {
	p.spooling.RLock()
	err := p.spool.Put(t.id, t.bytes)
	p.spooling.RUnlock()
	if p.evict == nil || !isFull(err) {
		return err
	}
	// Alone: what others are just writing takes room and can't be dropped yet.
	p.spooling.Lock()
	defer p.spooling.Unlock()
	for isFull(err) && p.evict(len(t.bytes)) {
		err = p.spool.Put(t.id, t.bytes)
	}
	return err
}

func isFull(err error) bool { return errors.Is(err, spool.ErrFull) || errors.Is(err, syscall.ENOSPC) }

// send publishes a tape and waits for the PubAck of CAPTURED.
func (p *publisher) send(ctx context.Context, id events.ID, w *events.Workload, tape []byte, way string) error {
	subject := events.CapturedSubject(w)
	e, err := events.NewEvent(subject, p.source, id.String(), w.Service, tape)
	if err != nil {
		return fmt.Errorf("publish tape %s: %w", id, err)
	}
	msg, err := events.Encode(subject, e)
	if err != nil {
		return fmt.Errorf("publish tape %s: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	began := time.Now()
	if _, err := p.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(events.StreamCaptured)); err != nil {
		return fmt.Errorf("publish tape %s: %w", id, err)
	}
	p.metrics.stored(way, time.Since(began))
	return nil
}

// watch keeps ready: connected, and each durable consumer of CAPTURED exists.
// Interest would delete what a missing one has not seen.
func (p *publisher) watch(ctx context.Context) {
	var last time.Time
	connected := false
	for {
		up := p.js != nil && p.js.Conn().IsConnected()
		if up != connected || last.IsZero() || up && time.Since(last) > p.interval() {
			connected, last = up, time.Now()
			p.check(ctx, up)
		}
		p.once.Do(func() { close(p.checked) })
		if !service.Sleep(ctx, 100*time.Millisecond) {
			return
		}
	}
}

func (p *publisher) interval() time.Duration {
	if p.ready.Load() {
		return checkEvery
	}
	return recheckEvery
}

func (p *publisher) check(ctx context.Context, connected bool) {
	err := errors.New("not connected to NATS")
	if connected {
		err = p.missing(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return
	}
	was := p.ready.Swap(err == nil)
	switch {
	case err == nil && !was:
		p.metrics.publishing.Set(1)
		if p.why != "" {
			p.log.Info("publishing tapes again", "spooled", p.spool.Tapes())
		}
		p.why = ""
		p.wake()
	case err != nil && err.Error() != p.why:
		p.metrics.publishing.Set(0)
		p.why = err.Error()
		p.log.Warn("tapes go to the spool until they can be published", "reason", err)
	}
}

func (p *publisher) missing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return events.CheckSinks(ctx, p.js)
}

func (p *publisher) wake() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

// drain publishes what is spooled, oldest first, beside the fresh tapes and
// with at most half of their window.
func (p *publisher) drain(ctx context.Context) {
	for {
		p.drainAll(ctx)
		timer := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-p.poke:
			timer.Stop()
		}
	}
}

func (p *publisher) drainAll(ctx context.Context) {
	p.drains.Lock()
	defer p.drains.Unlock()
	before := p.spool.Tapes()
	for p.drainStep(ctx) {
	}
	if before > 0 && p.spool.Tapes() == 0 {
		p.emptied()
	}
}

// drainStep publishes a few tapes and says whether there may be more to do.
func (p *publisher) drainStep(ctx context.Context) bool {
	ids := p.spool.Oldest(drainFlight)
	if len(ids) == 0 || !p.ready.Load() || ctx.Err() != nil {
		return false
	}
	var wg sync.WaitGroup
	var failed atomic.Bool
	for _, id := range ids {
		wg.Go(func() {
			if err := p.unspool(ctx, id); err != nil && ctx.Err() == nil {
				failed.Store(true)
				p.log.Warn("drain spool", "error", err)
			}
		})
	}
	wg.Wait()
	return !failed.Load()
}

func (p *publisher) unspool(ctx context.Context, id events.ID) error {
	if !p.spool.Claim(id) {
		return nil // it is being dropped
	}
	defer p.spool.Release(id)
	tape, err := p.spool.Get(id)
	if err != nil {
		return err
	}
	if err := p.send(ctx, id, tape.Header.Workload, tape.Bytes(), "spool"); err != nil {
		p.ready.Store(false)
		return err
	}
	return p.spool.Remove(id)
}
