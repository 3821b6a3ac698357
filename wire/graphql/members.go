package graphql

import (
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"

	"tapedeck/events"
)

// members are those of a JSON object, as far as b goes: the values are not
// looked into, and the last one may be cut off. Anything else has none.
func members(b []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		b := space(b)
		if len(b) == 0 || b[0] != '{' {
			return
		}
		for b = space(b[1:]); len(b) > 0 && b[0] == '"'; {
			n := value(b)
			key := text(b[:n])
			if b = space(b[n:]); len(b) == 0 || b[0] != ':' {
				return
			}
			b = space(b[1:])
			n = value(b)
			if n == 0 || !yield(key, b[:n]) {
				return
			}
			if b = space(b[n:]); len(b) == 0 || b[0] != ',' {
				return
			}
			b = space(b[1:])
		}
	}
}

// elements are the first ones of a JSON array, at most limit.
func elements(b []byte, limit int) [][]byte {
	var all [][]byte
	if b = space(b); len(b) == 0 || b[0] != '[' {
		return nil
	}
	for b = space(b[1:]); len(all) < limit; b = space(b[1:]) {
		n := value(b)
		if n == 0 {
			return all
		}
		all = append(all, b[:n])
		if b = space(b[n:]); len(b) == 0 || b[0] != ',' {
			return all
		}
	}
	return all
}

func space(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// value is the length of the JSON value that b begins with, or of what there
// is of it; 0 where there is none.
func value(b []byte) int {
	depth := 0
	for i := 0; i < len(b); {
		switch b[i] {
		case '"':
			i += quoted(b[i:])
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case ',', ' ', '\t', '\r', '\n', ':':
			if depth == 0 {
				return i
			}
			i++
			continue
		default:
			i++
			continue
		}
		if depth == 0 {
			return i
		}
	}
	return len(b)
}

// quoted is the length of the text that b begins with, quotes included.
func quoted[T string | []byte](b T) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++ // what is escaped
		}
	}
	return len(b)
}

// text is a JSON text; "" for anything else, and for one that is cut off.
func text(b []byte) string {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return ""
	}
	if inner := b[1 : len(b)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return strings.ToValidUTF8(string(inner), "")
	}
	var s string
	if json.Unmarshal(b, &s) != nil {
		return ""
	}
	return s
}

var unpackers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// plain is a body without its compression, up to limit; nil where that is not
// known here.
func plain(headers []*events.Field, body []byte, limit int) []byte {
	switch strings.ToLower(events.HeaderValue(headers, "content-encoding")) {
	case "", "identity":
		return body[:min(len(body), limit)]
	case "gzip":
	default:
		return nil
	}
	z := unpackers.Get().(*gzip.Reader)
	defer unpackers.Put(z)
	if z.Reset(bytes.NewReader(body)) != nil {
		return nil
	}
	data, _ := io.ReadAll(io.LimitReader(z, int64(limit))) // of a body that is cut off, as much as there is
	return data
}
