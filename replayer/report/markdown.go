package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"tapedeck/events"
)

// Markdown writes the result for a pull request or a chat.
func Markdown(w io.Writer, r events.ReplayResult) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Replay of %s: %s\n\n%s\n\n", plain(r.Scenario), r.Verdict, plain(r.Reason))
	fmt.Fprintf(&b, "| tests | passed | redacted | missed | failed | unchecked | p50 | p99 | answers/s |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	fmt.Fprintf(&b, "| %d | %d | %d | %d | %d | %d | %s | %s | %.1f |\n", r.Tests.Total, r.Tests.Passed, r.Tests.Redacted, r.Tests.Missed, r.Tests.Failed,
		r.Tests.Unchecked, short(r.Latency.P50), short(r.Latency.P99), r.Throughput)
	if len(r.Endpoints) > 0 {
		b.WriteString("\n| endpoint | tests | missed | failed | p50 | p99 | recorded p50 |\n|:--|--:|--:|--:|--:|--:|--:|\n")
	}
	for _, e := range r.Endpoints {
		fmt.Fprintf(&b, "| %s %s | %d | %d | %d | %s | %s | %s |\n", plain(e.Method), plain(e.Template), e.Tests.Total, e.Tests.Missed,
			e.Tests.Failed, short(e.Latency.P50), short(e.Latency.P99), short(e.Recorded))
	}
	markdownMisses(&b, r.Misses)
	for _, m := range r.Mocks {
		fmt.Fprintf(&b, "\nMock of %s: %d served (%d by redacted values), %d missed, %d passed through\n", plain(m.Dependency), m.Served, m.Redacted, m.Missed, m.PassedThrough)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write Markdown report: %w", err)
	}
	return nil
}

func markdownMisses(b *strings.Builder, all []events.Miss) {
	const most = 20
	for i, m := range all {
		if i == most {
			fmt.Fprintf(b, "\n… and %d more\n", len(all)-most)
			return
		}
		fmt.Fprintf(b, "\n**%s %s**", plain(m.Method), plain(m.Path))
		if m.Failure != "" {
			fmt.Fprintf(b, ": %s", plain(m.Failure))
		}
		b.WriteString("\n")
		for _, d := range m.Diffs {
			fmt.Fprintf(b, "- %s: recorded %s, got %s\n", plain(d.Place), plain(d.Want), plain(d.Got))
		}
	}
}

// plain shows a recorded text in Markdown as it is: nothing in it is markup.
func plain(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '\n' || c == '\r' || c == '\t':
			b.WriteByte(' ')
		case c == '<':
			b.WriteString("&lt;")
		case c == '>':
			b.WriteString("&gt;")
		case c == '&':
			b.WriteString("&amp;")
		case strings.ContainsRune("\\`*_[]()|~#!", c):
			b.WriteByte('\\')
			b.WriteRune(c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// short is a duration to three digits.
func short(d time.Duration) string {
	switch {
	case d <= 0:
		return "–"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
