package replayer

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tapedeck/events"
)

// goal is one of ReplayRequest.Goals: "latency.p99 < 200ms",
// "throughput >= 100", "errors = 0", "errors < 1%".
type goal struct {
	text, signal, operator, value string
}

var goalForm = regexp.MustCompile(`^\s*([a-z0-9.]+)\s*(<=|>=|<|>|=)\s*(\S+)\s*$`)

var latencies = map[string]func(events.Latency) time.Duration{
	"latency.min":  func(l events.Latency) time.Duration { return l.Min },
	"latency.mean": func(l events.Latency) time.Duration { return l.Mean },
	"latency.p50":  func(l events.Latency) time.Duration { return l.P50 },
	"latency.p90":  func(l events.Latency) time.Duration { return l.P90 },
	"latency.p95":  func(l events.Latency) time.Duration { return l.P95 },
	"latency.p99":  func(l events.Latency) time.Duration { return l.P99 },
	"latency.p999": func(l events.Latency) time.Duration { return l.P999 },
	"latency.max":  func(l events.Latency) time.Duration { return l.Max },
}

func parseGoals(texts []string) ([]goal, error) {
	var goals []goal
	for _, text := range texts {
		parts := goalForm.FindStringSubmatch(text)
		if parts == nil {
			return nil, fmt.Errorf(`goal %q is not like "latency.p99 < 200ms"`, text)
		}
		g := goal{strings.TrimSpace(text), parts[1], parts[2], parts[3]}
		if _, _, err := g.measure(&events.ReplayResult{}); err != nil {
			return nil, fmt.Errorf("goal %q: %w", text, err)
		}
		goals = append(goals, g)
	}
	return goals, nil
}

// measure is the signal of a result and the bound, in the same unit.
func (g goal) measure(r *events.ReplayResult) (signal, bound float64, err error) {
	if of, ok := latencies[g.signal]; ok {
		d, err := time.ParseDuration(g.value)
		return float64(of(r.Latency)), float64(d), err
	}
	text, percent := strings.CutSuffix(g.value, "%")
	if bound, err = strconv.ParseFloat(text, 64); err != nil {
		return 0, 0, fmt.Errorf("%q is no number", g.value)
	}
	switch {
	case g.signal == "throughput" && !percent:
		return r.Throughput, bound, nil
	case g.signal == "errors" && percent:
		return 100 * float64(r.Errors) / float64(max(r.Tests.Total, 1)), bound, nil
	case g.signal == "errors":
		return float64(r.Errors), bound, nil
	}
	names := []string{"throughput", "errors"}
	for name := range latencies {
		names = append(names, name)
	}
	slices.Sort(names)
	return 0, 0, fmt.Errorf("signal %q is none of %s", g.signal, strings.Join(names, ", "))
}

func (g goal) reached(signal, bound float64) bool {
	switch g.operator {
	case "<":
		return signal < bound
	case "<=":
		return signal <= bound
	case ">":
		return signal > bound
	case ">=":
		return signal >= bound
	}
	return signal == bound
}

// unreached says in a sentence each which goals were not reached.
func unreached(goals []goal, r *events.ReplayResult) []string {
	var all []string
	for _, g := range goals {
		signal, bound, err := g.measure(r)
		if err != nil || g.reached(signal, bound) {
			continue // it was parsed: there is no error
		}
		shown := strconv.FormatFloat(signal, 'f', 1, 64)
		if _, ok := latencies[g.signal]; ok {
			shown = time.Duration(signal).Round(time.Microsecond).String()
		}
		all = append(all, fmt.Sprintf("goal %s was not reached: it is %s", g.text, shown))
	}
	return all
}
