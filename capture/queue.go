package capture

import (
	"sync"
	"sync/atomic"
	"time"

	"tapedeck/events"
)

// budget is the memory of bytes that are relayed and not dissected yet. One
// connection gets half of it at most: a body that comes at the speed of memory
// must not crowd out all others.
type budget struct {
	limit   int64
	block   bool
	used    atomic.Int64
	waiting atomic.Int32
	mu      sync.Mutex
	free    sync.Cond
}

func newBudget(limit int64, block bool) *budget {
	b := &budget{limit: limit, block: block}
	b.free.L = &b.mu
	return b
}

// take reserves n bytes for t. When they are not there it waits (block) or
// says no (drop).
func (b *budget) take(t *tap, n int64) bool {
	for {
		if t.queued.Load()+n <= b.limit/2 && b.used.Load()+n <= b.limit {
			t.queued.Add(n)
			b.used.Add(n)
			return true
		}
		if !b.block {
			return false
		}
		if t.queued.Load() == 0 && b.used.Load() == 0 {
			t.queued.Add(n) // larger than the bound: alone it may pass
			b.used.Add(n)
			return true
		}
		b.wait(t, n)
	}
}

func (b *budget) wait(t *tap, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	// give looks at waiting after it changed the counts, so one of the two sees the other.
	if t.queued.Load()+n > b.limit/2 || b.used.Load()+n > b.limit {
		b.free.Wait()
	}
}

func (b *budget) give(t *tap, n int64) {
	t.queued.Add(-n)
	b.used.Add(-n)
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.free.Broadcast()
		b.mu.Unlock()
	}
}

type itemKind uint8

const (
	isData itemKind = iota
	isGap
	isClose
)

// item is a step of a connection on its way to the dissector.
type item struct {
	tap  *tap
	kind itemKind
	side events.Side
	n    int32
	buf  *buffer // isData
	time time.Time
	err  error // isClose
}

// dissecting runs the dissectors of its connections, in one goroutine: their
// order holds without a lock, and a busy queue costs no wake-ups.
type dissecting struct {
	budget *budget
	panics func(any) // counts

	mu    sync.Mutex
	items []item
	wake  chan struct{}
	taps  map[*tap]struct{} // of the goroutine
	spare []item

	all       []*dissecting // this one and the others
	progress  atomic.Int64  // Unix ns of what it handles now, or next
	unsettled []unsettled
}

func newDissecting(b *budget, panics func(any)) *dissecting {
	d := &dissecting{budget: b, panics: panics, wake: make(chan struct{}, 1), taps: map[*tap]struct{}{}}
	d.progress.Store(idle)
	return d
}

func (d *dissecting) push(i item) {
	d.mu.Lock()
	d.items = append(d.items, i)
	first := len(d.items) == 1
	if first && d.progress.Load() == idle {
		d.progress.Store(time.Now().UnixNano())
	}
	d.mu.Unlock()
	if first {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// run dissects until done is closed and the queue is empty. tick is called
// about once a second between items.
func (d *dissecting) run(done <-chan struct{}) {
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		d.step()
		var soon <-chan time.Time
		if len(d.unsettled) > 0 {
			d.settle(time.Now())
			soon = time.After(settleAgain)
		}
		select {
		case <-d.wake:
		case <-soon:
		case now := <-ticker.C:
			for t := range d.taps {
				d.guard(t, func() { t.announce(now) })
			}
		case <-done:
			d.step()
			d.settleAll()
			return
		}
	}
}

// step handles all that is queued.
func (d *dissecting) step() {
	for {
		d.mu.Lock()
		items := d.items
		d.items = d.spare[:0]
		if len(items) == 0 {
			d.progress.Store(idle)
		}
		d.mu.Unlock()
		if len(items) == 0 {
			d.spare = items
			return
		}
		for n := range items {
			if t := items[n].time; !t.IsZero() {
				d.progress.Store(t.UnixNano())
			}
			d.handle(&items[n])
		}
		clear(items)
		d.spare = items[:0]
		if cap(items) > 4096 {
			d.spare = nil
		}
	}
}

func (d *dissecting) handle(i *item) {
	t := i.tap
	if !t.known {
		t.known = true
		d.taps[t] = struct{}{}
	}
	switch i.kind {
	case isData:
		if !t.closed[i.side] { // the proxy may write while it closes: that reaches nobody
			d.guard(t, func() { t.dissect(i.side, i.time, i.buf.b[:i.n]) })
		}
		size := int64(len(i.buf.b))
		i.buf.release()
		d.budget.give(t, size)
	case isGap:
		g := t.lost()
		d.guard(t, func() { t.missing(time.Now(), g) })
	case isClose:
		t.closed[i.side] = true
		d.guard(t, func() { t.closeSide(i.side, i.time, i.err) })
		if t.ended() {
			delete(d.taps, t)
		}
	}
}

// guard is the one recover: a dissector that panics costs what it was reading,
// never the connection, whose rest is recorded as bytes.
func (d *dissecting) guard(t *tap, do func()) {
	if t.dead {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			d.panics(p)
			t.sink.dropAll("panic")
			t.giveUp()
		}
	}()
	do()
}
