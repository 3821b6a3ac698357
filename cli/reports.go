package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/replayer/report"
)

// archiveBucket is where scenarios and replays lie beside the tapes.
type archiveBucket = tapes.Archive

type reportFlags struct {
	JUnit    string `name:"junit" placeholder:"FILE" help:"Write a JUnit report for CI."`
	HTML     string `name:"html" placeholder:"FILE" help:"Write a report with both answers side by side."`
	JSON     string `name:"json" placeholder:"FILE" help:"Write the result as JSON."`
	Markdown string `name:"markdown" placeholder:"FILE" help:"Write a report for a pull request."`
}

// write writes the reports that were asked for.
func (f *reportFlags) write(ctx context.Context, env *Env, archive *archiveBucket, r events.ReplayResult) error {
	reports := []struct {
		file   string
		render func(io.Writer) error
	}{
		{f.JUnit, func(w io.Writer) error { return report.JUnit(w, r) }},
		{f.HTML, func(w io.Writer) error { return htmlReport(ctx, w, archive, r) }},
		{f.JSON, func(w io.Writer) error { return report.JSON(w, report.Report{Result: r}) }},
		{f.Markdown, func(w io.Writer) error { return report.Markdown(w, r) }},
	}
	for _, report := range reports {
		if report.file == "" {
			continue
		}
		var rendered bytes.Buffer
		if err := report.render(&rendered); err != nil {
			return fmt.Errorf("write report %s: %w", report.file, err)
		}
		if err := os.WriteFile(report.file, rendered.Bytes(), 0o644); err != nil {
			return service.Hint(fmt.Errorf("write report: %w", err), "name a file in a folder that exists and can be written")
		}
		fmt.Fprintf(env.Stdout, "  report: %s\n", report.file)
	}
	return nil
}

// htmlReport is the page that the replayer kept, with both answers of each
// miss; without that, the result alone.
func htmlReport(ctx context.Context, w io.Writer, archive *archiveBucket, r events.ReplayResult) error {
	if r.Details != "" {
		if page, err := archive.Get(ctx, r.Details+"report.html", 0, -1); err == nil {
			_, err = w.Write(page)
			return err
		}
	}
	return report.HTML(w, report.Report{Result: r})
}
