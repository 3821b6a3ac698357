package scenario

import "hash/maphash"

// hashSet remembers values by their hash, up to a bound. What it forgets makes
// learning less sharp, never wrong about what was recorded.
type hashSet struct {
	seed maphash.Seed
	has  map[uint64]struct{}
}

const maxRemembered = 1 << 20

func newHashSet() *hashSet {
	return &hashSet{seed: maphash.MakeSeed(), has: map[uint64]struct{}{}}
}

func (s *hashSet) add(value string) {
	if len(s.has) < maxRemembered {
		s.has[maphash.String(s.seed, value)] = struct{}{}
	}
}

func (s *hashSet) contains(value string) bool {
	_, ok := s.has[maphash.String(s.seed, value)]
	return ok
}

// sightings says of values in answers where they were seen: what
// two sessions were told by requests that change nothing is the service's own
// data and the same in every run.
type sightings struct {
	seed maphash.Seed
	all  map[uint64]sighting
}

type sighting struct {
	first    int64 // Unix ns
	safe     bool  // the first request that was told it changed nothing
	sessions [2]uint32
	count    uint8 // of sessions, up to 2
}

func newSightings() *sightings {
	return &sightings{seed: maphash.MakeSeed(), all: map[uint64]sighting{}}
}

func (s *sightings) add(value string, session uint32, time int64, safe bool) {
	key := maphash.String(s.seed, value)
	v, known := s.all[key]
	if !known && len(s.all) >= maxRemembered {
		return
	}
	if !known || time < v.first {
		v.first, v.safe = time, safe
	}
	if v.count == 0 || v.count == 1 && v.sessions[0] != session {
		v.sessions[v.count] = session
		v.count++
	}
	s.all[key] = v
}

// stable says that a value is the service's own data. root tells which
// sessions turned out to be one.
func (s *sightings) stable(value string, root func(uint32) uint32) bool {
	v, ok := s.all[maphash.String(s.seed, value)]
	return ok && v.safe && v.count == 2 && root(v.sessions[0]) != root(v.sessions[1])
}
