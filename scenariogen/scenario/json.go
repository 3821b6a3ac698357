package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
)

// jsonLeaf is a value that holds no others: text, number, bool, null, or an
// empty object or array. The raw bytes lie at body[start:end].
type jsonLeaf struct {
	path       string // "$.items[0].id"
	key        string // the last name on the path: "id"
	kind       kind
	text       string // decoded text; a number as it stands
	start, end int
}

var errManyLeaves = errors.New("too many values")

const maxLeaves = 100_000

// jsonLeaves reads one JSON document, by tokens, so that a leaf can be
// replaced where it stands. Anything else is an error.
func jsonLeaves(body []byte) ([]jsonLeaf, error) {
	r := jsonReader{body: body, decoder: json.NewDecoder(bytes.NewReader(body))}
	r.decoder.UseNumber()
	for {
		err := r.next()
		if errors.Is(err, io.EOF) && r.ended {
			return r.leaves, nil
		}
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
}

type jsonReader struct {
	body    []byte
	decoder *json.Decoder
	stack   []jsonFrame
	leaves  []jsonLeaf
	ended   bool // one document was read
}

// jsonFrame is an open object or array.
type jsonFrame struct {
	path    string
	key     string // its own name
	array   bool
	members int
	member  string // object: the name that was read last; "" when a name comes next
	named   bool   // a name was read and its value comes next
}

func (r *jsonReader) next() error {
	before := r.decoder.InputOffset()
	token, err := r.decoder.Token()
	if err != nil {
		return err
	}
	if r.ended {
		return errors.New("more than one document")
	}
	end := int(r.decoder.InputOffset())
	raw := bytes.TrimLeft(r.body[before:end], " \t\r\n,:")
	if len(raw) == 0 {
		return nil
	}
	return r.take(token, end-len(raw), end)
}

func (r *jsonReader) take(token json.Token, start, end int) error {
	switch t := token.(type) {
	case json.Delim:
		r.delimiter(t, start, end)
		return nil
	case string:
		if top := r.top(); top != nil && !top.array && !top.named {
			top.member, top.named = t, true
			return nil
		}
		return r.leaf(kindText, t, start, end)
	case json.Number:
		return r.leaf(kindNumber, t.String(), start, end)
	case bool:
		return r.leaf(kindBool, strconv.FormatBool(t), start, end)
	}
	return r.leaf(kindNull, "null", start, end)
}

func (r *jsonReader) top() *jsonFrame {
	if len(r.stack) == 0 {
		return nil
	}
	return &r.stack[len(r.stack)-1]
}

func (r *jsonReader) delimiter(d json.Delim, start, end int) {
	if d == '{' || d == '[' {
		path, key := r.member()
		r.stack = append(r.stack, jsonFrame{path: path, key: key, array: d == '['})
		return
	}
	frame := r.stack[len(r.stack)-1]
	r.stack = r.stack[:len(r.stack)-1]
	if frame.members == 0 {
		text := "{}"
		if frame.array {
			text = "[]"
		}
		r.leaves = append(r.leaves, jsonLeaf{frame.path, frame.key, kindEmpty, text, start, end})
	}
	r.ended = len(r.stack) == 0
}

func (r *jsonReader) leaf(k kind, text string, start, end int) error {
	if len(r.leaves) >= maxLeaves {
		return errManyLeaves
	}
	path, key := r.member()
	r.leaves = append(r.leaves, jsonLeaf{path, key, k, text, start, end})
	r.ended = len(r.stack) == 0
	return nil
}

// member is the path and name of the value that comes next.
func (r *jsonReader) member() (path, key string) {
	top := r.top()
	if top == nil {
		return "$", ""
	}
	n := top.members
	top.members++
	if top.array {
		return top.path + "[" + strconv.Itoa(n) + "]", top.key
	}
	top.named = false
	return top.path + jsonName(top.member), top.member
}

// jsonName is a step into an object: ".name", or ["a name"] where a dot would
// not do.
func jsonName(name string) string {
	plain := name != "" && strings.IndexFunc(name, func(c rune) bool {
		return c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	}) < 0
	if plain {
		return "." + name
	}
	return "[" + strconv.Quote(name) + "]"
}

// anyIndex replaces array indices by [*]: the places of all items at once.
func anyIndex(place string) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(place); i++ {
		c := place[i]
		if quoted && c == '\\' && i+1 < len(place) {
			b.WriteByte(c)
			i++
			c = place[i]
		} else if c == '"' {
			quoted = !quoted
		}
		b.WriteByte(c)
		if quoted || c != '[' {
			continue
		}
		digits := i + 1
		for digits < len(place) && place[digits] >= '0' && place[digits] <= '9' {
			digits++
		}
		if digits > i+1 && digits < len(place) && place[digits] == ']' {
			b.WriteByte('*')
			i = digits - 1
		}
	}
	return b.String()
}
