package scenario

import (
	"hash/maphash"

	"tapedeck/events"
)

// joiner puts the exchange that gave out a token into the session that uses
// it: the log-in itself is sent without one, so its own session is another.
type joiner struct {
	seed   maphash.Seed
	issued map[uint64]issue
	keys   map[sessionKey]uint32
	all    []sessionInfo
}

type sessionKey struct {
	workload uint32
	id       [16]byte
}

type sessionInfo struct {
	key        sessionKey
	connection bool // the key is that of the connection
	start      int64
	uses       []uint64 // hashes of credentials, at most maxUses; none: an anonymous client
	parent     uint32   // itself, or the session that it continues
}

// issue is an answer that gave out a value.
type issue struct {
	session uint32
	id      events.ID
	time    int64
}

const maxUses = 8

func newJoiner() *joiner {
	return &joiner{seed: maphash.MakeSeed(), issued: map[uint64]issue{}, keys: map[sessionKey]uint32{}}
}

// add notes a test and returns the number of its session.
func (j *joiner) add(key sessionKey, connection bool, id events.ID, time int64, x *events.Exchange) uint32 {
	n, known := j.keys[key]
	if !known {
		n = uint32(len(j.all))
		j.keys[key] = n
		j.all = append(j.all, sessionInfo{key: key, connection: connection, start: time, parent: n})
	}
	s := &j.all[n]
	s.start = min(s.start, time)
	for _, value := range credentials(x.Request) {
		s.use(maphash.String(j.seed, value))
	}
	for _, value := range issued(x.Response) {
		hash := maphash.String(j.seed, value)
		if old, known := j.issued[hash]; (!known && len(j.issued) < maxRemembered) || known && time < old.time {
			j.issued[hash] = issue{n, id, time}
		}
	}
	return n
}

func (s *sessionInfo) use(hash uint64) {
	for _, h := range s.uses {
		if h == hash {
			return
		}
	}
	if len(s.uses) < maxUses {
		s.uses = append(s.uses, hash)
	}
}

// join decides, when all tests are known, which sessions are continued by
// others and which single exchanges move. A session with a credential of
// its own that gave out one other goes on as that one (a refreshed token);
// otherwise the answer alone moves.
func (j *joiner) join() (moved map[events.ID]uint32) {
	type giving struct {
		issue issue
		to    uint32
	}
	var all []giving
	receivers := map[uint32]map[uint32]bool{}
	for n := range j.all {
		s := &j.all[n]
		for _, hash := range s.uses {
			from, ok := j.issued[hash]
			if !ok || from.session == uint32(n) || from.time > s.start {
				continue
			}
			all = append(all, giving{from, uint32(n)})
			if receivers[from.session] == nil {
				receivers[from.session] = map[uint32]bool{}
			}
			receivers[from.session][uint32(n)] = true
		}
	}
	moved = map[events.ID]uint32{}
	for _, g := range all {
		source := &j.all[g.issue.session]
		if len(source.uses) > 0 && len(receivers[g.issue.session]) == 1 {
			j.unite(g.issue.session, g.to)
			continue
		}
		if _, done := moved[g.issue.id]; !done {
			moved[g.issue.id] = g.to
		}
	}
	return moved
}

func (j *joiner) unite(a, b uint32) {
	x, y := j.root(a), j.root(b)
	if x == y {
		return
	}
	if j.all[y].start < j.all[x].start {
		x, y = y, x
	}
	j.all[y].parent = x
}

// root is the session that session n is a part of.
func (j *joiner) root(n uint32) uint32 {
	for j.all[n].parent != n {
		n = j.all[n].parent
	}
	return n
}

// name is the id of a session in the scenario.
func (j *joiner) name(n uint32) string {
	s := &j.all[n]
	if s.connection {
		return events.ID(s.key.id).String()
	}
	return events.SessionID(s.key.id).String()
}
