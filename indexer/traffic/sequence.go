package traffic

import (
	"slices"
	"time"

	"tapedeck/events"
)

// SessionQuery asks for the exchanges of one session, around a time that is
// known to be in it.
type SessionQuery struct {
	Session events.SessionID
	At      time.Time // zero: the newest day of the range that has the session's exchanges
}

// Bounds of sequences.
const (
	maxSequence = 2000
	// sessionReach is how long before and after a known time a session's
	// exchanges are looked for.
	sessionReach = 12 * time.Hour
)

// Step is an exchange in a sequence. A cause comes before its effects, whatever
// the clocks say; what has no known order between them is ordered by time.
type Step struct {
	events.Row
	Depth  int       `json:"depth"`           // 0 for what nothing known caused
	Parent events.ID `json:"parent,omitzero"` // the exchange that caused it
}

type spanKey struct {
	trace events.TraceID
	span  events.SpanID
}

// sequence puts rows into the order of causes.
func sequence(rows []events.Row) []Step {
	slices.SortFunc(rows, func(a, b events.Row) int { return compareRows(&a, &b) })
	parents := causes(rows)
	children := make([][]int, len(rows))
	var roots []int
	for i, p := range parents {
		if p < 0 {
			roots = append(roots, i)
			continue
		}
		children[p] = append(children[p], i)
	}
	steps := make([]Step, 0, len(rows))
	var walk func(i, depth int)
	walk = func(i, depth int) {
		s := Step{Row: rows[i], Depth: depth}
		if p := parents[i]; p >= 0 {
			s.Parent = rows[p].ID
		}
		steps = append(steps, s)
		for _, c := range children[i] {
			walk(c, depth+1)
		}
	}
	for _, r := range roots {
		walk(r, 0)
	}
	return steps
}

// causes finds for each row the row that caused it, or -1: what capture found,
// else the other side of the same call, else the parent span.
func causes(rows []events.Row) []int {
	ids, inbound, outbound := map[events.ID]int{}, map[spanKey]int{}, map[spanKey]int{}
	for i := range rows {
		r := &rows[i]
		ids[r.ID] = i
		if r.Span == (events.SpanID{}) {
			continue
		}
		sides := outbound
		if r.Direction == events.Direction_INBOUND {
			sides = inbound
		}
		if _, taken := sides[spanKey{r.Trace, r.Span}]; !taken {
			sides[spanKey{r.Trace, r.Span}] = i
		}
	}
	parents := make([]int, len(rows))
	for i := range rows {
		r := &rows[i]
		parents[i] = -1
		candidates := []func() (int, bool){
			func() (int, bool) { p, ok := ids[r.Cause]; return p, ok && !r.Cause.IsZero() },
			func() (int, bool) {
				p, ok := outbound[spanKey{r.Trace, r.Span}]
				return p, ok && r.Direction == events.Direction_INBOUND
			},
			func() (int, bool) { p, ok := inbound[spanKey{r.Trace, r.ParentSpan}]; return p, ok },
			func() (int, bool) { p, ok := outbound[spanKey{r.Trace, r.ParentSpan}]; return p, ok },
		}
		for _, candidate := range candidates {
			if p, ok := candidate(); ok && !reaches(parents[:i+1], p, i) && p != i {
				parents[i] = p
				break
			}
		}
	}
	return parents
}

// reaches says whether the known causes of from lead to target: taking from as
// target's cause would then close a circle.
func reaches(parents []int, from, target int) bool {
	for from >= 0 {
		if from == target {
			return true
		}
		if from >= len(parents) {
			return false // not decided yet: it will see this one
		}
		from = parents[from]
	}
	return false
}
