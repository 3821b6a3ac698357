package cli

import (
	"fmt"

	"tapedeck/events"
)

// What is shown of a result; the reports have more.
const (
	missesShown = 5
	diffsShown  = 6
)

// printVerdict says how a replay ended and what differed.
func printVerdict(env *Env, r *events.ReplayResult) {
	w := env.Stdout
	fmt.Fprintf(w, "%s  %s against %s\n", env.paint(bold+";"+verdictColor(r.Verdict), verdictWord(r.Verdict)), r.Scenario, r.Target)
	if r.Reason != "" {
		fmt.Fprintf(w, "  %s\n", r.Reason)
	}
	if r.Tests.Total > 0 {
		fmt.Fprintf(w, "  %s: %d passed, %d missed, %d failed in %s\n", plural(r.Tests.Total, "test"),
			r.Tests.Passed, r.Tests.Missed, r.Tests.Failed, shortDuration(r.EndedAt.Sub(r.StartedAt)))
		if r.Tests.Redacted > 0 {
			fmt.Fprintf(w, "  %d of the passed have redacted values: only the class of those was compared\n", r.Tests.Redacted)
		}
		fmt.Fprintf(w, "  latency p50 %s, p99 %s, max %s; %s\n", shortDuration(r.Latency.P50),
			shortDuration(r.Latency.P99), shortDuration(r.Latency.Max), shortRate(r.Throughput))
	}
	for _, m := range r.Mocks {
		printMock(env, &m)
	}
	printMisses(env, r.Misses)
}

func printMock(env *Env, m *events.MockResult) {
	color := ""
	if m.Missed > 0 {
		color = red
	}
	text := fmt.Sprintf("mock of %s: %d served, %d missed", m.Dependency, m.Served, m.Missed)
	if m.PassedThrough > 0 {
		text += fmt.Sprintf(", %d passed through", m.PassedThrough)
	}
	if m.Redacted > 0 {
		text += fmt.Sprintf(", %d of those served by redacted values", m.Redacted)
	}
	fmt.Fprintf(env.Stdout, "  %s\n", env.paint(color, text))
	for _, miss := range m.Misses[:min(len(m.Misses), missesShown)] {
		fmt.Fprintf(env.Stdout, "    no recorded answer fits %s %s\n", miss.Method, miss.Path)
		printDiffs(env, "      ", miss.Diffs)
	}
}

func printMisses(env *Env, misses []events.Miss) {
	for _, m := range misses[:min(len(misses), missesShown)] {
		fmt.Fprintf(env.Stdout, "\n  %s  %s %s\n", env.paint(bold, m.Method+" "+printable([]byte(m.Path))),
			env.paint(faint, "recorded as "+shortID(m.Exchange)), env.paint(red, m.Failure))
		printDiffs(env, "    ", m.Diffs)
	}
	if more := len(misses) - missesShown; more > 0 {
		fmt.Fprintf(env.Stdout, "\n  … and %d more misses: see the report (--html FILE)\n", more)
	}
}

func printDiffs(env *Env, margin string, diffs []events.Difference) {
	for _, d := range diffs[:min(len(diffs), diffsShown)] {
		fmt.Fprintf(env.Stdout, "%s%s  want %s, got %s\n", margin, env.paint(cyan, printable([]byte(d.Place))),
			env.paint(green, short(d.Want)), env.paint(red, short(d.Got)))
	}
	if more := len(diffs) - diffsShown; more > 0 {
		fmt.Fprintf(env.Stdout, "%s… and %s more\n", margin, plural(more, "difference"))
	}
}

// short cuts a value for one line.
func short(s string) string {
	r := []rune(printable([]byte(s)))
	if len(r) == 0 {
		return "nothing"
	}
	if len(r) > 80 {
		return string(r[:79]) + "…"
	}
	return string(r)
}

func verdictWord(v events.Verdict) string {
	switch v {
	case events.Passed:
		return "PASSED"
	case events.Missed:
		return "MISSED"
	case events.Incomplete:
		return "INCOMPLETE"
	}
	return "COULD NOT RUN"
}

func verdictColor(v events.Verdict) string {
	switch v {
	case events.Passed:
		return green
	case events.Missed:
		return red
	}
	return yellow
}

// verdictCode is the exit code of a replay.
func verdictCode(v events.Verdict) error {
	switch v {
	case events.Passed:
		return nil
	case events.Missed:
		return exit(1, nil)
	}
	return exit(2, nil)
}
