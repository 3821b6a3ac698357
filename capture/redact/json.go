package redact

import (
	"bytes"
	"strconv"
)

const maxDepth = 4096 // of containers that are told apart

// jsonBody redacts JSON that may come in pieces, in one pass and without a
// tree: values under known names, and what is found in keys and values. It
// copies everything else as it is, holds bounded memory whatever it is fed, and
// never makes invalid JSON of valid JSON. What is no JSON passes as it is, as
// far as it is none.
type jsonBody struct {
	scope
	cache *nameCache

	stack   []frame
	names   []byte // of the keys on the way to here
	skipped int    // containers deeper than maxDepth
	seen    bool   // a key, or a value in an array
	pending []byte // a string or number whose end has not come
	plain   []byte // a string without its escapes
	path    []byte // of the value at hand, as it was asked for last
	long    *longText
}

// frame is a container.
type frame struct {
	object    bool
	key       bool // an object that expects a key
	index     int  // of an array
	treatment      // of its values: by the key under way, or of all in an array
	outer     treatment
	from, to  int // its key under way in names
}

// longText is a string that is longer than what is held.
type longText struct {
	treatment
	hash   *tokenMAC // of a value that is replaced
	window *textBody // of one that is not
	odd    bool      // a backslash before the end of what came
	isKey  bool
}

func (b *jsonBody) reset(s scope) {
	b.scope, b.skipped, b.seen, b.long = s, 0, false, nil
	b.stack, b.names, b.pending = b.stack[:0], b.names[:0], b.pending[:0]
	if s.depth == 0 && s.marks != nil {
		s.marks.place = b.place
	}
}

// release gives it back; a large one is left to the collector.
func (b *jsonBody) release() {
	view := b.view
	b.marks = nil
	if cap(b.pending)+cap(b.plain)+cap(b.names)+cap(b.path) < 4*maxHeld && cap(b.stack) < 256 {
		view.bodies.Put(b)
	}
}

// The bytes that JSON's structure is made of.
const (
	plainByte = iota
	quoteByte
	numberByte
	openByte
	closeByte
	commaByte
	colonByte
)

var structure [256]uint8

func init() {
	for c := '0'; c <= '9'; c++ {
		structure[c] = numberByte
	}
	structure['"'], structure['-'], structure[','], structure[':'] = quoteByte, numberByte, commaByte, colonByte
	structure['{'], structure['['], structure['}'], structure[']'] = openByte, openByte, closeByte, closeByte
}

// write appends the redacted form of the next bytes to dst. What can't be
// decided yet comes with a later call.
func (b *jsonBody) write(dst, next []byte) []byte {
	if len(b.pending) > 0 {
		b.pending = append(b.pending, next...)
		next = b.pending
	}
	return b.run(dst, next, false)
}

func (b *jsonBody) run(dst, s []byte, last bool) []byte {
	i := 0
	if b.long != nil {
		dst, i = b.goOn(dst, s, last)
	}
	done := i // bytes of s that are dealt with
	for i < len(s) {
		switch structure[s[i]] {
		case plainByte:
			i++
		case quoteByte:
			end := closing(s, i+1)
			if end < 0 && !last {
				return b.unfinished(append(dst, s[done:i]...), s[i:])
			}
			closed := end >= 0
			if !closed {
				end = len(s)
			}
			if out, same := b.string(s[i+1 : end]); !same {
				dst = append(append(dst, s[done:i+1]...), out...)
				done = end
			}
			i = end + 1
		case numberByte:
			n := numberEnd(s[i:])
			if i+n == len(s) && !last && n < maxName {
				return b.unfinished(append(dst, s[done:i]...), s[i:])
			}
			if out, same := b.number(s[i : i+n]); !same {
				dst = append(append(dst, s[done:i]...), out...)
				done = i + n
			}
			i += n
		default:
			b.mark(s[i])
			i++
		}
	}
	b.pending = b.pending[:0]
	return append(dst, s[min(done, len(s)):]...)
}

