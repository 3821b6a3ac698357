package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// summary is the median of a side's samples, measure by measure, and the sums
// of what was counted.
type summary struct {
	rate, p50, p99, late99 float64 // requests/s, µs
	cpu, memory            float64 // µs a request, MiB
	sent, failed           int64
	recorded               counts
	records                bool
}

func summarize(samples []*sample) summary {
	median := func(of func(*sample) float64) float64 {
		var all []float64
		for _, m := range samples {
			all = append(all, of(m))
		}
		slices.Sort(all)
		return (all[len(all)/2] + all[(len(all)-1)/2]) / 2
	}
	micros := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	s := summary{
		rate:   median(func(m *sample) float64 { return m.rate() }),
		p50:    median(func(m *sample) float64 { return micros(m.P50) }),
		p99:    median(func(m *sample) float64 { return micros(m.P99) }),
		late99: median(func(m *sample) float64 { return micros(m.Late99) }),
		cpu:    median(func(m *sample) float64 { return micros(m.cpu) / float64(max(m.Answered, 1)) }),
		memory: median(func(m *sample) float64 { return float64(m.most) / (1 << 20) }),
	}
	for _, m := range samples {
		s.sent += m.sent
		s.failed += m.Failed
		s.records = m.records
		s.recorded.Rows += m.recorded.Rows
		s.recorded.Dropped += m.recorded.Dropped
	}
	return s
}

// lost is what was sent and is neither recorded nor counted as dropped.
func (s summary) lost() int64 { return s.sent - s.recorded.Rows - s.recorded.Dropped }

// uncounted is lost as a figure to compare.
func (s summary) uncounted() float64 {
	if !s.records {
		return math.NaN()
	}
	return float64(s.lost())
}

// summaries are those of a part, by side.
type summaries map[string]summary

// of is a side's, made of no numbers for one that was not measured.
func (all summaries) of(name string) summary {
	if s, ok := all[name]; ok {
		return s
	}
	none := math.NaN()
	return summary{rate: none, p50: none, p99: none, late99: none, cpu: none, memory: none}
}

// printTable writes one row a side, in Markdown.
func printTable(w io.Writer, sides []side, samples map[string][]*sample, missing map[string]string) summaries {
	all := summaries{}
	fmt.Fprintln(w, "| side | requests/s | p50 µs | p99 µs | CPU µs/request | peak RSS MiB | sent | recorded | dropped, counted | lost, uncounted | failed |")
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, side := range sides {
		if missing[side.name] != "" {
			fmt.Fprintf(w, "| %s | %s | | | | | | | | | |\n", side.name, missing[side.name])
			continue
		}
		s := summarize(samples[side.name])
		all[side.name] = s
		own := fmt.Sprintf("%.1f | %.0f", s.cpu, s.memory)
		if s.memory == 0 {
			own = "- | -"
		}
		kept := "- | - | -"
		if s.records {
			kept = fmt.Sprintf("%d | %d | %d", s.recorded.Rows, s.recorded.Dropped, s.lost())
			if lost := s.lost(); lost != 0 {
				kept += fmt.Sprintf(" (%.2f %%)", 100*float64(lost)/float64(s.sent))
			}
		}
		fmt.Fprintf(w, "| %s | %.0f | %.0f | %.0f | %s | %d | %s | %d |\n", side.name, s.rate, s.p50, s.p99, own, s.sent, kept, s.failed)
	}
	fmt.Fprintln(w)
	return all
}

// bar is what a figure of ours has to reach.
type bar struct {
	what   string
	got    float64
	atMost bool
	bound  float64
	kind   string // floor or goal
}

func atLeast(what string, got, bound float64) bar {
	return bar{what: what, got: got, bound: bound, kind: "floor"}
}
func atMost(what string, got, bound float64) bar {
	return bar{what: what, got: got, bound: bound, atMost: true, kind: "floor"}
}

// goal is a bar beyond the floor.
func (b bar) goal() bar { b.kind = "goal"; return b }

func printBars(w io.Writer, bars ...bar) {
	fmt.Fprintln(w, "| what | here | wanted | |\n|---|--:|--:|---|")
	for _, b := range bars {
		sign, met := "≥", b.got >= b.bound
		if b.atMost {
			sign, met = "≤", b.got <= b.bound
		}
		verdict := map[bool]string{true: "met", false: "**not met**"}[met]
		if math.IsNaN(b.got) { // a side is missing
			verdict = "not measured"
		}
		fmt.Fprintf(w, "| %s | %s | %s %s (%s) | %s |\n", b.what, figure(b.got), sign, figure(b.bound), b.kind, verdict)
	}
	fmt.Fprintln(w)
}

func figure(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", f), "0"), ".")
}
