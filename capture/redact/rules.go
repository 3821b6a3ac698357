package redact

import (
	"regexp"
	"strings"

	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/wire"
)

// Rules are what a rule file says.
type Rules struct {
	list    []Rule
	off     map[Class]bool // of the built-in packs
	unknown []unknownRule
}

// Rule replaces, or keeps, values by where they stand, what their name is, how
// they look, or their path.
type Rule struct {
	Name     string
	Selector *selector.Expr // nil: every exchange
	Key      *regexp.Regexp // of names, whole, whatever the letter case
	Value    *regexp.Regexp
	Path     *regexp.Regexp // of places: $.user.id, /order/@id, 1.3
	Detector Class
	at       location
	class    Class
	action   Action
}

func (r *Rule) in(at location) bool  { return r.at&at != 0 }
func (r *Rule) treatment() treatment { return treatment{r.class, r.action} }

// Unknown says what becomes of bodies that nothing is known of.
type Unknown uint8

// What becomes of unknown bodies.
const (
	ScanUnknown   Unknown = iota // values are found and replaced, in their length
	StrictUnknown                // length and HMAC only
	KeepUnknown                  // stored as they are
)

type unknownRule struct {
	selector *selector.Expr
	unknown  Unknown
}

func (r *Rules) scoped() bool {
	for _, rule := range r.list {
		if !rule.Selector.All() {
			return true
		}
	}
	return false
}

func (r *Rules) pointers() []*Rule { return r.some(^uint64(0)) }

// some are the rules whose bit is set, in their order.
func (r *Rules) some(hold uint64) []*Rule {
	var out []*Rule
	for i := range r.list {
		if hold&(1<<i) != 0 {
			out = append(out, &r.list[i])
		}
	}
	return out
}

// holding are the rules, as bits, whose selector fits x.
func (r *Rules) holding(x *events.Exchange, w *events.Workload) (hold uint64) {
	row := rowOf(x, w)
	for i, rule := range r.list {
		if rule.Selector.All() || rule.Selector.Match(row) {
			hold |= 1 << i
		}
	}
	return hold
}

// rowOf is what selectors of rules can look at: what is known of an exchange
// before it is redacted, its path as a template.
func rowOf(x *events.Exchange, w *events.Workload) *events.Row {
	path, _, _ := strings.Cut(x.GetRequest().GetTarget(), "?")
	return &events.Row{
		Cluster: w.GetCluster(), Namespace: w.GetNamespace(), Service: w.GetService(), Version: w.GetVersion(), Instance: w.GetInstance(),
		Direction: x.Direction, Protocol: x.Protocol, Host: x.GetRequest().GetHost(), Method: x.GetRequest().GetMethod(),
		Template: wire.Template(path), Path: path, Status: x.GetResponse().GetStatus(),
	}
}

func (e *Engine) unknown(x *events.Exchange) Unknown {
	if len(e.rules.unknown) == 0 {
		return ScanUnknown
	}
	row := rowOf(x, e.workload)
	for _, u := range e.rules.unknown {
		if u.selector.All() || u.selector.Match(row) {
			return u.unknown
		}
	}
	return ScanUnknown
}

// ruleAt is the rule for a place, nil for none.
func (s scope) ruleAt(place []byte) *Rule {
	for _, r := range s.rules {
		if r.Path != nil && r.in(s.at) && r.Path.Match(place) {
			return r
		}
	}
	return nil
}
