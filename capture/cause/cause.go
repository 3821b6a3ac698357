// Package cause finds the inbound exchange that made a service call a
// dependency, from what a relay sees of both: trace headers where there are
// any, else times, values seen in both, and what exchanges of their kind did
// before.
//
//   - values.go: the values of a request, as keyed hashes
//   - cause.go, open.go: the inbound exchanges that are known
//   - score.go: how likely each of them is the cause, and what is said of it
//   - learn.go: what is remembered of kinds of exchanges
//
// Everything is bounded and in memory only. A Linker is safe for concurrent
// use; no method waits for anything but a copy of a few hundred pointers.
package cause

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// LeastConfidence is what a link needs to be told.
const LeastConfidence = 0.5

// Linker knows the inbound exchanges of one workload.
type Linker struct {
	seed  maphash.Seed
	blind bool
	open  table
	past  experience
}

// New begins without experience. A blind Linker looks at no trace header: its
// links can be compared with what those say.
func New(blind bool) *Linker {
	return &Linker{seed: maphash.MakeSeed(), blind: blind}
}

// Inbound is an inbound exchange that may cause calls.
type Inbound struct {
	id     events.ID
	kind   uint64
	begun  int64 // times are Unix ns
	trace  events.TraceID
	span   events.SpanID
	replay string
	place  int // in the table

	asked, answered, ended atomic.Int64 // 0: not yet
	values                 atomic.Pointer[[]uint64]

	mu    sync.Mutex
	calls [maxCalls]called
	last  interval // the last call that is linked to it
}

// maxCalls is how many different calls of an exchange are told apart.
const maxCalls = 8

// called is how often an exchange called one target of a kind: a sum of
// probabilities.
type called struct {
	kind, target uint64
	n            float64
}

type interval struct{ begun, ended int64 }

// Begin tells of an inbound exchange whose head is known.
func (l *Linker) Begin(x *events.Exchange) *Inbound {
	if l == nil {
		return nil
	}
	r := x.Request
	marks := wire.ReadMarks(r.Headers, nil)
	c := &Inbound{id: events.ID(x.Id), kind: l.kind(r), begun: r.FirstByte, replay: marks.ReplayID}
	if !l.blind {
		c.trace, c.span = marks.Trace, marks.Span
	}
	c.put(l.read(r))
	l.open.add(c)
	return c
}

// Asked tells that its request is complete.
func (l *Linker) Asked(c *Inbound, r *events.Request) {
	if c == nil {
		return
	}
	if len(r.Body.GetData()) > 0 {
		c.put(l.read(r))
	}
	c.asked.Store(max(r.LastByte, 1))
}

// Answered tells when its answer began.
func (l *Linker) Answered(c *Inbound, at int64) {
	if c != nil {
		c.answered.CompareAndSwap(0, at)
	}
}

// End tells that it has ended.
func (l *Linker) End(c *Inbound, at int64) {
	if c == nil {
		return
	}
	c.ended.Store(max(at, 1))
	l.open.end(c)
	l.past.ended(c)
}

func (c *Inbound) put(values []uint64) { c.values.Store(&values) }

// also adds values that its dependencies answered with.
func (c *Inbound) also(values []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	have := *c.values.Load()
	room := min(2*maxValues-len(have), len(values))
	if room > 0 {
		c.put(append(have[:len(have):len(have)], values[:room]...))
	}
}

// kind is the endpoint, roughly: what exchanges of a kind do is alike.
func (l *Linker) kind(r *events.Request) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	h.WriteString(r.Method)
	h.WriteByte(' ')
	h.WriteString(r.Host)
	h.WriteString(wire.Template(http1.Path(r.Target)))
	return h.Sum64() | 1 // 0 is none
}
