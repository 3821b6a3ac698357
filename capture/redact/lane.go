package redact

import (
	"bytes"
	"slices"

	"tapedeck/events"
	"tapedeck/wire"
)

const (
	maxLanes    = 32  // of a side: the texts of a message that are followed
	fieldWindow = 512 // of a field is looked at again with what follows it; of a text it is overlap
)

// laneKey is a side, and the place in its messages.
type laneKey struct {
	side events.Side
	path uint64
}

// lane is what was sent at one place of the messages of a side: the whole of
// texts, and the fields of JSON and Protocol Buffers, each by itself.
type lane struct {
	text   []byte // the end of it, originals
	pieces []piece
	seam   int  // where the newest message begins in text
	grown  int  // where the value that is replaced up to the end of text begins; -1: none
	turn   int  // of the message that came last
	field  bool // of a message that is whole in itself
	named  bool // its name says what it is: each value is replaced as a whole
	fixed  bool // what is replaced keeps its length
	binary bool // it is no text
}

// piece is a part of a message in the text of a lane.
type piece struct {
	of           *seamed
	at, from, to int // in the text; in the message
}

func (l *lane) window() int {
	if l.field {
		return fieldWindow
	}
	return overlap
}

func (l *lane) add(h *seamed, p part, text []byte) {
	if l.seam < len(l.text) { // another line of the same message
		l.text = append(l.text, '\n')
	}
	l.pieces = append(l.pieces, piece{h, len(l.text), p.from, p.to})
	l.text = append(l.text, text...)
	l.fixed, l.binary = l.fixed || p.fixed, l.binary || p.binary
}

// trim keeps the window.
func (l *lane) trim() {
	cut := len(l.text) - l.window()
	if cut <= 0 {
		return
	}
	keep := l.pieces[:0]
	for _, p := range l.pieces {
		if end := p.at + p.to - p.from; end <= cut {
			continue
		}
		if p.at < cut {
			p.from, p.at = p.from+cut-p.at, cut
		}
		p.at -= cut
		keep = append(keep, p)
	}
	clear(l.pieces[len(keep):])
	l.pieces, l.grown = keep, max(-1, l.grown-cut)
	if rest := l.text[cut:]; cap(l.text) > 4*overlap {
		l.text = bytes.Clone(rest)
	} else {
		l.text = append(l.text[:0], rest...)
	}
}

// found is a value in the text of a lane.
type found struct {
	match
	treatment
	number bool // of JSON
	open   bool // it may go on
}

// look looks for values that lie over the seam, or that only what lies before
// it gives away.
func (l *lane) look(s scope) {
	grown := l.grown
	l.grown = -1
	if l.named || l.seam == 0 || l.seam == len(l.text) {
		return
	}
	s.fixed = l.binary
	from, to := l.near()
	var before, behind []found // what each side shows alone
	alone := false
	for _, c := range l.found(s, from, to) {
		if c.to <= l.seam || c.from > l.seam+2*maxName {
			continue
		}
		if !alone {
			before, behind, alone = ended(l.found(s, from, l.seam)), l.found(s, l.seam, to), true
		}
		l.decide(s, c, overlaps(before, c), overlaps(behind, c), c.from == grown)
	}
}

// near is what is looked at around the seam: in a field the word that goes over
// it, or groups of digits and capitals, with what may be its name.
func (l *lane) near() (from, to int) {
	t, window := l.text, l.window()
	if !l.field {
		return 0, min(len(t), l.seam+window)
	}
	goes := func(i int) bool {
		return t[i] > ' ' || i > 0 && i+1 < len(t) && isGrouping(t[i-1]) && isGrouping(t[i+1])
	}
	for from = l.seam; from > 0 && goes(from-1); from-- {
	}
	for to = l.seam; to < min(len(t), l.seam+window) && goes(to); to++ {
	}
	return max(0, from-nameRoom), min(len(t), to+nameRoom)
}

const nameRoom = 64 // for a name before a value

func isGrouping(c byte) bool { return isDigit(c) || c >= 'A' && c <= 'Z' }

// ended are those that do not go on by what stands around them.
func ended(all []found) []found {
	return slices.DeleteFunc(all, func(c found) bool { return c.open })
}

func overlaps(all []found, c found) bool {
	for _, o := range all {
		if o.from < c.to && c.from < o.to {
			return true
		}
	}
	return false
}

// decide replaces a value as a whole where none of its sides is one alone.
// Where one is it becomes what it would be anywhere: of a text, which may be
// cut anywhere, the other side is made unreadable; messages that are whole in
// themselves end a value as well.
func (l *lane) decide(s scope, c found, before, behind, grows bool) {
	switch {
	case c.from < l.seam && isTokenFirst(l.text[c.from:l.seam]):
	case !before && !behind, grows && !behind && c.from < l.seam:
		l.replace(s, c)
	case l.field, before && behind, c.from >= l.seam:
	case before:
		l.edit(s, c, nil, l.seam, c.to)
	case behind:
		l.edit(s, c, nil, c.from, l.seam)
	}
}

