package replayer

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"tapedeck/internal/service"
	"tapedeck/scenariogen/scenario"
)

// maxActive bounds the sessions under way, so that a target that stalls can't
// fill the memory. What waits because of it has its latency counted.
const maxActive = 10_000

// turn is a copy of a session that is to be sent.
type turn struct {
	session *scenario.Session
	copy    int
	starts  []time.Duration
}

// turns are all copies of all sessions, in the order in which they begin.
func (r *run) turns(ctx context.Context) iter.Seq2[turn, error] {
	return func(yield func(turn, error) bool) {
		for round := range r.plan.Rounds() {
			n := 0
			for s, err := range r.Scenario.Tests(ctx, r.Share) {
				if err != nil {
					yield(turn{}, fmt.Errorf("read scenario: %w", err))
					return
				}
				starts := r.plan.Starts(n, round)
				for k := range r.plan.Beside() {
					if len(starts) > 0 && !yield(turn{s, round*r.plan.Beside() + k, starts}, nil) {
						return
					}
				}
				n++
			}
			if n == 0 {
				return
			}
		}
	}
}

// sendAll sends every session at its time and waits for all of them.
func (r *run) sendAll(ctx context.Context) error {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	active := make(chan struct{}, r.maxActive())
	for t, err := range r.turns(ctx) {
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err != nil || !r.waitToBegin(ctx, t.starts[0]) || r.plan.Closed() && r.pastEnd(time.Now()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case active <- struct{}{}:
		}
		sessions.Go(func() {
			defer func() { <-active }()
			r.replaySession(ctx, t.session, t.copy, t.starts)
		})
	}
	return nil
}

// waitToBegin waits until shortly before a session's first request: the
// session itself waits for the moment.
func (r *run) waitToBegin(ctx context.Context, start time.Duration) bool {
	const lead = 5 * time.Millisecond
	early := time.Until(r.begin.Add(start)) - lead
	return early <= 0 && ctx.Err() == nil || service.Sleep(ctx, early)
}

// maxActive is one session a connection where a session never pauses.
func (r *run) maxActive() int {
	if r.plan.Closed() {
		return cmp.Or(r.Request.Load.Connections, 64)
	}
	return maxActive
}

// pastEnd says that the load's duration is over.
func (r *run) pastEnd(now time.Time) bool {
	d := r.Request.Load.Duration
	return d > 0 && now.Sub(r.begin) >= d
}

// fail ends the whole replay.
func (r *run) fail(err error) { r.cancel(errFatal{err}) }
