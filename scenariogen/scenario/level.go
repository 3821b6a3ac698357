package scenario

import (
	"tapedeck/events"
	"tapedeck/wire"
)

// Level is how well a live message fits a recorded one.
type Level string

// The levels, from strict to loose.
const (
	Exact    Level = "exact"    // all that is compared is the recorded one
	Shape    Level = "shape"    // only volatile places differ
	Redacted Level = "redacted" // what was redacted is another value of its class, perhaps volatile places differ
	Miss     Level = "miss"     // it does not fit
)

// Judge is Compare; it also says how well the answer fits.
func Judge(recorded, got *events.Exchange, rules Rules) (Level, []events.Difference) {
	c := newComparison(recorded, got, rules)
	c.answers(recorded, got)
	return c.result()
}

// result is the level of what was compared, and what differs.
func (c *comparison) result() (Level, []events.Difference) {
	switch {
	case len(c.found) > 0:
		return Miss, c.found
	case c.redacted:
		return Redacted, nil
	case c.shape:
		return Shape, nil
	}
	return Exact, nil
}

// note remembers that a value of a class stands where another was recorded.
func (c *comparison) note(class Class, recorded string) {
	if class == ClassRedacted || class != ClassTime && tokenInText.MatchString(recorded) {
		c.redacted = true
	}
	c.shape = true
}

// equal asserts the recorded value; of one that was redacted only the class is
// known.
func (c *comparison) equal(want, got leaf) {
	switch {
	case equalLeaf(want, got) || c.isSupplied(want, got):
	case c.classes.at(want.place) == ClassRedacted && fitsRedacted(want, got):
		c.note(ClassRedacted, want.value)
	case c.classes.at(want.place) == ClassRedacted:
		c.differ(want.place, display(want), displayRedacted(got))
	default:
		c.differ(want.place, display(want), display(got))
	}
}

// isSupplied says that the live value is the one behind the recorded token.
func (c *comparison) isSupplied(want, got leaf) bool {
	value, known := c.rules.Secrets.Value(want.value)
	return known && want.kind == got.kind && value == got.value
}

// displayRedacted shows of a live value what may be told where the recorded one
// was redacted: that there is one.
func displayRedacted(l leaf) string {
	if l.kind == kindText && l.value != "" && wire.TokenClass(l.value) == "" {
		return events.Hidden
	}
	return display(l)
}
