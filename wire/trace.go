package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"tapedeck/events"
)

// ReplayHeader marks a replayed request: <replay id>.<session>.
const ReplayHeader = "Tapedeck-Replay"

// MaxTags is how many tags an exchange has at most.
const MaxTags = 8

const maxTagBytes = 256

// Marks are what an exchange's headers say about its trace, replay and tags.
type Marks struct {
	Trace    events.TraceID
	Span     events.SpanID // as the caller named it: this exchange
	Parent   events.SpanID
	ReplayID string
	Tags     []*events.Tag
}

// ReadMarks reads W3C traceparent and baggage, B3 (single and multiple
// headers), x-request-id and the replay marker. The first that is valid wins,
// in this order; a trace id that is no W3C one is hashed to it. tagged names
// headers that become tags.
func ReadMarks(fields []*events.Field, tagged []string) Marks {
	var m Marks
	var b3 b3Headers
	var single, requestID, parent, baggage []byte
	for _, f := range fields {
		switch len(f.Name) { // cheaper than comparing every name
		case 2:
			keep(&single, f, "b3")
		case 7:
			keep(&baggage, f, "baggage")
		case 11:
			keep(&parent, f, "traceparent")
			keep(&b3.span, f, "x-b3-spanid")
		case 12:
			keep(&b3.trace, f, "x-b3-traceid")
			keep(&requestID, f, "x-request-id")
		case 15:
			if nameIsFold(f.Name, ReplayHeader) {
				m.ReplayID = replayID(string(f.Value))
			}
		case 17:
			keep(&b3.parent, f, "x-b3-parentspanid")
		}
	}
	switch {
	case parent != nil && m.traceparent(string(parent)):
	case single != nil && m.b3(splitB3(string(single))):
	case b3.trace != nil && m.b3(b3):
	case len(requestID) > 0:
		m.Trace = hashTrace(requestID)
	}
	m.tags(fields, baggage, tagged)
	return m
}

func keep(to *[]byte, f *events.Field, name string) {
	if *to == nil && nameIsFold(f.Name, name) {
		*to = f.Value
	}
}

func nameIsFold(name []byte, want string) bool {
	return len(name) == len(want) && strings.EqualFold(string(name), want)
}

// traceparent reads version-trace-span-flags (W3C Trace Context, 3.2).
func (m *Marks) traceparent(s string) bool {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" {
		return false
	}
	var trace events.TraceID
	var span events.SpanID
	if !decodeHex(trace[:], s[3:35]) || !decodeHex(span[:], s[36:52]) || trace == (events.TraceID{}) || span == (events.SpanID{}) {
		return false
	}
	m.Trace, m.Span = trace, span
	return true
}

type b3Headers struct{ trace, span, parent []byte }

// splitB3 reads trace-span[-sampled[-parent]]; a lone sampling state has no trace.
func splitB3(s string) b3Headers {
	parts := strings.Split(s, "-")
	h := b3Headers{trace: []byte(parts[0])}
	if len(parts) > 1 {
		h.span = []byte(parts[1])
	}
	if len(parts) > 3 {
		h.parent = []byte(parts[3])
	}
	return h
}

// b3 reads trace ids of 16 or 32 hex digits and span ids of 16
// (github.com/openzipkin/b3-propagation).
func (m *Marks) b3(h b3Headers) bool {
	var trace events.TraceID
	switch len(h.trace) {
	case 32:
		if !decodeHex(trace[:], string(h.trace)) {
			return false
		}
	case 16:
		if !decodeHex(trace[8:], string(h.trace)) {
			return false
		}
	default:
		return false
	}
	m.Trace = trace
	decodeHex(m.Span[:], string(h.span))
	decodeHex(m.Parent[:], string(h.parent))
	return true
}

func decodeHex(to []byte, s string) bool {
	if len(s) != 2*len(to) {
		return false
	}
	_, err := hex.Decode(to, []byte(s))
	return err == nil
}

func hashTrace(value []byte) events.TraceID {
	sum := sha256.Sum256(append([]byte("trace\x00"), value...))
	return events.TraceID(sum[:16])
}

func replayID(marker string) string {
	if i := strings.LastIndexByte(marker, '.'); i > 0 {
		return marker[:i]
	}
	return marker
}

// tags are the members of the W3C baggage, then the named headers.
func (m *Marks) tags(fields []*events.Field, baggage []byte, tagged []string) {
	for member := range strings.SplitSeq(string(baggage), ",") {
		key, value, ok := strings.Cut(member, "=")
		value, _, _ = strings.Cut(value, ";")
		if key = strings.TrimSpace(key); ok && key != "" {
			m.tag(key, strings.TrimSpace(value))
		}
	}
	for _, name := range tagged {
		if value := events.HeaderValue(fields, name); value != "" {
			m.tag(strings.ToLower(name), value)
		}
	}
}

func (m *Marks) tag(key, value string) {
	if len(m.Tags) < MaxTags {
		m.Tags = append(m.Tags, &events.Tag{Key: clip(key, maxTagBytes), Value: clip(value, maxTagBytes)})
	}
}

// clip cuts s to at most n bytes at a character, and makes it valid UTF-8, as
// a protobuf string must be.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

// Text makes a protobuf string of bytes from the wire: cut to n bytes, what is
// not UTF-8 written as %XX.
func Text(b []byte, n int) string {
	if len(b) > n {
		b = b[:n]
	}
	s := string(b)
	if valid := strings.ToValidUTF8(s, ""); len(valid) == len(s) {
		return s
	}
	var out bytes.Buffer
	for _, r := range []byte(s) {
		if r < 0x80 {
			out.WriteByte(r)
		} else {
			const digits = "0123456789ABCDEF"
			out.Write([]byte{'%', digits[r>>4], digits[r&15]})
		}
	}
	return out.String()
}
