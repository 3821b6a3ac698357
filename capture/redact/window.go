package redact

import "bytes"

// overlap is how much of a text is looked at again with what follows it: a
// value that comes in two pieces is found when it is no longer.
const overlap = 4 << 10

// textBody looks through a text of any length with a sliding window.
type textBody struct {
	scope
	held []byte
}

func (b *textBody) write(dst, next []byte) []byte {
	b.held = append(b.held, next...)
	if len(b.held) < maxHeld {
		return dst
	}
	cut := b.cut()
	out, _ := b.look(b.held[:cut])
	dst = append(dst, out...)
	b.held = append(b.held[:0], b.held[cut:]...)
	return dst
}

func (b *textBody) look(text []byte) ([]byte, bool) {
	if b.fixed {
		out, same, _ := b.find(text)
		return out, same
	}
	return b.text(text)
}

// cut is a place between words before the overlap, and in no value.
func (b *textBody) cut() int {
	cut := len(b.held) - overlap
	d := detector{view: b.view, text: b.held}
	for m, ok := d.next(0); ok && m.from < cut; m, ok = d.next(m.to) {
		if m.to > cut {
			cut = m.from
		}
	}
	for back := cut; back > max(0, cut-overlap); back-- {
		if c := b.held[back-1]; c == '\n' || c == ' ' || c == ',' || c == '>' || c == '&' {
			return back
		}
	}
	if cut == 0 { // one value fills the window
		return len(b.held) - overlap
	}
	return cut
}

func (b *textBody) close(dst []byte) []byte {
	out, _ := b.look(b.held)
	b.held = nil
	return append(dst, out...)
}

// UntilCut leaves out the last value of a body that was cut off: half of one is
// not known by its looks. rest is what Close returned.
func (b *Body) UntilCut(rest []byte) []byte {
	if !b.marks.view.full {
		return rest
	}
	return untilCut(rest)
}

func untilCut(text []byte) []byte {
	end := len(text)
	for end > 0 && len(text)-end < overlap && bytes.IndexByte([]byte(" \t\r\n\"',;&<>=()[]{}"), text[end-1]) < 0 {
		end--
	}
	for end > 0 && len(text)-end < overlap && (isDigit(text[end-1]) || bytes.IndexByte([]byte(" -.()+"), text[end-1]) >= 0) {
		end-- // groups of digits
	}
	return text[:end]
}
