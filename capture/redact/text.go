package redact

import (
	"bytes"
	"encoding/base64"
	"strings"
)

const (
	maxHeld  = 64 << 10 // of a value that is looked at as a whole
	maxNests = 3        // encodings within each other that are opened: JSON in base64 in JSON
)

// scope is where in an exchange a value stands.
type scope struct {
	*view
	marks *marks
	at    location
	depth int  // of encodings
	fixed bool // bytes that can't grow
}

func (s scope) deeper() scope { s.depth++; return s }

// value replaces a value: whole when its name or a rule says so, else what
// stands in it. same is true when nothing was.
func (s scope) value(t treatment, value []byte) (out []byte, same bool) {
	if t.class == None {
		return s.text(value)
	}
	if t.action == Keep {
		return value, true
	}
	out = s.key.replace(t, value)
	if bytes.Equal(out, value) {
		return value, true
	}
	s.marks.add(t)
	return out, false
}

// looked shows the scan a value of which its name says nothing.
func (s scope) looked(value []byte) {
	if s.look != nil && s.marks != nil && len(value) > 0 {
		s.look(s.at, string(s.marks.at()), value)
	}
}

// text replaces what it finds in a text, and in what the text encodes: JSON,
// XML, percent-encoding, base64.
func (s scope) text(text []byte) (out []byte, same bool) {
	if len(text) < shortest || !s.full || len(s.rules) == 0 && len(text) < 8*shortest && isPlain(text) {
		return text, true
	}
	if s.depth < maxNests {
		switch first := firstByte(text); first {
		case '{', '[':
			if out, same, ok := s.nestedJSON(text); ok {
				return out, same
			}
		case '<':
			return s.xml(text)
		}
	}
	out, same, percent := s.find(text)
	if s.depth >= maxNests || s.fixed {
		return out, same
	}
	if percent {
		if opened, kept := s.percent(out); !kept {
			out, same = opened, false
		}
	}
	if same && len(text) >= 8 {
		return s.base64(text)
	}
	return out, same
}

// What the bytes of a text say of the whole.
const (
	saysSign   = 1 << iota // of what detectors find, or of something nested
	saysSpace              // words: no base64
	saysEscape             // of JSON
	saysEnd                // of a string of JSON
)

var says = func() (says [256]uint8) {
	for c, s := range sign {
		if s != signNone {
			says[c] = saysSign
		}
	}
	says['{'], says['['], says['<'] = saysSign, saysSign, saysSign
	says[' '], says['\\'], says['"'] = saysSpace, saysEscape, saysEnd
	return says
}()

// isPlain says that a text has no sign of anything.
func isPlain(text []byte) bool {
	said := uint8(0)
	for _, c := range text {
		if said |= says[c]; said&saysSign != 0 {
			return false
		}
	}
	return isPlainBy(said, text)
}

// isPlainBy is isPlain of a text of which all bytes were asked.
func isPlainBy(said uint8, text []byte) bool {
	return said&saysSign == 0 && (said&saysSpace != 0 || len(text) < 8 || !opensText(text[:8]))
}

func firstByte(text []byte) byte {
	for _, c := range text {
		if c > ' ' {
			return c
		}
	}
	return 0
}

// find replaces what detectors and the rules' patterns find.
func (s scope) find(text []byte) (out []byte, same, percent bool) {
	d := detector{view: s.view, text: text, binary: s.fixed}
	done := 0
	for m, ok := d.next(0); ok; m, ok = d.next(m.to) {
		value := text[m.from:m.to]
		t := s.classes[m.class]
		token := s.key.replace(t, value)
		if s.fixed && len(token) != len(value) {
			token = s.key.sameLength(m.class, value)
		}
		if bytes.Equal(token, value) {
			continue
		}
		s.marks.add(t)
		out = append(append(out, text[done:m.from]...), token...)
		done = m.to
	}
	if done > 0 {
		text = append(out, text[done:]...)
	}
	if len(s.rules) > 0 {
		ruled, kept := s.patterns(text)
		return ruled, done == 0 && kept, d.percent
	}
	return text, done == 0, d.percent
}

// patterns applies the rules that look for values.
func (s scope) patterns(text []byte) (out []byte, same bool) {
	same = true
	for _, r := range s.rules {
		if r.Value == nil || r.Key != nil || r.Path != nil || !r.in(s.at) || r.action == Keep {
			continue
		}
		found := r.Value.ReplaceAllFunc(text, func(v []byte) []byte {
			token := s.key.replace(r.treatment(), v)
			if s.fixed && len(token) != len(v) {
				token = s.key.sameLength(r.class, v)
			}
			return token
		})
		if !bytes.Equal(found, text) {
			s.marks.add(r.treatment())
			text, same = found, false
		}
	}
	return text, same
}

