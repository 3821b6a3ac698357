package scenario

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// recordedNever is a recording that no moment is near to.
var recordedNever time.Time

// Learn fills in what a session says about itself: its links, and for each
// test the places of the answer that differ from run to run: times near the
// recording, UUIDs, random and redacted values, ids that a request made, and
// what repeats them. stable is as for Links.
func Learn(s *Session, stable func(value string) bool) {
	if stable == nil {
		stable = func(string) bool { return false }
	}
	s.Links = Links(s.Tests, stable)
	l := learner{stable: stable, seen: map[string]bool{}, names: map[string]bool{}}
	for i, t := range s.Tests {
		t.Volatile = l.test(t, s.Links, i)
	}
}

// learner goes through a session in the order of time.
type learner struct {
	stable func(string) bool
	seen   map[string]bool // values of requests and answers so far
	names  map[string]bool // values that this run of the service made up
}

func (l *learner) test(t *Test, links []*Link, i int) []*Volatile {
	x := t.Exchange
	for _, q := range requestLeaves(x.GetRequest()) {
		l.see(q.value)
	}
	leaves := slices.DeleteFunc(responseLeaves(x.GetResponse()), func(a leaf) bool {
		return a.place == "response.status" || strings.HasPrefix(a.place, "response.header.") || strings.HasPrefix(a.place, "response.cookie.")
	})
	made := !isSafe(x.GetRequest().GetMethod())
	found := make([]Class, len(leaves))
	for n, a := range leaves {
		found[n] = l.class(a, recordedAt(x), made, isSource(links, i, a))
	}
	for n, a := range leaves {
		l.see(a.value)
		if isName(found[n]) {
			l.names[a.value] = true
		}
	}
	for n, a := range leaves {
		if found[n] == "" && l.holdsName(a) {
			found[n] = ClassLinked
		}
	}
	return collapse(leaves, found)
}

func (l *learner) see(value string) {
	if len(l.seen) < maxSources {
		l.seen[value] = true
	}
}

func isName(c Class) bool {
	return c == ClassUUID || c == ClassToken || c == ClassID || c == ClassLinked
}

func isSource(links []*Link, i int, a leaf) bool {
	return slices.ContainsFunc(links, func(k *Link) bool { return int(k.From) == i && k.FromPlace == a.place })
}

func (l *learner) class(a leaf, recorded time.Time, made, source bool) Class {
	class := classify(a, recorded)
	switch {
	case (class == ClassUUID || class == ClassToken) && l.stable(a.value):
		return ""
	case class != "":
		return class
	case made && source:
		return ClassLinked
	case made && isGeneratedID(a) && !l.seen[a.value]:
		return ClassID
	}
	return ""
}

// isGeneratedID says that a value of an answer to a request that changed
// something looks like the id of what was made.
func isGeneratedID(a leaf) bool {
	switch {
	case strings.HasPrefix(a.place, "response.location.path["):
		return strings.ContainsAny(a.value, "0123456789") && len(a.value) > 2 || a.value != "" && isDigits(a.value)
	case a.kind == kindNumber:
		return isDigits(a.value) && isIDKey(a.key)
	case a.kind == kindText:
		return isIDKey(a.key) && strings.ContainsAny(a.value, "0123456789")
	}
	return false
}

// holdsName says that a value is, or has as a part, something that this run of
// the service made up.
func (l *learner) holdsName(a leaf) bool {
	if a.kind != kindText && a.kind != kindNumber {
		return false
	}
	if l.names[a.value] && (sureName(a.value) || isIDKey(a.key) || isPathPlace(a.place)) {
		return true
	}
	if a.kind != kindText || len(a.value) > 4096 {
		return false
	}
	words := strings.FieldsFunc(a.value, func(c rune) bool { return strings.ContainsRune(" \t/?&=;,:\"'()#.!", c) })
	return len(words) > 1 && slices.ContainsFunc(words, func(w string) bool { return len(w) >= 3 && l.names[w] })
}

// collapse writes the classes as rules: one with [*] where all items of an
// array agree, else one a place.
func collapse(leaves []leaf, found []Class) []*Volatile {
	type group struct {
		class Class
		mixed bool
	}
	groups := map[string]*group{}
	for n, a := range leaves {
		pattern := anyIndex(a.place)
		g := groups[pattern]
		if g == nil {
			groups[pattern] = &group{class: found[n]}
			continue
		}
		g.mixed = g.mixed || g.class != found[n]
	}
	seen := map[string]bool{}
	var out []*Volatile
	for n, a := range leaves {
		place := anyIndex(a.place)
		if groups[place].mixed || strings.Contains(place, ".path[") {
			place = a.place
		}
		if found[n] != "" && !seen[place] {
			seen[place] = true
			out = append(out, &Volatile{Place: place, Class: string(found[n])})
		}
	}
	slices.SortFunc(out, func(a, b *Volatile) int { return cmp.Compare(a.Place, b.Place) })
	return out
}
