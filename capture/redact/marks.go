package redact

import (
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

// marks gathers the marks of a part of an exchange.
type marks struct {
	base    string        // "request"; "" in a body
	part    string        // "header"
	place   func() string // of what is looked at, in the part
	list    []Mark
	before  map[string]bool // places that an earlier pass has marked
	full    bool            // there may be more of these
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
	mark := Mark{m.at(), class, action}
	for _, other := range m.list {
		if other == mark {
			return
		}
	}
	m.list = append(m.list, mark)
}

// at is the place of what is looked at.
func (m *marks) at() string {
	place := m.base
	for _, name := range []string{m.part, m.inPart()} {
		if place != "" && name != "" {
			place += "."
		}
		place += name
	}
	return wire.Text([]byte(place), maxPlace) // names come from the wire
}

func (m *marks) inPart() string {
	if m.place == nil {
		return ""
	}
	return m.place()
}

// had says that an earlier pass has replaced the value that is looked at.
func (m *marks) had() bool {
	if m == nil || m.before == nil {
		return false
	}
	return m.full || m.before[m.at()]
}

// earlier are the places of x that begin with prefix and have a mark.
func (m *marks) earlier(x *events.Exchange, prefix string) {
	for _, r := range x.GetRedactions() {
		if len(r.Place) >= len(prefix) && r.Place[:len(prefix)] == prefix {
			if m.before == nil {
				m.before = map[string]bool{}
			}
			m.before[r.Place[len(prefix):]] = true
		}
	}
	m.full = m.before != nil && len(x.GetRedactions()) >= MaxMarks
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
