package cause

import (
	"sync"

	"tapedeck/events"
	"tapedeck/wire"
)

// Call is an outbound exchange.
type Call struct {
	Exchange *events.Exchange
	Ended    int64 // Unix ns; of one that goes on: now
}

// Link says what caused a call. The zero Link says that it is not known.
type Link struct {
	Cause      events.ID
	Confidence float32
	Replay     string // that the cause is part of, when that is as good as certain
}

const (
	// replayConfidence is what a link needs to pass a replay's id on.
	replayConfidence = 0.9
	// telling is how rare a value must be to count as shared: one in so many calls.
	telling = 5
	// mostValues bounds what shared values say: that many times likelier.
	mostValues = 1e4
	// leastBackground is how often, per µs, a call has no cause, at least.
	leastBackground = 2e-8
)

// suspect is an inbound exchange that may be the cause.
type suspect struct {
	*Inbound
	past     *pairPast
	gap      int64
	overlaps bool    // with another call of it
	shared   bool    // a rare value
	repeats  bool    // a call of it
	early    bool    // before it was asked in full
	late     bool    // it did not wait for the call
	common   float64 // how much its values tell
	rate     float64 // how likely it makes this call now, per µs
}

var suspects = sync.Pool{New: func() any { s := make([]suspect, 0, 64); return &s }}
var inbounds = sync.Pool{New: func() any { s := make([]*Inbound, 0, 256); return &s }}

// Link finds the cause of a call. It looks at the exchange as it was sent.
//
// Each inbound exchange that is open makes such a call at some rate: how many
// calls of the kind its kind makes after those it has made, how long after its
// last step, and whether it waits for the answer. A rate is multiplied by how
// much likelier the values in common make it: a value that is in one of a
// hundred calls, a hundred times; the second and third value count less, since
// values come together. The confidence is the share of the best in all rates,
// that of calls without a cause among them.
func (l *Linker) Link(o Call) Link {
	if l == nil {
		return Link{}
	}
	r := o.Exchange.Request
	pool := inbounds.Get().(*[]*Inbound)
	defer inbounds.Put(pool)
	known := l.open.before((*pool)[:0], r.FirstByte)
	*pool = known[:0]
	defer clear(known)
	if !l.blind {
		traced, link := byTrace(known, wire.ReadMarks(r.Headers, nil))
		if link.Confidence > 0 {
			return link
		}
		known = traced
	}
	return l.byEvidence(known, o)
}

// byTrace keeps those of the call's trace, when there are any. One alone is
// the cause, and so is the one whose span the call names as its parent.
func byTrace(known []*Inbound, marks wire.Marks) ([]*Inbound, Link) {
	if marks.Trace == (events.TraceID{}) {
		return known, Link{}
	}
	same := 0
	for i, c := range known {
		if c.trace != marks.Trace {
			continue
		}
		if marks.Parent != (events.SpanID{}) && c.span == marks.Parent {
			return nil, c.link(1)
		}
		known[same], known[i] = c, known[same]
		same++
	}
	switch same {
	case 0:
		return known, Link{}
	case 1:
		return nil, known[0].link(1)
	}
	return known[:same], Link{}
}

func (c *Inbound) link(confidence float32) Link {
	link := Link{Cause: c.id, Confidence: confidence}
	if confidence >= replayConfidence {
		link.Replay = c.replay
	}
	return link
}

func (l *Linker) byEvidence(known []*Inbound, o Call) Link {
	r := o.Exchange.Request
	kind, values := l.kind(r), l.read(r)
	l.past.time(r.FirstByte)
	defer l.past.count(values)
	if len(known) == 0 {
		l.past.kind(kind).orphans.Add(1)
		return Link{}
	}
	pool := suspects.Get().(*[]suspect)
	defer suspects.Put(pool)
	all := (*pool)[:0]
	e := newEvidence(l, kind, values, o)
	defer evidences.Put(e)
	e.match(known)
	total, best := l.past.background(kind), 0
	for i, c := range known {
		s := e.suspect(c, e.common(i))
		total += s.rate
		if all = append(all, s); s.rate > all[best].rate {
			best = len(all) - 1
		}
	}
	*pool = all[:0]
	defer clear(all)
	link := all[best].link(confidence(all[best].rate/total, alike(all, best)))
	l.learn(all, best, total, e, o)
	if link.Confidence < LeastConfidence {
		return Link{}
	}
	return link
}

// alike is how many others fit the call by values as well as the best does.
func alike(all []suspect, best int) float64 {
	n, b := -1.0, &all[best]
	for i := range all {
		if s := &all[i]; s.shared || s.kind == b.kind {
			n += min(1, max(s.common, 1)/max(b.common, 1))
		}
	}
	return n
}

// confidence is what is said of the best suspect's share p of all rates.
// Where others are alike, p rests on what was guessed of their earlier calls,
// and one wrong guess leads to the next: what is said is less, by a share that
// makes what is said true where it was measured (make bench-causes): up to an
// eighth when very many are alike. Nothing is ever certain.
func confidence(p, alike float64) float32 {
	const blur = 0.12
	return float32(min(p*(1-blur*alike/(6+alike)), 0.995))
}

// background is how often a call of a kind has no cause, per µs.
func (p *experience) background(kind uint64) float64 {
	elapsed := float64(p.newest.Load()-p.begun.Load()) / 1000
	return max(leastBackground, float64(p.kind(kind).orphans.Load())/(elapsed+1e6))
}

func (p *experience) time(t int64) {
	p.begun.CompareAndSwap(0, t)
	p.newest.Store(t)
}
