package redact

import (
	"bytes"
	"encoding/json"
	"hash"
	"strconv"

	"tapedeck/wire"
)

const (
	maxDepth = 4096     // of containers that are told apart
	maxValue = 16 << 10 // of a credential whose text is looked at; a longer one is only hashed
	maxPlace = 512      // bytes of a JSON path in a mark
)

// Body redacts a JSON body that may come in pieces: string values under
// credential names become tokens. It copies everything else as it is, holds
// bounded memory whatever it is fed, and never makes invalid JSON of valid
// JSON. What is no JSON passes as it is, as far as it is none.
type Body struct {
	engine *Engine
	places []string

	stack   []frame
	names   []byte // of the keys on the way to here
	skipped int    // containers deeper than maxDepth
	inText  bool
	escaped bool // behind a backslash
	isKey   bool
	secret  bool      // the text under way is a credential
	text    []byte    // of a key or a credential, raw, without quotes
	long    hash.Hash // of a credential that is too long for text
	changed bool
}

// frame is a container.
type frame struct {
	object   bool
	key      bool // an object that expects a key
	secret   bool // its strings are credentials: an array under such a name, the value of a key
	index    int  // of an array
	from, to int  // its key under way in names
}

// Changed says that a value was replaced.
func (b *Body) Changed() bool { return b.changed }

// Places are the JSON paths of what was replaced, "$.user.token", each once.
func (b *Body) Places() []string { return b.places }

// Write appends the redacted form of the next bytes to dst. What it can't
// decide yet comes with a later call.
func (b *Body) Write(dst, next []byte) []byte {
	done := 0 // bytes of next that are dealt with
	for i := 0; i < len(next); {
		if !b.inText {
			n := b.structure(next[i:])
			i += n
			if b.inText && b.secret {
				dst, done = append(dst, next[done:i]...), i // up to the opening quote
			}
			continue
		}
		n, end := b.inside(next[i:])
		if b.secret || b.isKey {
			b.gather(next[i : i+n])
		}
		i += n
		if !end {
			if b.secret {
				done = i
			}
			continue
		}
		if b.secret {
			dst, done = append(dst, b.token()...), i
			dst = append(dst, '"')
			done++
		}
		i++ // the closing quote
		b.endText()
	}
	return append(dst, next[done:]...)
}

// Close appends what is left: the token of a credential that was cut off.
func (b *Body) Close(dst []byte) []byte {
	if !b.inText || !b.secret {
		return dst
	}
	dst = append(dst, b.token()...)
	b.endText()
	return dst
}

// structure steps over what is not text up to the next opening quote.
func (b *Body) structure(s []byte) int {
	for i, c := range s {
		switch c {
		case '"':
			b.beginText()
			return i + 1
		case '{', '[':
			b.push(c == '{')
		case '}', ']':
			b.pop()
		case ',':
			b.comma()
		case ':':
			b.colon()
		}
	}
	return len(s)
}

func (b *Body) top() *frame {
	if len(b.stack) == 0 || b.skipped > 0 {
		return nil
	}
	return &b.stack[len(b.stack)-1]
}

func (b *Body) push(object bool) {
	if len(b.stack) == maxDepth || b.skipped > 0 {
		b.skipped++
		return
	}
	f := frame{object: object, key: object, from: len(b.names), to: len(b.names)}
	if t := b.top(); t != nil && !object {
		f.secret = t.secret // an array of credentials
	}
	b.stack = append(b.stack, f)
}

func (b *Body) pop() {
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

func (b *Body) comma() {
	t := b.top()
	if t == nil {
		return
	}
	if t.object {
		t.key, t.secret = true, false
	} else {
		t.index++
	}
}

func (b *Body) colon() {
	if t := b.top(); t != nil && t.object {
		t.key = false
	}
}

func (b *Body) beginText() {
	b.inText, b.escaped, b.isKey, b.secret, b.text, b.long = true, false, false, false, b.text[:0], nil
	if t := b.top(); t != nil {
		b.isKey = t.object && t.key
		b.secret = t.secret && !b.isKey
	}
}

// inside looks for the closing quote; n bytes before it are text.
func (b *Body) inside(s []byte) (n int, end bool) {
	i := 0
	if b.escaped {
		if len(s) == 0 {
			return 0, false
		}
		b.escaped, i = false, 1
	}
	for {
		quote := bytes.IndexByte(s[i:], '"')
		before := s[i:]
		if quote >= 0 {
			before = s[i : i+quote]
		}
		j := bytes.IndexByte(before, '\\')
		switch {
		case j < 0 && quote < 0:
			return len(s), false
		case j < 0:
			return i + quote, true
		}
		i += j + 2
		if i > len(s) {
			b.escaped = true
			return len(s), false
		}
	}
}

// gather keeps the raw text of a key or a credential, as far as it matters.
func (b *Body) gather(s []byte) {
	if b.isKey {
		b.text = append(b.text, s[:min(len(s), max(0, 6*maxName-len(b.text)))]...)
		return
	}
	if b.long == nil && len(b.text)+len(s) > maxValue {
		b.long = b.engine.key.begin()
		b.long.Write(b.text)
	}
	if b.long != nil {
		b.long.Write(s)
		return
	}
	b.text = append(b.text, s...)
}

func (b *Body) endText() {
	b.inText = false
	if b.isKey {
		b.endKey()
	}
}

func (b *Body) endKey() {
	t, key := b.top(), plainText(b.text)
	t.secret = Credential(key)
	b.names = append(b.names[:t.from], key[:min(len(key), maxName)]...)
	t.to = len(b.names)
}

// plainText is JSON text without its escapes.
func plainText(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	var s string
	if err := json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &s); err != nil {
		return raw
	}
	return []byte(s)
}

// token is what stands for the credential that was gathered: the empty one and
// a token stand for themselves, and "Bearer …" keeps its scheme.
func (b *Body) token() []byte {
	if b.long != nil {
		b.mark()
		long := b.long
		b.long = nil
		return b.engine.key.finish(long)
	}
	if len(b.text) == 0 || wire.IsToken(string(b.text)) {
		return b.text
	}
	value := plainText(b.text)
	scheme, rest, ok := bytes.Cut(value, []byte(" "))
	if !ok || !is(scheme, "Bearer") && !is(scheme, "Basic") && !is(scheme, "Token") || len(rest) == 0 {
		b.mark()
		return b.engine.key.Token(value)
	}
	token := append(append(bytes.Clone(scheme), ' '), b.engine.key.Token(rest)...)
	if !bytes.Equal(token, b.text) {
		b.mark()
	}
	return token
}

func (b *Body) mark() {
	b.changed = true
	if len(b.places) >= MaxMarks {
		return
	}
	place := []byte("$")
	for _, f := range b.stack {
		if f.object {
			place = append(append(place, '.'), b.names[f.from:f.to]...)
		} else {
			place = append(strconv.AppendInt(append(place, '['), int64(f.index), 10), ']')
		}
	}
	text := wire.Text(place, maxPlace)
	for _, p := range b.places {
		if p == text {
			return
		}
	}
	b.places = append(b.places, text)
}
