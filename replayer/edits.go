package replayer

import (
	"fmt"
	"slices"
	"strings"

	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/scenariogen/scenario"
)

// edits are the transforms and assertions of a request, each for the tests
// that its selector chooses.
type edits struct {
	transforms []scoped[events.Transform]
	asserted   []scoped[events.Assertion]
}

type scoped[T any] struct {
	scope *selector.Expr
	value T
}

const headerPlace = "request.header."

// newEdits reads the transforms and assertions of a request; what this version
// can't do is an error, never left out in silence.
func newEdits(r *events.ReplayRequest) (*edits, error) {
	e := &edits{}
	for _, t := range r.Transforms {
		scope, err := selector.Parse(t.Selector)
		if err != nil {
			return nil, fmt.Errorf("selector of transform %s: %w", t.Place, err)
		}
		if name, ok := strings.CutPrefix(t.Place, headerPlace); !ok || name == "" {
			return nil, fmt.Errorf("transform of %q: only %s<name> can be set", t.Place, headerPlace)
		}
		e.transforms = append(e.transforms, scoped[events.Transform]{scope, t})
	}
	rules := []string{scenario.RuleEqual, scenario.RuleIgnore, scenario.RuleExists}
	for _, a := range r.Assertions {
		scope, err := selector.Parse(a.Selector)
		if err != nil {
			return nil, fmt.Errorf("selector of assertion %s: %w", a.Place, err)
		}
		if !slices.Contains(rules, a.Rule) || a.Place == "" {
			return nil, fmt.Errorf("assertion of %q: rule %q is none of %s", a.Place, a.Rule, strings.Join(rules, ", "))
		}
		e.asserted = append(e.asserted, scoped[events.Assertion]{scope, a})
	}
	return e, nil
}

// transform changes a request before it is sent. Its fields are the replay's
// own copy.
func (e *edits) transform(row *events.Row, r *events.Request) {
	for _, t := range e.transforms {
		if t.scope.Match(row) {
			r.Headers = setHeader(r.Headers, strings.TrimPrefix(t.value.Place, headerPlace), t.value.Value)
		}
	}
}

// assertions are those for a test.
func (e *edits) assertions(row *events.Row) []events.Assertion {
	var all []events.Assertion
	for _, a := range e.asserted {
		if a.scope.Match(row) {
			all = append(all, a.value)
		}
	}
	return all
}

// setHeader sets the first header of that name where it stands, drops further
// ones, and adds one where there is none.
func setHeader(fields []*events.Field, name, value string) []*events.Field {
	at := slices.IndexFunc(fields, named(name))
	field := &events.Field{Name: []byte(name), Value: []byte(value)}
	if at < 0 {
		return append(slices.Clip(fields), field)
	}
	field.Name = fields[at].Name
	kept := append(slices.Clone(fields[:at]), field)
	return append(kept, deleteHeader(fields[at+1:], name)...)
}

func deleteHeader(fields []*events.Field, name string) []*events.Field {
	return slices.DeleteFunc(slices.Clone(fields), named(name))
}

func named(name string) func(*events.Field) bool {
	return func(f *events.Field) bool { return strings.EqualFold(string(f.Name), name) }
}
