package cause

import (
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// match is a value that a suspect and the call have in common.
type match struct{ suspect, value int }

// evidence is what a call is held against each suspect with.
type evidence struct {
	linker       *Linker
	kind, target uint64
	begun, ended int64
	values       []uint64
	in           [maxValues]int // suspects that have the value
	weights      [maxValues]float64
	matches      []match    // in the order of suspects
	next         int        // of them
	mask         [16]uint64 // bits of the values: most of others' are not there
}

func newEvidence(l *Linker, kind uint64, values []uint64, o Call) *evidence {
	r := o.Exchange.Request
	e := evidences.Get().(*evidence)
	*e = evidence{linker: l, kind: kind, target: maphash.String(l.seed, r.Target), begun: r.FirstByte, ended: o.Ended, values: values, matches: e.matches[:0]}
	for _, v := range values {
		e.mask[v>>60] |= 1 << (v >> 54 & 63)
	}
	return e
}

var evidences = sync.Pool{New: func() any { return &evidence{} }}

// match finds the values that suspects have in common with the call, and how
// much each of them tells.
func (e *evidence) match(known []*Inbound) {
	for n, c := range known {
		for _, v := range *c.values.Load() {
			if e.mask[v>>60]&(1<<(v>>54&63)) == 0 {
				continue
			}
			if i, found := slices.BinarySearch(e.values, v); found {
				e.matches = append(e.matches, match{n, i})
				e.in[i]++
			}
		}
	}
	for i, v := range e.values {
		e.weights[i] = e.linker.past.weight(v, (float64(e.in[i])+0.5)/float64(len(known)+1))
	}
}

// suspect holds the call against an inbound exchange.
func (e *evidence) suspect(c *Inbound, common float64) suspect {
	past, kind := e.linker.past.known(c.kind, e.kind), e.linker.past.kind(c.kind)
	n, same, last := c.so(e.kind, e.target)
	asked, answered := c.asked.Load(), c.answered.Load()
	s := suspect{Inbound: c, past: past, common: common, shared: common >= telling, repeats: same >= LeastConfidence,
		overlaps: last.ended != 0 && max(last.begun, e.begun) < min(last.ended, e.ended),
		early:    asked == 0 || asked > e.begun,
		late:     answered != 0 && answered <= e.ended}
	step := max(asked, c.begun)
	if !s.overlaps {
		step = max(step, last.ended)
	}
	s.gap = max(e.begun-step, 0)
	fits := 1 - past.shares()
	if s.shared {
		fits = past.shares() * common
	}
	s.rate = fits * past.another(kind, n) * past.density(s.gap) * (1 - (1-past.again())*min(same, 1))
	if s.overlaps {
		s.rate *= kind.parallels()
	} else if last.ended != 0 {
		s.rate *= 1 - kind.parallels()
	}
	if s.early {
		s.rate *= kind.earlier()
	}
	if s.late {
		s.rate *= kind.later()
	}
	return s
}

// so is how many calls of a kind are linked to it so far, how many of them to
// the same target, and the last of any.
func (c *Inbound) so(kind, target uint64) (n, same float64, last interval) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.calls {
		made := &c.calls[i]
		if made.kind == kind {
			n += made.n
		}
		if made.kind == kind && made.target == target {
			same = made.n
		}
	}
	return n, same, c.last
}

// common is how much likelier what the call has in common with the next
// suspect makes it that this caused it. It takes that suspect's matches.
func (e *evidence) common(suspect int) float64 {
	var top [3]float64 // descending
	for ; e.next < len(e.matches) && e.matches[e.next].suspect == suspect; e.next++ {
		switch w := e.weights[e.matches[e.next].value]; {
		case w > top[0]:
			top = [3]float64{w, top[0], top[1]}
		case w > top[1]:
			top[1], top[2] = w, top[1]
		case w > top[2]:
			top[2] = w
		}
	}
	product := max(top[0], 1) * math.Sqrt(max(top[1], 1)) * math.Sqrt(math.Sqrt(max(top[2], 1)))
	return min(product, mostValues)
}

// learn takes what was found into account: each suspect made the call with
// its probability, and tells as much about its kind.
func (l *Linker) learn(all []suspect, best int, total float64, e *evidence, o Call) {
	for i := range all {
		s := &all[i]
		p := s.rate / total
		if p < 0.01 {
			continue
		}
		s.made(e.kind, e.target, p)
		s.past = l.past.pair(s.kind, e.kind)
		s.learn(l.past.kind(s.kind), uint32(whole*p))
	}
	if p := all[best].rate / total; p >= LeastConfidence {
		l.learnOrder(&all[best], p, e)
		if p >= replayConfidence && all[best].ended.Load() == 0 {
			all[best].also(l.readAnswer(o.Exchange.Response))
		}
	}
}

// learn counts the parts of a link.
func (s *suspect) learn(kind *kindPast, share uint32) {
	s.past.links.Add(share)
	kind.links.Add(share)
	s.past.gaps[bucket(s.gap)].Add(share)
	for _, c := range [...]struct {
		is bool
		of *atomic.Uint32
	}{{s.shared, &s.past.shared}, {s.repeats, &s.past.repeats}, {s.early, &kind.early}, {s.late, &kind.late}} {
		if c.is {
			c.of.Add(share)
		}
	}
}

// learnOrder tells whether the kind calls one after the other.
func (l *Linker) learnOrder(s *suspect, p float64, e *evidence) {
	s.mu.Lock()
	before := s.last
	s.last = interval{e.begun, e.ended}
	s.mu.Unlock()
	kind := l.past.kind(s.kind)
	switch {
	case s.overlaps:
		kind.parallel.Add(uint32(whole * p))
	case before.ended != 0:
		kind.serial.Add(uint32(whole * p))
	}
}

// made adds a call that it made with probability p.
func (c *Inbound) made(kind, target uint64, p float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.calls {
		made := &c.calls[i]
		if made.kind == 0 {
			made.kind, made.target = kind, target
		}
		if made.kind == kind && made.target == target {
			made.n += p
			return
		}
	}
}
