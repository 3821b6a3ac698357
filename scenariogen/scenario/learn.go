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
func Learn(s *Session, stable func(value string) bool) { learn(s, stable) }

// learn is Learn; it returns the values that this run of the service made up,
// with what each is the name of ("order"; "" when that is not known).
func learn(s *Session, stable func(value string) bool) map[string]string {
	if stable == nil {
		stable = func(string) bool { return false }
	}
	s.Links = Links(s.Tests, stable)
	l := learner{stable: stable, seen: map[string]bool{}, names: map[string]string{}}
	for i, t := range s.Tests {
		t.Volatile = l.test(t, s.Links, i)
	}
	return l.names
}

// learner goes through a session in the order of time.
type learner struct {
	stable func(string) bool
	seen   map[string]bool   // values of requests and answers so far
	names  map[string]string // values that this run of the service made up, and of what
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
		if found[n] = l.class(a, recordedAt(x), made, isSource(links, i, a)); isMarked(x, a) {
			found[n] = ClassRedacted
		}
	}
	for n, a := range leaves {
		l.see(a.value)
		if _, known := l.names[a.value]; isName(found[n]) && !known {
			l.names[a.value] = cmp.Or(keyNoun(a.key), endpointNoun(t))
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
	_, known := l.names[a.value]
	if known && (a.kind == kindText || a.kind == kindNumber) && (sureName(a.value) || isIDKey(a.key) || isPathPlace(a.place)) {
		return true
	}
	return holdsPart(a, func(word string) bool { _, known := l.names[word]; return known })
}

// holdsPart says that a text has a word that is one of those.
func holdsPart(a leaf, is func(word string) bool) bool {
	if a.kind != kindText || len(a.value) > 4096 {
		return false
	}
	words := strings.FieldsFunc(a.value, func(c rune) bool { return strings.ContainsRune(" \t/?&=;,:\"'()#.!", c) })
	return len(words) > 1 && slices.ContainsFunc(words, func(w string) bool { return len(w) >= 3 && is(w) })
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

// mockVolatile finds the places of an outbound request that will differ at
// replay: times and redacted values; random values, unless the service had
// them from a recorded request or from a dependency's answer, which stay the
// same; and what it made up or was told by a linked request.
func (b *Builder) mockVolatile(k *Mock) []*Volatile {
	recorded := recordedAt(k.Exchange)
	var leaves []leaf
	var found []Class
	before := ""
	for _, l := range requestLeaves(k.Exchange.GetRequest()) {
		noun := keyNoun(l.key)
		if isPathPlace(l.place) {
			noun, before = singular(before), l.value
		}
		if l.place == "request.method" || strings.HasPrefix(l.place, "request.header.") || strings.HasPrefix(l.place, "request.cookie.") {
			continue
		}
		class := b.mockClass(l, recorded, noun)
		if isMarked(k.Exchange, l) {
			class = ClassRedacted
		}
		leaves, found = append(leaves, l), append(found, class)
	}
	out := collapse(leaves, found)
	if truncatedRequest(k) {
		out = slices.DeleteFunc(out, func(v *Volatile) bool { return within(v.Place, "request.body") })
		out = append(out, &Volatile{Place: "request.body", Class: string(ClassAny)})
	}
	return out
}

func (b *Builder) mockClass(l leaf, recorded time.Time, noun string) Class {
	class := classify(l, recorded)
	switch {
	case class == ClassUUID || class == ClassToken:
		if b.fixed.contains(l.value) || b.given.contains(l.value) {
			return ""
		}
		return class
	case class != "":
		return class
	case l.kind == kindText && isTelling(leaf{value: l.value, key: "id"}) || l.kind == kindNumber:
		if b.isMade(l, noun) {
			return ClassLinked
		}
	}
	if holdsPart(l, func(w string) bool { return !isShort(w) && b.made.contains(":"+w) }) {
		return ClassLinked
	}
	return ""
}

// isMade says that the service made the value up in the recorded run. A short
// one must be the name of the same thing.
func (b *Builder) isMade(l leaf, noun string) bool {
	if !isPathPlace(l.place) && !isIDKey(l.key) && !sureName(l.value) {
		return false
	}
	if isShort(l.value) {
		return noun != "" && b.made.contains(noun+":"+l.value)
	}
	return b.made.contains(":" + l.value)
}
