package scenario

import (
	"strings"
	"time"

	"tapedeck/events"
)

// Rules say how exchanges are compared. A manifest holds what is common to all
// tests; Session.Rules adds what is known of one.
type Rules struct {
	// Headers of the response that are compared beside Content-Type, Location
	// and the names of cookies.
	Headers []string `json:"headers,omitempty"`
	// Assertions go before everything else; the place of one stands for all
	// below it.
	Assertions []events.Assertion `json:"assertions,omitempty"`

	// Volatile are the places of this exchange that differ from run to run.
	Volatile []*Volatile `json:"-"`
	// Values are live values by their recorded ones: what this run has called
	// things so far. Nil: none.
	Values map[string]string `json:"-"`
	// Secrets were sent in the place of tokens, and are hidden in differences.
	Secrets *Secrets `json:"-"`
}

// The rules of an Assertion.
const (
	RuleEqual  = "equal"  // the recorded value, also where it would be volatile
	RuleIgnore = "ignore" // anything, also nothing
	RuleExists = "exists" // any value
)

// DefaultRules are those of a new scenario.
func DefaultRules() Rules {
	return Rules{Headers: []string{"Allow", "Content-Range", "Www-Authenticate"}}
}

// Rules are the rules for the answer to test i of the session.
func (s *Session) Rules(common Rules, i int, values *Values) Rules {
	common.Volatile = s.Tests[i].Volatile
	if values != nil {
		common.Values, common.Secrets = values.known, values.secrets
	}
	return common
}

// assertion is the rule that was set for a place, "" for none.
func (r *Rules) assertion(place string) string {
	pattern := anyIndex(place)
	for _, a := range r.Assertions {
		if within(place, a.Place) || within(pattern, a.Place) {
			return a.Rule
		}
	}
	return ""
}

// within says that place is outer or lies in it.
func within(place, outer string) bool {
	rest, found := strings.CutPrefix(place, outer)
	return found && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// classes finds the class of a place quickly.
type classes map[string]Class

func classesOf(all []*Volatile) classes {
	m := make(classes, len(all))
	for _, v := range all {
		m[v.Place] = Class(v.Class)
	}
	return m
}

func (c classes) at(place string) Class {
	if len(c) == 0 {
		return ""
	}
	if class, ok := c[place]; ok {
		return class
	}
	return c[anyIndex(place)]
}

// Row is what a selector decides on for test i.
func (s *Session) Row(i int) events.Row {
	t := s.Tests[i]
	r := exchangeRow(t.Exchange, s.Workload)
	r.Host, r.Template, r.Class, r.Flags = t.Host, t.Template, t.Class, t.Flags
	return r
}

// Row is what a selector decides on for the mock.
func (m *Mock) Row() events.Row {
	r := exchangeRow(m.Exchange, m.Workload)
	r.Host, r.Template, r.Class, r.Flags = m.Dependency, m.Template, m.Class, m.Flags
	return r
}

func exchangeRow(x *events.Exchange, w *events.Workload) events.Row {
	q, p := x.GetRequest(), x.GetResponse()
	path, _, _ := strings.Cut(q.GetTarget(), "?")
	first := q.GetFirstByte()
	r := events.Row{
		Kind: events.Kind_EXCHANGE, Time: time.Unix(0, first).UTC(),
		Duration: time.Duration(max(p.GetLastByte()-first, 0)), TTFB: time.Duration(max(p.GetFirstByte()-first, 0)),
		Cluster: w.GetCluster(), Namespace: w.GetNamespace(), Service: w.GetService(), Version: w.GetVersion(), Instance: w.GetInstance(),
		Direction: x.GetDirection(), Protocol: x.GetProtocol(), Method: q.GetMethod(), Path: originForm(path), Status: p.GetStatus(),
		RequestBytes: q.GetBody().GetSize(), ResponseBytes: p.GetBody().GetSize(),
	}
	copy(r.ID[:], x.GetId())
	copy(r.Connection[:], x.GetConnection().GetId())
	return r
}
