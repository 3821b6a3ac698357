package archiver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"tapedeck/events"
	"tapedeck/internal/service"
)

const (
	// heldBytes bounds the tapes in memory, in open reels and in those being
	// written; when it is reached no more are fetched.
	heldBytes = 128 << 20
	// reelTapes bounds the tapes of a reel, and so the size of its event.
	reelTapes = 4096
	// reelTick is how often ages are looked at.
	reelTick = 100 * time.Millisecond
)

// reels collects tapes until there are enough of them, or for long enough.
type reels struct {
	size  int64
	age   time.Duration
	store func(context.Context, []item)

	ctx    context.Context // of the work in hand
	held   *semaphore.Weighted
	bound  int64
	wg     sync.WaitGroup // reels that are being written
	ticker sync.WaitGroup
	stop   context.CancelFunc

	mu   sync.Mutex
	open map[namespace]*openReel
}

type namespace struct{ cluster, namespace string }

type openReel struct {
	opened time.Time
	alive  time.Time // when the server was last told that we are at it
	bytes  int64
	items  []item
}

func newReels(size int64, age time.Duration, store func(context.Context, []item)) *reels {
	bound := max(heldBytes, 4*size)
	return &reels{size: size, age: age, store: store, bound: bound, held: semaphore.NewWeighted(bound), open: map[namespace]*openReel{}}
}

// start looks at the ages of reels until finish.
func (r *reels) start(ctx context.Context) {
	r.ctx = ctx
	ctx, r.stop = context.WithCancel(ctx)
	r.ticker.Go(func() {
		for service.Sleep(ctx, min(reelTick, r.age)) {
			r.step(time.Now())
		}
	})
}

// finish writes all open reels and returns when they are written or given back.
func (r *reels) finish() {
	r.stop()
	r.ticker.Wait()
	r.mu.Lock()
	for ns := range r.open {
		r.close(ns)
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// add puts a tape into the reel of its namespace. It blocks while too much is
// held.
func (r *reels) add(ctx context.Context, it item) error {
	size := r.weight(it)
	if err := r.held.Acquire(ctx, size); err != nil {
		return fmt.Errorf("wait for room in a reel: %w", err)
	}
	w := it.tape.Header.Workload
	ns := namespace{w.Cluster, w.Namespace}
	r.mu.Lock()
	defer r.mu.Unlock()
	reel := r.open[ns]
	if reel == nil {
		now := time.Now()
		reel = &openReel{opened: now, alive: now}
		r.open[ns] = reel
	}
	reel.items = append(reel.items, it)
	reel.bytes += int64(len(it.tape.Bytes()))
	if reel.bytes >= r.size || len(reel.items) >= reelTapes {
		r.close(ns)
	}
	return nil
}

func (r *reels) weight(it item) int64 { return min(int64(len(it.tape.Bytes())), r.bound) }

// step writes the reels that are old enough and keeps the tapes of the others.
func (r *reels) step(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ns, reel := range r.open {
		switch {
		case now.Sub(reel.opened) >= r.age:
			r.close(ns)
		case now.Sub(reel.alive) >= events.AckWait/3:
			reel.alive = now
			for _, it := range reel.items {
				it.msg.InProgress() // a lost one is made up for by the next
			}
		}
	}
}

// close begins to write a reel; mu is held.
func (r *reels) close(ns namespace) {
	reel := r.open[ns]
	delete(r.open, ns)
	r.wg.Go(func() {
		r.store(r.ctx, reel.items)
		for _, it := range reel.items {
			r.held.Release(r.weight(it))
		}
	})
}
