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
	skipped int    // containers deeper than maxDepth
	seen    bool   // a key, or a value in an array
	pending []byte // a string or number whose end has not come
	plain   []byte // a string without its escapes
	path    []byte // of the value at hand, for rules
	digits  rest   // of a number that is longer than what is looked at
	long    *longText
}

// rest says what becomes of the rest of a number.
type rest uint8

const (
	noRest rest = iota
	keptRest
	maskedRest // its beginning was replaced
)

// frame is a container.
type frame struct {
	object    bool
	key       bool // an object that expects a key
	index     int  // of an array
	treatment      // of its values: by the key under way, or of all in an array
	outer     treatment
	name      string // its key under way, cut
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
	b.scope, b.skipped, b.seen, b.long, b.digits = s, 0, false, nil, noRest
	b.stack, b.pending = b.stack[:0], b.pending[:0]
	if s.depth == 0 && s.marks != nil {
		s.marks.place = b
	}
}

// release gives it back; a large one is left to the collector.
func (b *jsonBody) release() {
	view := b.view
	b.marks = nil
	if cap(b.pending)+cap(b.plain)+cap(b.path) < 4*maxHeld && cap(b.stack) < 256 {
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
	} else if b.digits != noRest {
		dst, i = b.goOnNumber(dst, s)
	}
	done := i // bytes of s that are dealt with
	for i < len(s) {
		switch structure[s[i]] {
		case plainByte:
			i++
		case quoteByte:
			end, said := closing(s, i+1)
			if end < 0 && !last {
				return b.unfinished(append(dst, s[done:i]...), s[i:])
			}
			closed := end >= 0
			if !closed {
				end, said = len(s), saysOfLong(s[i+1:])
			}
			if out, same := b.string(s[i+1:end], said); !same {
				dst = append(append(dst, s[done:i+1]...), out...)
				done = end
			}
			i = end + 1
		case numberByte:
			n := numberEnd(s[i:])
			if i+n == len(s) && !last && n < maxName {
				return b.unfinished(append(dst, s[done:i]...), s[i:])
			}
			out, same := b.number(s[i : i+min(n, maxName)])
			if n >= maxName {
				b.digits = keptRest
				if !same {
					b.digits = maskedRest
				}
				dst = append(append(dst, s[done:i]...), out...)
				dst, n = b.goOnNumber(dst, s[i+maxName:])
				i += maxName + n
				done = i
				continue
			}
			if !same {
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
// has not come, and what the string's bytes say.
func closing(s []byte, i int) (end int, said uint8) {
	short := s[i:min(len(s), i+8*shortest)]
	for j, c := range short {
		if say := says[c]; say&(saysEnd|saysEscape) == 0 {
			said |= say
		} else if say == saysEnd {
			return i + j, said
		} else {
			break
		}
	}
	for from := i; ; {
		n := bytes.IndexByte(s[from:], '"')
		if n < 0 {
			return -1, 0
		}
		end := from + n
		back := end
		for back > i && s[back-1] == '\\' {
			back--
		}
		if (end-back)%2 == 0 {
			return end, saysOfLong(s[i:end])
		}
		from = end + 1
	}
}

// saysOfLong is that there may be anything in a text.
func saysOfLong(text []byte) uint8 {
	if bytes.IndexByte(text, '\\') < 0 {
		return saysSign
	}
	return saysSign | saysEscape
}

func numberEnd(s []byte) int {
	n := 1
	for n < len(s) && inNumber(s[n]) {
		n++
	}
	return n
}

func inNumber(c byte) bool {
	return isDigit(c) || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

// goOnNumber copies or masks the rest of a number; it returns how much of s it
// was.
func (b *jsonBody) goOnNumber(dst, s []byte) ([]byte, int) {
	n := 0
	for ; n < len(s) && inNumber(s[n]); n++ {
		c := s[n]
		if b.digits == maskedRest && isDigit(c) {
			c = '9'
		}
		dst = append(dst, c)
	}
	if n < len(s) {
		b.digits = noRest
	}
	return dst, n
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
	f := frame{object: object, key: object}
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
	b.stack = b.stack[:len(b.stack)-1]
}

// treated is what is done to the value at hand.
func (b *jsonBody) treated(t *frame) treatment {
	if t == nil {
		return treatment{}
	}
	if len(b.rules) > 0 {
		b.path = b.appendPlace(b.path[:0])
		if r := b.ruleAt(b.path); r != nil {
			return r.treatment()
		}
	}
	return t.treatment
}

// string is a key or a value; its bytes have said what may be in it.
func (b *jsonBody) string(raw []byte, said uint8) (out []byte, same bool) {
	t := b.top()
	if t != nil && t.object && t.key {
		return b.keyText(t, raw, said&saysEscape != 0)
	}
	b.seen = b.seen || t != nil
	treat := b.treated(t)
	if treat.class == None && b.look != nil && b.depth == 0 {
		b.looked(raw)
	}
	if treat.class == None && (len(raw) < shortest || len(b.rules) == 0 && said&saysEscape == 0 && isPlainBy(said, raw)) || len(raw) == 0 {
		return raw, true
	}
	text, escaped := raw, said&saysEscape != 0
	if escaped {
		text = b.unescape(raw)
	}
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
func (b *jsonBody) keyText(t *frame, raw []byte, escaped bool) (out []byte, same bool) {
	b.seen = true
	text := raw
	if escaped {
		text = b.unescape(raw)
	}
	name, treat, clean := b.cache.named(b.view, text, b.at)
	t.treatment = treat
	if t.treatment.class == None && t.outer.class != None && isValueName(text) {
		t.treatment = t.outer
	}
	out, same = raw, true
	if !clean && len(text) >= shortest && b.full {
		if out, same, _ = b.find(text); !same {
			name = string(out[:min(len(out), maxName)])
			if escaped || !plainJSON(out) {
				out = appendEscaped(nil, out)
			}
		} else {
			out = raw
		}
	}
	t.name = name
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

// appendPlace appends the JSON path of the value at hand.
func (b *jsonBody) appendPlace(dst []byte) []byte {
	dst = append(dst, '$')
	for i := range b.stack {
		if f := &b.stack[i]; f.object {
			dst = append(append(dst, '.'), f.name...)
		} else {
			dst = append(strconv.AppendInt(append(dst, '['), int64(f.index), 10), ']')
		}
	}
	return dst
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
	end, _ := closing(s, from)
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
		t.name, t.treatment = "", treatment{}
	}
	b.long = nil
	if end < 0 {
		return dst, len(s)
	}
	return append(dst, '"'), end + 1
}
