package capture

import (
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"tapedeck/capture/ledger"
	"tapedeck/events"
)

// tally is what a source has counted. It has a lock of its own: the recorder
// waits for the publisher with its lock held, and the publisher counts what it
// loses.
type tally struct {
	begun *atomic.Uint64 // lies in the ledger's file when there is one

	counting sync.Mutex
	taped    uint64
	building uint64 // of the taped, in the tape that is being built
	unkept   uint64 // of the taped, in closed tapes that the ledger could not keep
	number   uint64 // of the last closed tape
	dropped  map[string]uint64
	stale    bool           // dropped has changed since the last header
	said     bool           // the last header is made
	ledger   *ledger.Source // nil: none
}

// drop counts exchanges that were begun and are not taped.
func (r *recorder) drop(reason string, n uint64) {
	r.counting.Lock()
	defer r.counting.Unlock()
	r.count(reason, n)
}

// count is drop for callers that hold counting.
func (r *recorder) count(reason string, n uint64) {
	r.dropped[reason] += n
	r.stale = true
	r.metrics.dropped.WithLabelValues(reason).Add(float64(n))
	r.save()
}

// tapedOne counts an exchange in the tape that is being built.
func (t *tally) tapedOne() {
	t.counting.Lock()
	t.taped++
	t.building++
	t.counting.Unlock()
}

// lost takes the exchanges of a closed tape that could be stored nowhere out
// of the count of the taped ones.
func (r *recorder) lost(t *closedTape, reason string) {
	r.counting.Lock()
	defer r.counting.Unlock()
	r.taped -= uint64(t.exchanges)
	if t.unkept {
		r.unkept -= uint64(t.exchanges)
	}
	r.count(reason, uint64(t.exchanges))
	r.forget(t)
}

// unbuilt counts the exchanges of a tape that could not be closed.
func (r *recorder) unbuilt(t *closedTape) {
	r.counting.Lock()
	defer r.counting.Unlock()
	r.taped -= uint64(t.exchanges)
	r.building -= uint64(t.exchanges)
	r.count(dropRecord, uint64(t.exchanges))
}

// stored says that a tape is in a safe place.
func (t *tally) stored(tape *closedTape) {
	t.counting.Lock()
	defer t.counting.Unlock()
	if tape.unkept {
		t.unkept -= uint64(tape.exchanges)
		t.save()
	}
	t.forget(tape)
}

func (t *tally) forget(tape *closedTape) {
	if t.ledger != nil && !tape.unkept {
		t.ledger.Forget(tape.id)
	}
}

// keep writes a closed tape down for the case that this process is killed, and
// counts it: first one, then the other (ledger.Settle).
func (t *tally) keep(tape *closedTape, number uint64, log *slog.Logger) {
	var err error
	if t.ledger != nil {
		err = t.ledger.Keep(tape.id, tape.bytes)
	}
	t.counting.Lock()
	defer t.counting.Unlock()
	if err != nil {
		log.Warn("a kill would lose a tape on its way out", "error", err)
		t.notKept(tape)
	}
	t.number = number
	t.building -= uint64(tape.exchanges)
	t.save()
}

// notKept says that only memory holds a tape. Callers hold counting.
func (t *tally) notKept(tape *closedTape) {
	tape.unkept = true
	t.unkept += uint64(tape.exchanges)
}

// save brings the counts into the ledger's file. Exchanges in the tape that is
// being built are not in it: a kill takes them along.
func (t *tally) save() {
	if t.ledger != nil {
		t.ledger.Save(ledger.Counts{Number: t.number, Taped: t.taped - t.unkept - t.building, Dropped: t.dropped, Reported: t.said && !t.stale})
	}
}

// header are the counters for the header of the next tape.
func (r *recorder) header(last bool) *events.Counters {
	r.counting.Lock()
	defer r.counting.Unlock()
	r.stale, r.said = false, last
	return r.sum()
}

// sum is for callers that hold counting.
func (r *recorder) sum() *events.Counters {
	c := &events.Counters{Begun: r.begun.Load(), Taped: r.taped, Dropped: maps.Clone(r.dropped), SpooledTapes: uint64(r.spooled())}
	c.Open = c.Begun - c.Taped
	for _, n := range c.Dropped {
		c.Open -= n
	}
	return c
}

// Counts are those of the source now.
func (r *recorder) Counts() Counts {
	r.counting.Lock()
	defer r.counting.Unlock()
	c := r.sum()
	return Counts{Begun: c.Begun, Taped: c.Taped, Open: c.Open, Dropped: c.Dropped}
}

// openLedger makes the counts outlive this process.
func (t *tally) openLedger(l *ledger.Source) {
	t.counting.Lock()
	defer t.counting.Unlock()
	t.ledger, t.begun = l, l.Begun()
}

// closeLedger ends that. The ledger's folder goes when nothing is left to be
// said: the last header is stored and true, and no spooled tape can be dropped.
func (t *tally) closeLedger(spooled int) error {
	t.counting.Lock()
	defer t.counting.Unlock()
	t.save()
	begun := new(atomic.Uint64)
	begun.Store(t.begun.Load())
	l := t.ledger
	t.ledger, t.begun = nil, begun
	if t.said && !t.stale && spooled == 0 {
		return l.Remove()
	}
	return l.Close()
}
