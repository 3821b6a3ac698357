package http1

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/graphql"
)

// Signature hashes what a recorded answer depends on: method, target and body.
// Headers are left out: they carry times, traces and tokens, and a mock that
// must tell answers apart by them is a rule, not a signature.
func (*Protocol) Signature(x *events.Exchange) wire.Signature {
	r := x.Request
	if r == nil {
		r = &events.Request{}
	}
	path, query := Path(r.Target), ""
	if _, q, ok := strings.Cut(r.Target, "?"); ok {
		query = q
	}
	body, route := r.Body.GetData(), withOperation(template(path), graphql.Operation(r))
	return wire.Signature{
		Exact: sum(r.Method, path, query, string(body)),
		Shape: sum(r.Method, route, shapeOfQuery(query), shapeOfBody(body)),
		Route: sum(r.Method, route),
	}
}

// sum hashes texts with their lengths, so that their borders count.
func sum(texts ...string) [32]byte {
	h := sha256.New()
	var length [binary.MaxVarintLen64]byte
	for _, s := range texts {
		h.Write(length[:binary.PutUvarint(length[:], uint64(len(s)))])
		io.WriteString(h, s)
	}
	return [32]byte(h.Sum(nil))
}

// shapeOfQuery sorts the parameters and replaces volatile values.
func shapeOfQuery(query string) string {
	if query == "" {
		return ""
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		if plain, err := url.QueryUnescape(value); err == nil {
			value = plain
		}
		pairs[i] = key + "=" + shapeOfText(key, value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// shapeOfBody is a JSON body with sorted keys and without volatile values; any
// other body is its own shape.
func shapeOfBody(body []byte) string {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' && trimmed[0] != '[' {
		return string(body)
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return string(body)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return string(body)
	}
	shaped, err := json.Marshal(shapeOf("", v))
	if err != nil {
		return string(body)
	}
	return string(shaped)
}

func shapeOf(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, member := range v {
			v[k] = shapeOf(k, member)
		}
	case []any:
		for i, element := range v {
			v[i] = shapeOf(key, element)
		}
	case string:
		return shapeOfText(key, v)
	case json.Number:
		return json.RawMessage(quote(shapeOfText(key, v.String())))
	}
	return v
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string always has a JSON form
	return string(b)
}

// shapeOfText replaces a volatile value by its class. A plain number is one
// only under a key that says so, or when it reads as a time: three apples are
// not four.
func shapeOfText(key, value string) string {
	class := wire.Class(value)
	if class == wire.ClassID && !idKey(key) && !unixTime(value) || class == wire.ClassEmail {
		return value
	}
	if class != "" {
		return class
	}
	return value
}

func idKey(key string) bool {
	lower := strings.ToLower(key)
	return lower == "id" || lower == "nonce" || lower == "timestamp" || lower == "ts" ||
		strings.HasSuffix(lower, "_id") || strings.HasSuffix(lower, "-id") || strings.HasSuffix(key, "Id") || strings.HasSuffix(key, "ID")
}

// unixTime reads digits as seconds, milliseconds, micro- or nanoseconds
// between the years 2001 and 2096.
func unixTime(digits string) bool {
	switch len(digits) {
	case 10, 13, 16, 19:
		return digits[0] >= '1' && digits[0] <= '3'
	}
	return false
}
