package redact

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"tapedeck/events"
	"tapedeck/wire"
)

// MaxMarks is how many marks an exchange has at most; what is beyond is
// replaced all the same.
const MaxMarks = 64

const maxPlace = 512 // bytes of a place in a mark

// ActionDecoded marks a body whose content coding was taken off: the header
// that named it (the mark's class) is left out of the record.
const ActionDecoded = "decoded"

// ActionByValue marks a body of which only what looks like itself was found:
// it was too long for the names in it.
const ActionByValue = "by value only"

// Mark is what was replaced, never the value.
type Mark struct{ Place, Class, Action string }

// placer tells where in its part something stands.
type placer interface{ appendPlace(dst []byte) []byte }

// marks gathers the marks of a part of an exchange.
type marks struct {
	view    *view    // that looks for secrets in names; nil: nothing does
	base    string   // "request"; "" in a body
	part    string   // "header"
	name    []byte   // of what is looked at, in the part
	place   placer   // the same, where it has to be put together
	buf     [96]byte // for a place
	list    []Mark
	room    [8]Mark                        // for the first of them
	schema  protoreflect.MessageDescriptor // of gRPC's messages; nil: not known
	before  map[string]bool                // places that an earlier pass has marked
	full    bool                           // there may be more of these
	changed bool
}

func (m *marks) add(t treatment) {
	if m == nil {
		return
	}
	m.changed = true
	if len(m.list) >= MaxMarks {
		return
	}
	m.put(t.class.String(), t.action.String())
}

func (m *marks) put(class, action string) {
	at := m.at()
	if m.has(at, class) {
		return
	}
	place := string(at)
	if m.view != nil && m.view.full && mayHold(place) { // a name may be a secret
		out, same, _ := scope{view: m.view}.find(at)
		if place = string(out); !same && m.has(out, class) {
			return
		}
	}
	if m.list == nil {
		m.list = m.room[:0]
	}
	m.list = append(m.list, Mark{place, class, action})
}

func (m *marks) has(place []byte, class string) bool {
	for i := range m.list {
		if other := &m.list[i]; other.Place == string(place) && other.Class == class {
			return true
		}
	}
	return false
}

// at is the place of what is looked at, valid until the next call. Names come
// from the wire.
func (m *marks) at() []byte {
	at := m.buf[:0]
	for _, above := range []string{m.base, m.part} {
		if above != "" {
			at = append(append(at, above...), '.')
		}
	}
	begin := len(at)
	if m.place != nil {
		at = m.place.appendPlace(at)
	} else {
		at = append(at, m.name...)
	}
	if place := at[begin:]; len(place) > maxPlace || !utf8.Valid(place) || bytes.IndexByte(place, 0) >= 0 {
		at = append(at[:begin], wire.Text(bytes.Clone(place), maxPlace)...)
	}
	if len(at) == begin && begin > 0 { // the part as a whole
		at = at[:begin-1]
	}
	return at
}

// had says that an earlier pass has replaced the value that is looked at.
func (m *marks) had() bool {
	if m == nil || m.before == nil && !m.full {
		return false
	}
	return m.full || m.before[string(m.at())]
}

// earlier are the places of x that begin with prefix and have a mark.
func (m *marks) earlier(x *events.Exchange, prefix string) {
	for _, r := range x.GetRedactions() {
		place, ok := strings.CutPrefix(r.Place+".", prefix) // the body itself is without the point
		if !ok {
			continue
		}
		if m.before == nil {
			m.before = map[string]bool{}
		}
		m.before[strings.TrimSuffix(place, ".")] = true
	}
	m.full = x.GetRedactionKeyId() != "" && len(x.GetRedactions()) >= MaxMarks && !onlyCredentials(x)
}

// onlyCredentials says that an earlier pass may have looked for nothing else.
func onlyCredentials(x *events.Exchange) bool {
	for _, r := range x.Redactions {
		if r.Class != classNames[Credential] {
			return false
		}
	}
	return true
}

// Add puts a mark into the exchange, once a place and class.
func Add(x *events.Exchange, m Mark) {
	if len(x.Redactions) >= MaxMarks {
		return
	}
	for _, r := range x.Redactions {
		if r.Place == m.Place && r.Class == m.Class {
			return
		}
	}
	x.Redactions = append(x.Redactions, &events.Redaction{Place: m.Place, Class: m.Class, Action: m.Action})
}
