package replayer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/replayer/report"
)

// DetailsFolder is where the details of a replay lie in the archive.
func DetailsFolder(id string) string { return "replays/" + events.Token(id) + "/" }

// keepDetails writes the details and returns the result that points at them.
// Objects are written once: a replay that is answered a second time keeps the
// details of the first.
func keepDetails(ctx context.Context, b tapes.Bucket, r report.Report) (events.ReplayResult, error) {
	misses := r.Result.Misses
	r.Result = report.Fit(r.Result)
	folder := DetailsFolder(r.Result.ID)
	r.Result.Details = folder
	files := []struct {
		name  string
		write func(*bytes.Buffer) error
	}{
		{"report.html", func(w *bytes.Buffer) error { return report.HTML(w, r) }},
		{"junit.xml", func(w *bytes.Buffer) error { return report.JUnit(w, r.Result) }},
		{"misses.json", func(w *bytes.Buffer) error {
			return json.NewEncoder(w).Encode(map[string]any{"misses": misses, "details": r.Details})
		}},
		{"result.json", func(w *bytes.Buffer) error { return report.JSON(w, report.Report{Result: r.Result}) }}, // last: it says that all is there
	}
	for _, f := range files {
		var buffer bytes.Buffer
		if err := f.write(&buffer); err != nil {
			return r.Result, fmt.Errorf("details of replay %s: %w", r.Result.ID, err)
		}
		err := b.Put(ctx, folder+f.name, buffer.Bytes())
		if err != nil && !errors.Is(err, tapes.ErrDifferent) {
			r.Result.Details = ""
			return r.Result, fmt.Errorf("store details of replay %s: %w", r.Result.ID, err)
		}
	}
	return r.Result, nil
}
