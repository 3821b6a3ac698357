package cause

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// experience is what exchanges did before: how often one of a kind calls an
// endpoint, how soon, and whether both have values in common; and how often
// each value is seen. Its tables have a fixed size: a kind that finds no place
// takes another's. Counts are in parts of a whole, for links that are not
// certain; every 65536 calls half of them is forgotten.
type experience struct {
	seen    [1 << 13]atomic.Uint32 // calls with a value
	calls   atomic.Uint32
	kinds   [1 << 9]kindPast
	pairs   [1 << 10]pairPast
	unknown pairPast     // is never written to
	begun   atomic.Int64 // first call
	newest  atomic.Int64
}

const (
	whole      = 256
	remembered = 1 << 16 // calls
)

// kindPast is of the exchanges of a kind.
type kindPast struct {
	tag              atomic.Uint64
	ended            atomic.Uint32
	parallel, serial atomic.Uint32 // calls that began during or after another
	links            atomic.Uint32
	early, late      atomic.Uint32 // of them, before the request was complete, and not ended when the answer began
	orphans          atomic.Uint32 // calls when nothing was open
}

const (
	maxReached = 8
	maxGap     = 26 // 2^25 µs: half a minute
)

// pairPast is of the calls of one kind that exchanges of another make.
type pairPast struct {
	tag     atomic.Uint64
	links   atomic.Uint32
	shared  atomic.Uint32             // links with a rare value on both sides
	repeats atomic.Uint32             // calls of a target that the exchange had called
	reached [maxReached]atomic.Uint32 // exchanges that made more than so many calls
	gaps    [maxGap]atomic.Uint32     // by the binary logarithm of µs
}

// weight says how much a value of a call tells: one in how many calls has it.
// Before there is experience it is taken for as rare as its length and the
// share of it among the suspects make it.
func (p *experience) weight(value uint64, share float64) float64 {
	const confidence = 30 // calls that weigh as much as the guess
	guess := min([4]float64{0.2, 0.05, 0.01, 0.002}[value&3], share)
	seen := float64(p.seen[value>>2%uint64(len(p.seen))].Load())
	return (float64(p.calls.Load()) + confidence) / (seen + confidence*guess)
}

// count counts the values of a call.
func (p *experience) count(values []uint64) {
	for _, v := range values {
		p.seen[v>>2%uint64(len(p.seen))].Add(1)
	}
	if p.calls.Add(1) == remembered {
		p.forget()
	}
}

// forget halves every count.
func (p *experience) forget() {
	p.calls.Store(remembered / 2)
	for i := range p.seen {
		p.seen[i].Store(p.seen[i].Load() / 2)
	}
	for i := range p.kinds {
		halve(p.kinds[i].counts())
	}
	for i := range p.pairs {
		halve(p.pairs[i].counts())
	}
}

func halve(counts []*atomic.Uint32) {
	for _, n := range counts {
		n.Store(n.Load() / 2)
	}
}

func (k *kindPast) counts() []*atomic.Uint32 {
	return []*atomic.Uint32{&k.ended, &k.parallel, &k.serial, &k.links, &k.early, &k.late, &k.orphans}
}

// ways is how many places a kind or pair may be at.
const ways = 8

// kind is what is remembered of a kind: it takes a place when it has none.
func (p *experience) kind(kind uint64) *kindPast {
	for i := range uint64(ways) {
		k := &p.kinds[(kind>>8+i)%uint64(len(p.kinds))]
		if k.tag.Load() == kind || k.tag.CompareAndSwap(0, kind) {
			return k
		}
	}
	k := &p.kinds[(kind>>8)%uint64(len(p.kinds))]
	if old := k.tag.Load(); k.tag.CompareAndSwap(old, kind) {
		clearCounts(k.counts())
	}
	return k
}

func pairTag(caller, called uint64) uint64 { return caller ^ bits.RotateLeft64(called, 17) | 1 }

// known is what is remembered of a pair, if only that it is not known.
func (p *experience) known(caller, called uint64) *pairPast {
	tag := pairTag(caller, called)
	for i := range uint64(ways) {
		if x := &p.pairs[(tag>>8+i)%uint64(len(p.pairs))]; x.tag.Load() == tag {
			return x
		}
	}
	return &p.unknown
}

