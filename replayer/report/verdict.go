// Package report judges replays and shows their results: the verdict, and
// JSON, JUnit XML, Markdown and a self-contained HTML page of one result. All
// of it is pure: a result in, bytes out.
package report

import (
	"fmt"
	"strings"

	"tapedeck/events"
)

// Facts are what a verdict rests on beside the counts of a result.
type Facts struct {
	Failure    string   // why it could not run; "" when it ran
	Stopped    string   // why it ended before its end; "" when it did not
	LostShards int      // shards without a final message
	Mocked     bool     // dependencies were to be mocked
	Goals      []string // goals that were not reached, each in a sentence
}

// Judge is the verdict on a result and its reason in a sentence. Anything that
// is not proved is not passed.
func Judge(r *events.ReplayResult, f Facts) (events.Verdict, string) {
	t := r.Tests
	switch {
	case f.Failure != "":
		return events.Errored, f.Failure
	case f.Stopped != "":
		return events.Incomplete, fmt.Sprintf("%s after %d of %d tests", f.Stopped, t.Passed+t.Missed+t.Failed, t.Total)
	case f.LostShards > 0:
		return events.Incomplete, counted(f.LostShards, "shard", "shards") + " of the replay got lost"
	}
	if missed := misses(r, f); missed != "" {
		return events.Missed, missed
	}
	switch {
	case t.Total == 0:
		return events.Incomplete, "there was nothing to test"
	case t.Unchecked > 0:
		return events.Incomplete, fmt.Sprintf("%d of %d tests could not be checked: their recordings are truncated", t.Unchecked, t.Total)
	case t.Passed != t.Total:
		return events.Incomplete, fmt.Sprintf("%d of %d tests ran", t.Passed, t.Total)
	case f.Mocked && r.Isolation != "proved" && r.Isolation != "declared":
		return events.Incomplete, "it is not known whether the target called a real dependency: declare its isolation or run it under capture"
	}
	return events.Passed, counted(t.Total, "answer", "answers") + " as recorded"
}

// misses says in a sentence what went otherwise than recorded, "" for nothing.
func misses(r *events.ReplayResult, f Facts) string {
	var parts []string
	if r.Tests.Missed > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s not as recorded", r.Tests.Missed, counted(r.Tests.Total, "answer", "answers")))
	}
	if r.Tests.Failed > 0 {
		parts = append(parts, counted(r.Tests.Failed, "request had no complete answer", "requests had no complete answer"))
	}
	for _, m := range r.Mocks {
		if m.Missed > 0 {
			parts = append(parts, fmt.Sprintf("%s to %s without a recorded answer", counted(m.Missed, "call", "calls"), m.Dependency))
		}
	}
	return strings.Join(append(parts, f.Goals...), "; ")
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// MaxResult is the size of a result's JSON; what does not fit is in the
// details.
const MaxResult = 256 << 10

// Bounds of a result before it is measured.
const (
	maxMisses    = 100
	maxDiffs     = 20
	maxEndpoints = 300
	maxValue     = 300 // bytes of a text from outside
)
