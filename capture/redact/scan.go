package redact

import (
	"cmp"
	"hash/maphash"
	"maps"
	"regexp"
	"slices"
	"strings"

	"tapedeck/events"
	"tapedeck/wire"
)

// Bounds of what a scan remembers.
const (
	maxFields   = 1 << 14 // places
	maxValues   = 1 << 10 // different values of a place
	maxSessions = 1 << 10 // of a place
)

// Scan looks through recorded traffic for what is sensitive and has no rule
// yet. Of values it remembers hashes under a seed of its own.
type Scan struct {
	engine    *Engine
	seed      maphash.Seed
	exchanges int
	found     map[foundPlace]int // by the rules there are
	fields    map[fieldPlace]*fieldCount

	endpoint string // of the exchange at hand
	session  uint64 // 0: nobody's
}

type foundPlace struct{ place, class string }

// fieldPlace is where values of one kind stand.
type fieldPlace struct {
	endpoint string
	at       location
	place    string
}

// fieldCount is what is known of a place.
type fieldCount struct {
	values   int // all of them
	secrets  int // that look like keys: long, and mixed by nobody
	plain    int // true, false, null, a date
	seen     map[uint64]*valueCount
	sessions map[uint64]bool
	full     bool // there are more values or sessions than are remembered
}

type valueCount struct {
	session uint64
	times   int
	shared  bool // seen in more than one session, or in none
}

// NewScan begins a scan with the rules there are.
func NewScan(rules *Rules) *Scan {
	s := &Scan{engine: NewWith(ThrowawayKey(), rules, nil), seed: maphash.MakeSeed(), found: map[foundPlace]int{}, fields: map[fieldPlace]*fieldCount{}}
	return s
}

// Add looks at an exchange, whose bodies are whole, and spoils it.
func (s *Scan) Add(x *events.Exchange) {
	s.exchanges++
	path, _, _ := strings.Cut(x.GetRequest().GetTarget(), "?")
	s.endpoint, s.session = wire.Template(path), s.sessionOf(x)
	x.Redactions = nil
	s.engine.view(x).look = s.look
	s.engine.Exchange(x)
	for _, r := range x.Redactions {
		if r.Action != ActionDecoded {
			s.found[foundPlace{anyIndex.ReplaceAllString(r.Place, "[*]"), r.Class}]++
		}
	}
}

func (s *Scan) sessionOf(x *events.Exchange) uint64 {
	if id := wire.Session(x.GetRequest().GetHeaders()); id != (events.SessionID{}) {
		return maphash.Bytes(s.seed, id[:])
	}
	if id := x.GetConnection().GetId(); len(id) > 0 {
		return maphash.Bytes(s.seed, id)
	}
	return 0
}

var anyIndex = regexp.MustCompile(`\[\d+\]`)

// general is a place without what differs from one exchange to the next:
// indices, and keys of objects that are ids. It is "" for one that holds a
// token: it can't be named.
func general(place string) string {
	if strings.Contains(place, wire.TokenPrefix) {
		return ""
	}
	parts := strings.Split(anyIndex.ReplaceAllString(place, "[*]"), ".")
	for i, p := range parts {
		if wire.Class(p) != "" {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, ".")
}

// look counts a value that no rule knows by its name.
func (s *Scan) look(at location, place string, value []byte) {
	if isRedacted(value) {
		return
	}
	p := fieldPlace{s.endpoint, at, general(place)}
	f := s.fields[p]
	if f == nil {
		if p.place == "" || len(s.fields) == maxFields {
			return
		}
		f = &fieldCount{seen: map[uint64]*valueCount{}, sessions: map[uint64]bool{}}
		s.fields[p] = f
	}
	f.add(maphash.Bytes(s.seed, value), s.session, string(value))
}

func (f *fieldCount) add(hash, session uint64, value string) {
	f.values++
	switch {
	case looksSecret(value):
		f.secrets++
	case isCommon(value):
		f.plain++
	}
	if session != 0 {
		if f.full = f.full || len(f.sessions) == maxSessions; !f.full {
			f.sessions[session] = true
		}
	}
	v := f.seen[hash]
	if v == nil {
		if f.full = f.full || len(f.seen) == maxValues; f.full {
			return
		}
		v = &valueCount{session: session}
		f.seen[hash] = v
	}
	v.times++
	v.shared = v.shared || session == 0 || session != v.session
}

// oneSession says that each value belongs to one session, and comes again in
// it: it is of the user, not of the request. Three of them are no chance.
func (f *fieldCount) oneSession() bool {
	again := 0
	for _, v := range f.seen {
		if v.shared {
			return false
		}
		if v.times > 1 {
			again++
		}
	}
	return !f.full && len(f.sessions) >= 3 && again >= 3 && 2*again >= len(f.seen) && 2*f.plain < f.values
}

// sorted are the places, the most frequent first.
func (s *Scan) sorted() []fieldPlace {
	return slices.SortedFunc(maps.Keys(s.fields), func(a, b fieldPlace) int {
		return cmp.Or(s.fields[b].values-s.fields[a].values, cmp.Compare(a.place, b.place), cmp.Compare(a.endpoint, b.endpoint), cmp.Compare(a.at, b.at))
	})
}
