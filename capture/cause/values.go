package cause

import (
	"hash/maphash"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"tapedeck/events"
)

// Bounds of what is looked at in an exchange.
const (
	maxValues = 64
	maxValue  = 256     // bytes
	maxBody   = 4 << 10 // bytes
	maxDepth  = 8       // of protobuf messages
)

// values gathers the values of a message: words of its path, query, headers
// and body, each as a hash under a key that only this process has. The lowest
// two bits of a hash are the value's length class.
type values struct {
	linker *Linker
	found  []uint64
}

// read are the values of a request.
func (l *Linker) read(r *events.Request) []uint64 {
	v := values{l, make([]uint64, 0, 16)}
	target := r.Target
	if strings.IndexByte(target, '%') >= 0 {
		if plain, err := url.PathUnescape(target); err == nil {
			target = plain
		}
	}
	v.text([]byte(target))
	for _, f := range r.Headers {
		if v.tells(f.Name) {
			v.text(f.Value)
		}
	}
	v.body(r.Headers, r.Body.GetData())
	return v.distinct()
}

// readAnswer are the values of an answer's body.
func (l *Linker) readAnswer(r *events.Response) []uint64 {
	if r == nil {
		return nil
	}
	v := values{l, make([]uint64, 0, 16)}
	v.body(r.Headers, r.Body.GetData())
	return v.distinct()
}

func (v *values) distinct() []uint64 {
	slices.Sort(v.found)
	return slices.Compact(v.found)
}

// silent headers say nothing of who asked; those of traces are looked at
// elsewhere.
var silent = map[string]bool{
	"accept": true, "accept-charset": true, "accept-encoding": true, "accept-language": true, "cache-control": true,
	"connection": true, "content-encoding": true, "content-length": true, "content-type": true, "date": true,
	"expect": true, "forwarded": true, "host": true, "keep-alive": true, "origin": true, "pragma": true, "referer": true,
	"te": true, "trailer": true, "transfer-encoding": true, "upgrade": true, "upgrade-insecure-requests": true,
	"user-agent": true, "via": true, "grpc-timeout": true, "grpc-encoding": true, "grpc-accept-encoding": true,
	"traceparent": true, "tracestate": true, "baggage": true, "b3": true, "tapedeck-replay": true,
}

var silentFamilies = []string{"x-b3-", "x-forwarded-", "sec-", "proxy-"}

func (v *values) tells(name []byte) bool {
	var buf [32]byte
	if len(name) > len(buf) {
		return true
	}
	lower := buf[:0]
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower = append(lower, c)
	}
	for _, f := range silentFamilies {
		if len(lower) > len(f) && string(lower[:len(f)]) == f {
			return false
		}
	}
	return !silent[string(lower)] && !(v.linker.blind && string(lower) == "x-request-id")
}

func (v *values) body(headers []*events.Field, b []byte) {
	if len(b) == 0 || events.HeaderValue(headers, "Content-Encoding") != "" {
		return
	}
	kind := strings.ToLower(events.HeaderValue(headers, "Content-Type"))
	switch {
	case strings.HasPrefix(kind, "application/grpc"):
		if len(b) > 5 && b[0] == 0 { // flag and length before the first message
			v.message(b[5:min(len(b), maxBody)], 0)
		}
	case strings.Contains(kind, "protobuf"):
		v.message(b[:min(len(b), maxBody)], 0)
	case kind == "", strings.Contains(kind, "json"), strings.Contains(kind, "text"), strings.Contains(kind, "xml"),
		strings.Contains(kind, "form"), strings.Contains(kind, "graphql"):
		v.text(b[:min(len(b), maxBody)])
	}
}

// inValue are the bytes that values consist of.
var inValue = func() (in [256]bool) {
	for c := range in {
		in[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80 || strings.IndexByte("-_.@~", byte(c)) >= 0
	}
	return in
}()

// text takes the words of b that are no keys of JSON.
func (v *values) text(b []byte) {
	for i := 0; i < len(b); {
		if !inValue[b[i]] {
			i++
			continue
		}
		end := i + 1
		for end < len(b) && inValue[b[end]] {
			end++
		}
		if !isKey(b[end:]) {
			v.add(b[i:end])
		}
		i = end
	}
}

// isKey says that what comes before rest is a key.
func isKey(rest []byte) bool {
	if len(rest) == 0 || rest[0] != '"' {
		return false
	}
	for _, c := range rest[1:] {
		if c != ' ' {
			return c == ':'
		}
	}
	return false
}

// message takes the texts and numbers of a protobuf message, as far as it is one.
func (v *values) message(b []byte, depth int) {
	for len(b) > 0 && len(v.found) < maxValues {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return
		}
		switch kind {
		case protowire.VarintType:
			value, _ := protowire.ConsumeVarint(b)
			v.add(strconv.AppendUint(nil, value, 10))
		case protowire.BytesType:
			if field, _ := protowire.ConsumeBytes(b); isText(field) {
				v.text(field)
			} else if depth < maxDepth {
				v.message(field, depth+1)
			}
		}
		b = b[n:]
	}
}

func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

func (v *values) add(b []byte) {
	if len(b) < 2 || len(v.found) == maxValues {
		return
	}
	h := maphash.Bytes(v.linker.seed, b[:min(len(b), maxValue)])
	v.found = append(v.found, h&^3|lengthClass(len(b)))
}

func lengthClass(n int) uint64 {
	switch {
	case n >= 12:
		return 3
	case n >= 6:
		return 2
	case n >= 3:
		return 1
	}
	return 0
}