// unfinished keeps the beginning of a string or number, or begins a long one.
func (b *jsonBody) unfinished(dst, rest []byte) []byte {
	if len(rest) <= maxHeld {
		n := copy(b.pending[:cap(b.pending)], rest) // rest may lie in pending
		b.pending = append(b.pending[:n], rest[n:]...)
		return dst
	}
	b.long = b.begin()
	dst, _ = b.goOn(append(dst, '"'), rest[1:], false)
	b.pending = b.pending[:0]
	return dst
}

// close appends what is left.
func (b *jsonBody) close(dst []byte) []byte {
	if len(b.pending) > 0 || b.long != nil {
		rest := bytes.Clone(b.pending)
		b.pending = b.pending[:0]
		dst = b.run(dst, rest, true)
	}
	return dst
}

// closing is the index of the quote that ends the string from i on, -1 when it
// has not come.
func closing(s []byte, i int) int {
	for j := i; j < len(s) && j < i+24; j++ { // most are short
		if s[j] == '"' {
			return j
		}
		if s[j] == '\\' {
			break
		}
	}
	for {
		n := bytes.IndexByte(s[i:], '"')
		if n < 0 {
			return -1
		}
		end := i + n
		back := end
		for back > i && s[back-1] == '\\' {
			back--
		}
		if (end-back)%2 == 0 {
			return end
		}
		i = end + 1
	}
}

func numberEnd(s []byte) int {
	n := 1
	for n < len(s) && (isDigit(s[n]) || s[n] == '.' || s[n] == 'e' || s[n] == 'E' || s[n] == '+' || s[n] == '-') {
		n++
	}
	return n
}

// mark follows the structure.
func (b *jsonBody) mark(c byte) {
	switch structure[c] {
	case openByte:
		b.push(c == '{')
	case closeByte:
		if t := b.top(); t == nil || t.object == (c == '}') { // else it closes nothing
			b.pop()
		}
	case commaByte:
		if t := b.top(); t != nil && t.object {
			t.key, t.treatment = true, treatment{}
		} else if t != nil {
			t.index++
		}
	case colonByte:
		if t := b.top(); t != nil && t.object {
			t.key = false
		}
	}
}

func (b *jsonBody) top() *frame {
	if len(b.stack) == 0 || b.skipped > 0 {
		return nil
	}
	return &b.stack[len(b.stack)-1]
}

func (b *jsonBody) push(object bool) {
	if len(b.stack) == maxDepth || b.skipped > 0 {
		b.skipped++
		return
	}
	f := frame{object: object, key: object, from: len(b.names), to: len(b.names)}
	if t := b.top(); t != nil {
		f.outer = t.treatment
		if !object {
			f.treatment = t.treatment // an array of such values
		}
	}
	b.stack = append(b.stack, f)
}

func (b *jsonBody) pop() {
	if b.skipped > 0 {
		b.skipped--
		return
	}
	if len(b.stack) == 0 {
		return
	}
	f := b.stack[len(b.stack)-1]
	b.stack = b.stack[:len(b.stack)-1]
	b.names = b.names[:f.from]
}

// treated is what is done to the value at hand.
func (b *jsonBody) treated(t *frame) treatment {
	if t == nil {
		return treatment{}
	}
	if len(b.rules) > 0 {
		if r := b.ruleAt(b.place()); r != nil {
			return r.treatment()
		}
	}
	return t.treatment
}

func (b *jsonBody) string(raw []byte) (out []byte, same bool) {
	t := b.top()
	if t != nil && t.object && t.key {
		return b.keyText(t, raw)
	}
	b.seen = b.seen || t != nil
	treat := b.treated(t)
	if treat.class == None && b.look != nil && b.depth == 0 {
		b.looked(raw)
	}
	if treat.class == None && len(raw) < shortest || len(raw) == 0 {
		return raw, true
	}
	text, escaped := b.unescape(raw)
	out, same = b.value(treat, text)
	if same {
		return raw, true
	}
	if escaped || !plainJSON(out) {
		out = appendEscaped(make([]byte, 0, len(out)+8), out)
	}
	return out, false
}