// isTokenFirst says that an earlier pass has put a token where a value began.
func isTokenFirst(value []byte) bool {
	if isRedacted(value) {
		return true
	}
	d := detector{text: value}
	return bytes.HasPrefix(value, []byte(wire.TokenPrefix)) && d.endOfToken(0) > len(wire.TokenPrefix)
}

// replace puts the token where the value begins, and nothing where it goes on;
// where it can't grow, or has begun to be written, each piece keeps its length.
func (l *lane) replace(s scope, c found) {
	value := l.text[c.from:c.to]
	if l.field && bytes.IndexByte(value, '\\') >= 0 {
		return // escapes of JSON
	}
	with := s.key.replace(c.treatment, value)
	if c.number {
		with = mask(value)
	}
	if bytes.Equal(with, value) {
		return
	}
	l.edit(s, c, with, c.from, c.to)
	if c.to == len(l.text) {
		l.grown = c.from
	}
}

// edit replaces what lies in from…to of a value; without a token it makes it
// unreadable.
func (l *lane) edit(s scope, c found, with []byte, from, to int) {
	value := l.text[c.from:c.to]
	whole := with != nil && !l.fixed
	var edits []edit
	var of []*seamed
	known := true
	for _, p := range l.pieces {
		a, b := max(p.at, from), min(p.at+p.to-p.from, to)
		if a >= b {
			continue
		}
		e := edit{from: p.from + a - p.at, to: p.from + b - p.at}
		whole = whole && !p.of.out
		switch {
		case len(with) == len(value):
			e.with = with[a-c.from : b-c.from]
		case whole && len(edits) == 0:
			e.with = with
		case !whole:
			e.with = s.key.half(c.class(), value, b-a)
		}
		known = known && (whole || s.key.isHalf(l.text[a:b]))
		edits, of = append(edits, e), append(of, p.of)
	}
	if known && !whole {
		return // an earlier pass was here
	}
	s.marks.add(c.treatment)
	for i, e := range edits {
		if !of[i].out {
			of[i].set(e)
		}
	}
}

func (c found) class() Class { return c.treatment.class }

// found are the values that from…to of the text shows: by their looks, by
// patterns of rules, and in a text that may be a piece of JSON by their names.
func (l *lane) found(s scope, from, to int) (all []found) {
	text := l.text[from:to]
	d := detector{view: s.view, text: text, binary: l.binary}
	for m, ok := d.next(0); ok; m, ok = d.next(m.to) {
		all = append(all, found{match: m, treatment: s.classes[m.class]})
	}
	for _, r := range s.rules {
		if r.Value == nil || r.Key != nil || r.Path != nil || !r.in(s.at) || r.action == Keep {
			continue
		}
		for _, at := range r.Value.FindAllIndex(text, -1) {
			all = append(all, found{match: match{at[0], at[1], r.class}, treatment: r.treatment()})
		}
	}
	if !l.field && !l.binary && bytes.IndexByte(text, '"') >= 0 {
		members := s.members(text)
		all = slices.DeleteFunc(all, func(c found) bool { // a number of JSON stays one
			return slices.ContainsFunc(members, func(m found) bool { return m.number && m.from == c.from })
		})
		all = append(all, members...)
	}
	for i := range all {
		all[i].from, all[i].to = all[i].from+from, all[i].to+from
	}
	return all
}

// members are values of JSON that their names give away. The value may not have
// ended, nor does the text have to begin where JSON does.
func (s scope) members(text []byte) (all []found) {
	for i := 0; i < len(text); i++ {
		next := bytes.IndexByte(text[i:], ':')
		if next < 0 {
			break
		}
		i += next
		name := bytes.TrimRight(text[max(0, i-maxName-8):i], " \t\r\n")
		if len(name) == 0 || name[len(name)-1] != '"' {
			continue
		}
		name = name[:len(name)-1]
		t := s.named(name[bytes.LastIndexByte(name, '"')+1:], inJSON)
		if t.class == None || t.action == Keep {
			continue
		}
		from := len(text) - len(bytes.TrimLeft(text[i+1:], " \t\r\n"))
		to, number := valueEnd(text, &from)
		if from < to {
			all = append(all, found{match{from, to, t.class}, t, number, to == len(text)})
		}
	}
	return all
}

// valueEnd is the end of a string, whose quote from is moved over, or of a
// number.
func valueEnd(text []byte, from *int) (to int, number bool) {
	if *from == len(text) {
		return *from, false
	}
	switch structure[text[*from]] {
	case quoteByte:
		*from++
		if to, _ = closing(text, *from); to < 0 {
			to = len(text)
		}
	case numberByte:
		return *from + numberEnd(text[*from:]), true
	}
	return to, false
}
