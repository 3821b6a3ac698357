package scenario

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"tapedeck/events"
	"tapedeck/wire"
)

// Match is what a Matcher found.
type Match struct {
	Level Level
	// Mock answers the request; on a miss it is the closest one, nil when
	// there is none of that method.
	Mock *Mock
	// Differences are those to the closest mock, on a miss.
	Differences []events.Difference
}

// Matcher finds the recorded answer to live requests of one dependency. Equal
// requests get their answers in the order they were recorded, the last one
// again and again. It is safe for concurrent use.
type Matcher struct {
	Secrets   *Secrets // that live requests may hold: their tokens tell recorded answers apart
	signature func(*events.Exchange) wire.Signature

	mutex  sync.Mutex
	exact  map[[32]byte]*answers
	shapes map[shapeKey]*answers
	routes map[[32]byte]*route
	served map[*Mock]bool
	all    []*Mock
}

// shapeKey is a request without its volatile places; which those are is part
// of the hash.
type shapeKey [32]byte

// answers are mocks that fit equal requests, by time.
type answers struct {
	mocks []*Mock
	first int // all before were served
}

// route is what mocks of one method and path template have in common.
type route struct {
	masks []mask
	mocks []*Mock
}

// mask is a set of volatile places.
type mask struct {
	text    string
	classes classes
}

const (
	maxMasks    = 64  // of one route
	maxCompared = 256 // mocks that are looked at for the closest one
	maxStrict   = 64  // that are looked at for one that fits without another redacted value
)

// NewMatcher makes a matcher of a protocol's signature.
func NewMatcher(signature func(*events.Exchange) wire.Signature) *Matcher {
	return &Matcher{
		signature: signature,
		exact:     map[[32]byte]*answers{}, shapes: map[shapeKey]*answers{}, routes: map[[32]byte]*route{},
		served: map[*Mock]bool{},
	}
}

// Add adds a mock. Those of the same request are added in the order of time.
func (m *Matcher) Add(k *Mock) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.all = append(m.all, k)
	s := m.signature(k.Exchange)
	if !truncatedRequest(k) {
		put(m.exact, s.Exact, k)
	}
	r := m.routes[s.Route]
	if r == nil {
		r = &route{}
		m.routes[s.Route] = r
	}
	r.mocks = append(r.mocks, k)
	own := newMask(k.Volatile)
	if !slices.ContainsFunc(r.masks, func(other mask) bool { return other.text == own.text }) {
		if len(r.masks) == maxMasks {
			return // found by its exact request only
		}
		r.masks = append(r.masks, own)
	}
	put(m.shapes, own.hash(k.Exchange.Request), k)
}

func put[K comparable](all map[K]*answers, key K, k *Mock) {
	a := all[key]
	if a == nil {
		a = &answers{}
		all[key] = a
	}
	a.mocks = append(a.mocks, k)
}

func newMask(volatile []*Volatile) mask {
	var places []string
	for _, v := range volatile {
		places = append(places, v.Place)
	}
	slices.Sort(places)
	return mask{strings.Join(places, "\n"), classesOf(volatile)}
}

// hash is the request without the places of the mask, and without headers.
func (k mask) hash(r *events.Request) shapeKey {
	var lines []string
	for _, l := range requestLeaves(r) {
		if strings.HasPrefix(l.place, "request.header.") || strings.HasPrefix(l.place, "request.cookie.") {
			continue
		}
		if k.classes["request.body"] == ClassAny && within(l.place, "request.body") {
			continue
		}
		value := l.value
		if k.classes.at(l.place) != "" {
			value = ""
		}
		lines = append(lines, l.place+"\x00"+string(rune('0'+l.kind))+value)
	}
	slices.Sort(lines)
	h := sha256.New()
	writeText(h, k.text)
	for _, line := range lines {
		writeText(h, line)
	}
	return shapeKey(h.Sum(nil))
}

func writeText(w io.Writer, s string) {
	w.Write(binary.AppendUvarint(nil, uint64(len(s)))) // a hash takes everything
	io.WriteString(w, s)
}