func (b *jsonBody) number(raw []byte) (out []byte, same bool) {
	t := b.top()
	b.seen = b.seen || t != nil
	treat := b.treated(t)
	if treat.class == None {
		if b.look != nil && b.depth == 0 {
			b.looked(raw)
		}
		if len(raw) < 12 || len(raw) > 19 || raw[0] == '-' || !b.detects(Card) {
			return raw, true
		}
		d := detector{view: b.view, text: raw}
		if m := d.card(0); m.class == None || m.to != len(raw) {
			return raw, true
		}
		treat = b.classes[Card]
	}
	if treat.action == Keep || b.marks.had() || !b.full {
		return raw, true
	}
	out = b.key.number(treat, raw)
	if bytes.Equal(out, raw) {
		return raw, true
	}
	b.marks.add(treat)
	return out, false
}

// keyText takes the name of the next value; what is found in the name itself
// is replaced: a map by e-mail.
func (b *jsonBody) keyText(t *frame, raw []byte) (out []byte, same bool) {
	b.seen = true
	text, escaped := b.unescape(raw)
	treat, clean := b.cache.named(b.view, text, b.at)
	t.treatment = treat
	if t.treatment.class == None && t.outer.class != None && isValueName(text) {
		t.treatment = t.outer
	}
	out, same = raw, true
	if !clean && len(text) >= shortest && b.full {
		if out, same, _ = b.find(text); !same {
			text = out
			if escaped || !plainJSON(out) {
				out = appendEscaped(nil, out)
			}
		} else {
			out = raw
		}
	}
	b.names = append(b.names[:t.from], text[:min(len(text), maxName)]...)
	t.to = len(b.names)
	return out, same
}

// isValueName says that an object only wraps a value: {"password": {"value": …}}.
func isValueName(name []byte) bool {
	switch string(name) {
	case "value", "Value", "raw", "text", "data", "#text", "$":
		return true
	}
	return false
}

// place is the JSON path of the value at hand.
func (b *jsonBody) place() string {
	b.path = append(b.path[:0], '$')
	for i := range b.stack {
		if f := &b.stack[i]; f.object {
			b.path = append(append(b.path, '.'), b.names[f.from:f.to]...)
		} else {
			b.path = append(strconv.AppendInt(append(b.path, '['), int64(f.index), 10), ']')
		}
	}
	return string(b.path)
}

func (b *jsonBody) begin() *longText {
	t := b.top()
	l := &longText{isKey: t != nil && t.object && t.key}
	if !l.isKey {
		l.treatment = b.treated(t)
	}
	if l.class != None && l.action != Keep {
		l.hash = b.view.key.begin(l.class)
		b.marks.add(l.treatment)
	} else {
		l.window = &textBody{scope: b.scope}
	}
	return l
}

// goOn feeds a long string up to its end; it returns how much of s it was.
func (b *jsonBody) goOn(dst, s []byte, last bool) ([]byte, int) {
	l := b.long
	from := 0
	if l.odd && len(s) > 0 {
		from, l.odd = 1, false
	}
	end := closing(s, from)
	piece := s
	if end >= 0 {
		piece = s[:end]
	} else {
		back := len(s)
		for back > from && s[back-1] == '\\' {
			back--
		}
		l.odd = (len(s)-back)%2 == 1
	}
	if l.hash != nil {
		l.hash.Write(piece)
	} else {
		dst = l.window.write(dst, piece)
	}
	if end < 0 && !last {
		return dst, len(s)
	}
	if l.hash != nil {
		dst = append(dst, b.view.key.finish(l.class, l.hash)...)
	} else {
		dst = l.window.close(dst)
	}
	if t := b.top(); l.isKey && t != nil {
		b.names, t.to, t.treatment = b.names[:t.from], t.from, treatment{}
	}
	b.long = nil
	if end < 0 {
		return dst, len(s)
	}
	return append(dst, '"'), end + 1
}
