package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"tapedeck/events"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"short": short,
	"when":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"took":  func(r events.ReplayResult) string { return short(r.EndedAt.Sub(r.StartedAt)) },
	"rate":  func(f float64) string { return fmt.Sprintf("%.1f", f) },
	"share": share,
	"slow":  func(e events.EndpointResult) string { return slower(e.Latency.P50, e.Recorded) },
}).Parse(page))

// share is a part of a whole in percent, for the width of a bar.
func share(part, whole int) string {
	if whole <= 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f", 100*float64(part)/float64(whole))
}

// slower says how much slower or faster than recorded, "" when about equal.
func slower(got, recorded time.Duration) string {
	if got <= 0 || recorded <= 0 {
		return ""
	}
	switch f := float64(got) / float64(recorded); {
	case f >= 1.5:
		return fmt.Sprintf("%.1f× slower", f)
	case f <= 1/1.5:
		return fmt.Sprintf("%.1f× faster", 1/f)
	}
	return ""
}

// HTML writes the report as one page that needs nothing else. Everything in it
// is text: the page has no script, and its policy lets none run.
func HTML(w io.Writer, r Report) error {
	if err := pageTemplate.Execute(w, r); err != nil {
		return fmt.Errorf("write HTML report: %w", err)
	}
	return nil
}
