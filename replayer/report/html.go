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
}).Parse(page))

// share is a part of a whole in percent, for the width of a bar.
func share(part, whole int) string {
	if whole <= 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f", 100*float64(part)/float64(whole))
}

// HTML writes the report as one page that needs nothing else. Everything in it
// is text: the page has no script, and its policy lets none run.
func HTML(w io.Writer, r Report) error {
	if err := pageTemplate.Execute(w, r); err != nil {
		return fmt.Errorf("write HTML report: %w", err)
	}
	return nil
}