// nestedJSON looks through a text that is JSON as a whole.
func (s scope) nestedJSON(text []byte) (out []byte, same, ok bool) {
	b := s.bodies.Get().(*jsonBody)
	defer b.release()
	b.reset(s.deeper())
	out = b.close(b.write(make([]byte, 0, len(text)+len(text)/4), text))
	if !b.seen { // "[1] Ada" has brackets and is none
		return text, true, false
	}
	if bytes.Equal(out, text) {
		return text, true, true
	}
	return out, false, true
}

// percent opens what is percent-encoded, word by word: what lies between words
// stays as it is.
func (s scope) percent(text []byte) (out []byte, same bool) {
	done := 0
	for i := 0; i < len(text); {
		from := i
		encoded := false
		for i < len(text) && (isWord(text[i]) || strings.IndexByte("%+-._~*'()!", text[i]) >= 0) {
			encoded = encoded || text[i] == '%'
			i++
		}
		if encoded {
			if opened, kept := s.word(text[from:i]); !kept {
				out = append(append(out, text[done:from]...), opened...)
				done = i
			}
		}
		if i == from {
			i++
		}
	}
	if done == 0 {
		return text, true
	}
	return append(out, text[done:]...), false
}

func (s scope) word(word []byte) (out []byte, same bool) {
	plain, ok := unpercent(word)
	if !ok {
		return word, true
	}
	opened, same := s.deeper().text(plain)
	if same {
		return word, true
	}
	return percent(opened, word), false
}

// unpercent decodes; ok is false when nothing was encoded. A plus stays.
func unpercent(s []byte) (out []byte, ok bool) {
	out = make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if high, low := unhex(s[i+1]), unhex(s[i+2]); high >= 0 && low >= 0 {
				out, ok = append(out, byte(high<<4|low)), true
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return out, ok
}

func unhex(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// percent encodes all but the unreserved characters of RFC 3986, and the signs
// that stand in like as they are.
func percent(s, like []byte) []byte {
	out := make([]byte, 0, len(s)+len(s)/4)
	for _, c := range s {
		if strings.IndexByte("!*'()", c) >= 0 && bytes.IndexByte(like, c) >= 0 || isWord(c) || c == '-' || c == '.' || c == '_' || c == '~' {
			out = append(out, c)
		} else {
			out = append(out, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return out
}

// base64 opens a text that is base64 as a whole, of either alphabet, padded or
// not, and holds text.
func (s scope) base64(text []byte) (out []byte, same bool) {
	encoding := base64Of(text)
	if encoding == nil {
		return text, true
	}
	plain, err := encoding.AppendDecode(nil, text)
	if err != nil || !isText(plain) {
		return text, true
	}
	opened, same := s.deeper().text(plain)
	if same {
		return text, true
	}
	return encoding.AppendEncode(nil, opened), false
}

// base64Of tells the encoding; most words are none by what their first letters
// decode to.
func base64Of(text []byte) *base64.Encoding {
	url, standard := false, false
	n := len(text)
	for n > 0 && len(text)-n < 2 && text[n-1] == '=' {
		n--
	}
	if n < 8 || !opensText(text[:8]) {
		return nil
	}
	for _, c := range text[:n] {
		switch {
		case isWord(c):
		case c == '+' || c == '/':
			standard = true
		case c == '-' || c == '_':
			url = true
		default:
			return nil
		}
	}
	padded := n < len(text) || n%4 == 0
	switch {
	case url && standard:
		return nil
	case url && padded:
		return base64.URLEncoding
	case url:
		return base64.RawURLEncoding
	case padded:
		return base64.StdEncoding
	}
	return base64.RawStdEncoding
}

// sextet is what a letter of base64 stands for, 64 for all others.
var sextet [256]uint8

func init() {
	for i := range sextet {
		sextet[i] = 64
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") {
		sextet[c] = uint8(i)
	}
	sextet['+'], sextet['-'], sextet['/'], sextet['_'] = 62, 62, 63, 63
}

// opensText says that eight letters of base64 are six bytes of ASCII text.
func opensText(first []byte) bool {
	var bits uint64
	for _, c := range first {
		v := sextet[c]
		if v == 64 {
			return false
		}
		bits = bits<<6 | uint64(v)
	}
	for range 6 {
		if c := byte(bits); c >= 0x7f || c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
		bits >>= 8
	}
	return true
}

// isText says that bytes are no binary data: no control characters.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
