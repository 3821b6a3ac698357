package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

// find looks through all tapes, for the index may have forgotten what they
// hold, and through the index, for a tape may not be archived yet.
func (p *purging) find(ctx context.Context, q traffic.Query) ([]tapes.Tombstone, error) {
	o := tapes.ScanOptions{}
	if !q.From.IsZero() {
		o.From = q.From.Add(-time.Hour) // a tape is begun before its exchanges
	}
	looked := 0
	list, err := p.archive.Choose(ctx, o, tapes.Chooser{
		Rows: func(f *events.Front) ([]events.Row, error) {
			looked++
			p.line.draw(fmt.Sprintf("  %s looked at", plural(looked, "tape")))
			return traffic.RowsOf(f)
		},
		Chosen:  func(r *events.Row) bool { return includes(&q, r.Time) && q.Selector.Match(r) },
		Damaged: p.damaged,
	})
	if err != nil || p.reader == nil {
		return list, err
	}
	return p.findInIndex(ctx, q, list)
}

func includes(q *traffic.Query, t time.Time) bool {
	return (q.From.IsZero() || !t.Before(q.From)) && (q.To.IsZero() || t.Before(q.To))
}

func (p *purging) damaged(err error) error {
	p.done.Damaged++
	p.line.clear()
	fmt.Fprintf(p.env.Stderr, "left out: %s\n", oneLine(err.Error()))
	return nil
}

// findInIndex adds what the index alone has.
func (p *purging) findInIndex(ctx context.Context, q traffic.Query, list []tapes.Tombstone) ([]tapes.Tombstone, error) {
	found := map[events.ID]tapes.Tombstone{}
	for _, t := range list {
		found[t.Exchange] = t
	}
	replays, err := selector.Parse(`{replay=~".*"}`) // lists leave them out else
	if err != nil {
		return nil, err
	}
	q.Selector = selector.Join(q.Selector, replays)
	page := traffic.ListQuery{Query: q, Oldest: true, Limit: traffic.MaxPage}
	for {
		some, err := p.reader.List(ctx, page)
		if err != nil {
			return nil, err
		}
		for _, r := range some.Exchanges {
			t := found[r.ID]
			t.Exchange, t.Time = r.ID, r.Time
			if !slices.Contains(t.Tapes, r.Tape) {
				t.Tapes = append(t.Tapes, r.Tape)
			}
			found[r.ID] = t
		}
		if page.Cursor = some.Next; some.Next.IsZero() {
			break
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b tapes.Tombstone) int {
		return slices.Compare(a.Exchange[:], b.Exchange[:])
	}), nil
}

func (p *purging) report(output string) error {
	if output == "json" {
		return printJSON(p.env.Stdout, p.done)
	}
	d, w := p.done, p.env.Stdout
	if d.Resumed > 0 {
		fmt.Fprintf(w, "ended an earlier purge of %s\n", plural(d.Resumed, "exchange"))
	}
	what, verb := "removed", "written anew"
	if d.DryRun {
		what, verb = "would remove", "would be written anew"
	}
	fmt.Fprintf(w, "%s %s, which %s may hold something of", what, plural(d.Exchanges, "exchange"), plural(d.Tapes, "tape"))
	if !d.DryRun {
		fmt.Fprintf(w, "; %s of the archive written anew, %s of the index removed", plural(d.Objects, "object"), plural(d.Rows+d.Open, "row"))
	}
	fmt.Fprintln(w)
	for _, s := range d.Scenarios {
		text := fmt.Sprintf("  scenario %s, version %s: %s without %s and %s", s.Name, s.Version, verb, plural(s.Tests, "test"), plural(s.Mocks, "mock"))
		if s.Empty {
			text = fmt.Sprintf("  scenario %s, version %s: removed, nothing else was in it", s.Name, s.Version)
		}
		fmt.Fprintln(w, text)
	}
	if d.Damaged > 0 {
		fmt.Fprintf(w, "left out: %s that can't be read\n", plural(d.Damaged, "object"))
	}
	return nil
}