// Match finds the mock that answers a live request, and counts it as served.
func (m *Matcher) Match(live *events.Exchange) Match {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if as := m.Secrets.tokenised(live); as != nil {
		if found := m.match(as); found.Level != Miss {
			return found
		}
	}
	return m.match(live)
}

func (m *Matcher) match(live *events.Exchange) Match {
	s := m.signature(live)
	if a := m.exact[s.Exact]; a != nil {
		return Match{Level: Exact, Mock: m.next(a)}
	}
	r := m.routes[s.Route]
	if r == nil {
		return m.closest(m.all, live)
	}
	for _, k := range r.masks {
		a := m.shapes[k.hash(live.Request)]
		if a == nil {
			continue
		}
		if found := m.fitting(a, live); found.Mock != nil {
			return found
		}
	}
	return m.closest(r.mocks, live)
}

// next is the first mock that was not served yet, else the last.
func (m *Matcher) next(a *answers) *Mock {
	for ; a.first < len(a.mocks); a.first++ {
		if k := a.mocks[a.first]; !m.served[k] {
			m.served[k] = true
			return k
		}
	}
	return a.mocks[len(a.mocks)-1]
}

// fitting is next among those whose volatile places the live request fits. A
// repetition of a request fits better than another redacted value does.
func (m *Matcher) fitting(a *answers, live *events.Exchange) Match {
	for a.first < len(a.mocks) && m.served[a.mocks[a.first]] {
		a.first++
	}
	fresh := m.best(func(yield func(*Mock) bool) {
		for _, k := range a.mocks[a.first:] {
			if !m.served[k] && !yield(k) {
				return
			}
		}
	}, live)
	if fresh.Level != Shape {
		again := m.best(func(yield func(*Mock) bool) {
			for _, k := range slices.Backward(a.mocks) {
				if !yield(k) {
					return
				}
			}
		}, live)
		if again.Level == Shape || fresh.Level == Miss {
			return again
		}
	}
	m.served[fresh.Mock] = true
	return fresh
}

// best is the first that fits, where one does without another redacted value:
// so many are looked at for that when there is one that fits by it.
func (m *Matcher) best(among iter.Seq[*Mock], live *events.Exchange) Match {
	found, compared := Match{Level: Miss}, 0
	for k := range among {
		compared++
		level, _ := m.judge(k, live)
		switch {
		case level == Exact || level == Shape:
			return Match{Level: Shape, Mock: k}
		case level == Redacted && found.Mock == nil:
			found = Match{Level: Redacted, Mock: k}
		}
		if found.Mock != nil && compared >= maxStrict {
			break
		}
	}
	return found
}

// judge compares a live request, headers left out as in signatures.
func (m *Matcher) judge(k *Mock, live *events.Exchange) (Level, []events.Difference) {
	c := newComparison(k.Exchange, live, Rules{Volatile: k.Volatile, Secrets: m.Secrets})
	c.request(k.Exchange.Request, live.Request, nil)
	return c.result()
}

// closest is the mock with the fewest differences, of those with the same
// method.
func (m *Matcher) closest(among []*Mock, live *events.Exchange) Match {
	found := Match{Level: Miss}
	compared := 0
	for _, k := range among {
		if k.Exchange.Request.Method != live.GetRequest().GetMethod() {
			continue
		}
		if compared++; compared > maxCompared {
			break
		}
		_, differences := m.judge(k, live)
		if found.Mock == nil || len(differences) < len(found.Differences) {
			found.Mock, found.Differences = k, differences
		}
	}
	return found
}

func truncatedRequest(k *Mock) bool {
	b := k.Exchange.GetRequest().GetBody()
	return b.GetSize() > int64(len(b.GetData()))
}

// Answer is the recorded response, with the values that repeat the request
// replaced by those of the live one. It is a copy. Tokens in it stay: secrets
// are for the target alone.
func (k *Mock) Answer(live *events.Exchange) *events.Response {
	out := proto.CloneOf(k.Exchange.Response)
	if len(k.Echoes) == 0 || live.GetRequest() == nil {
		return out
	}
	leaves := requestLeaves(live.Request)
	m := responseMessage(out)
	for _, e := range k.Echoes {
		if l, ok := findLeaf(leaves, e.From); ok {
			m.put(e.To, e.Recorded, l.value)
		}
	}
	return out
}
