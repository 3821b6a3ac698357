package capture

import (
	"math"
	"time"

	"tapedeck/events"
)

// An outbound exchange and its cause are of two connections, which may be
// dissected by two goroutines. One that is done is set aside while another
// goroutine has yet to see bytes from before it began: its cause may be there.

const (
	// maxUnsettled bounds the exchanges that a goroutine has set aside.
	maxUnsettled = 1024
	// settlePatience is how long one waits at most.
	settlePatience = time.Second
	settleAgain    = 2 * time.Millisecond

	idle = math.MaxInt64
)

// unsettled is an outbound exchange that is set aside.
type unsettled struct {
	sink  *sink
	u     *underway
	x     *events.Exchange
	since time.Time
}

// setAside says that x is recorded later.
func (d *dissecting) setAside(s *sink, u *underway, x *events.Exchange) bool {
	if d == nil || x.Direction != events.Direction_OUTBOUND || len(d.unsettled) == maxUnsettled || !d.ahead(x.Request.FirstByte) {
		return false
	}
	d.unsettled = append(d.unsettled, unsettled{s, u, x, time.Now()})
	return true
}

// ahead says that another goroutine has not come as far as t.
func (d *dissecting) ahead(t int64) bool {
	for _, other := range d.all {
		if other != d && other.progress.Load() <= t {
			return true
		}
	}
	return false
}

// settle records what was set aside and need not wait any more.
func (d *dissecting) settle(now time.Time) {
	kept := d.unsettled[:0]
	for _, w := range d.unsettled {
		if now.Sub(w.since) < settlePatience && d.ahead(w.x.Request.FirstByte) {
			kept = append(kept, w)
			continue
		}
		d.record(w)
	}
	clear(d.unsettled[len(kept):])
	d.unsettled = kept
}

// settleAll waits until nothing is set aside.
func (d *dissecting) settleAll() {
	for d.settle(time.Now()); len(d.unsettled) > 0; d.settle(time.Now()) {
		time.Sleep(settleAgain)
	}
}

func (d *dissecting) record(w unsettled) {
	defer func() {
		if p := recover(); p != nil {
			d.panics(p)
			w.sink.recorder.drop("panic", 1)
		}
	}()
	w.sink.finish(w.u, w.x)
}