// pair is what is remembered of a pair: it takes a place when it has none.
func (p *experience) pair(caller, called uint64) *pairPast {
	tag := pairTag(caller, called)
	for i := range uint64(ways) {
		x := &p.pairs[(tag>>8+i)%uint64(len(p.pairs))]
		if x.tag.Load() == tag || x.tag.CompareAndSwap(0, tag) {
			return x
		}
	}
	x := &p.pairs[(tag>>8)%uint64(len(p.pairs))]
	if old := x.tag.Load(); x.tag.CompareAndSwap(old, tag) {
		clearCounts(x.counts())
	}
	return x
}

func (p *pairPast) counts() []*atomic.Uint32 {
	all := []*atomic.Uint32{&p.links, &p.shared, &p.repeats}
	for i := range p.reached {
		all = append(all, &p.reached[i])
	}
	for i := range p.gaps {
		all = append(all, &p.gaps[i])
	}
	return all
}

func clearCounts(counts []*atomic.Uint32) {
	for _, n := range counts {
		n.Store(0)
	}
}

// ended learns how many calls an exchange made.
func (p *experience) ended(c *Inbound) {
	p.kind(c.kind).ended.Add(whole)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.calls {
		kind, n := c.calls[i].kind, 0.0
		if kind == 0 {
			return
		}
		for j := range c.calls {
			if c.calls[j].kind == kind {
				if j < i { // counted already
					n = 0
					break
				}
				n += c.calls[j].n
			}
		}
		p.pair(c.kind, kind).reach(n)
	}
}

// reach counts an exchange that made n calls.
func (p *pairPast) reach(n float64) {
	for i := range p.reached {
		if n := min(1, n-float64(i)); n > 0 {
			p.reached[i].Add(uint32(whole * n))
		}
	}
}

// another is how likely an exchange makes one more call when it made n, which
// is an expectation: between two numbers of calls.
func (p *pairPast) another(k *kindPast, n float64) float64 {
	n = min(n, maxReached-1)
	whole := int(n)
	chance := p.after(k, whole)
	if part := n - float64(whole); part > 0 {
		chance += part * (p.after(k, whole+1) - chance)
	}
	return chance
}

// after is how likely an exchange that made n calls makes one more.
func (p *pairPast) after(k *kindPast, n int) float64 {
	before := k.ended.Load()
	if n > 0 {
		before = p.reached[n-1].Load()
	}
	return min(1, (float64(p.reached[n].Load())+0.3*whole)/(float64(before)+whole))
}

// density is how likely a call comes gap ns after what the exchange did
// before, per µs. Without experience it falls with the root of the gap.
func (p *pairPast) density(gap int64) float64 {
	const guess = 2 * whole // links that weigh as much
	us := max(float64(gap)/1000, 100)
	b := bucket(gap)
	near := (2*p.at(b) + p.at(max(b-1, 0)) + p.at(min(b+1, maxGap-1))) / 4
	return (near + guess/(8000*math.Sqrt(us))) / (float64(p.links.Load()) + guess)
}

// at is the density of a bucket, times the links.
func (p *pairPast) at(b int) float64 {
	return float64(p.gaps[b].Load()) / float64(uint64(1)<<max(b-1, 0))
}

func bucket(gap int64) int { return min(bits.Len64(uint64(max(gap, 0)/1000)), maxGap-1) }

// shares is how likely the two have a rare value in common.
func (p *pairPast) shares() float64 { return min(max(part(&p.shared, &p.links, 0.5), 0.02), 0.98) }

// again is how likely an exchange calls a target that it has called.
func (p *pairPast) again() float64 { return part(&p.repeats, &p.links, 0.1) }

// parallels is how likely an exchange of the kind calls while another of its
// calls goes on.
func (k *kindPast) parallels() float64 {
	parallel := float64(k.parallel.Load())
	return (parallel + 0.3*whole) / (parallel + float64(k.serial.Load()) + whole)
}

// earlier is how likely an exchange calls before it is asked in full.
func (k *kindPast) earlier() float64 { return part(&k.early, &k.links, 0.05) }

// later is how likely an exchange answers without waiting for its call.
func (k *kindPast) later() float64 { return part(&k.late, &k.links, 0.05) }

// part is the share of some in all, and a guess before there are any.
func part(some, all *atomic.Uint32, guess float64) float64 {
	return min(1, (float64(some.Load())+guess*whole)/(float64(all.Load())+whole))
}
