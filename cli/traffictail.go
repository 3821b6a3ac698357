package cli

import (
	"context"
	"fmt"
	"time"

	"tapedeck/events"
	"tapedeck/internal/service"
)

type trafficTail struct{ trafficFlags }

// Run looks again and again for what is new: the archive and the index have
// both only what is durable, about two seconds after it happened.
func (c *trafficTail) Run(ctx context.Context, env *Env) error {
	q, err := c.query(time.Now())
	if err != nil {
		return err
	}
	from, err := openSource(ctx, &c.Flags)
	if err != nil {
		return err
	}
	defer from.close()
	t := &tail{source: from, query: q, since: time.Now(), shown: map[events.ID]bool{}}
	fmt.Fprintln(env.Stderr, "following what is recorded from now on; Ctrl-C ends it")
	widths := []int{12, 8, 12, 1, 6, 6, 8, 6, 20, 0}
	for {
		fresh, err := t.step(ctx, time.Now())
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range fresh {
			if c.Output == "json" {
				if err := printJSON(env.Stdout, &fresh[i]); err != nil {
					return err
				}
				continue
			}
			cells := rowCells(&fresh[i])
			for j := range cells {
				widths[j] = max(widths[j], len([]rune(cells[j].text)))
			}
			fmt.Fprintln(env.Stdout, env.line(cells, widths))
		}
		service.Sleep(ctx, 300*time.Millisecond)
	}
}

// tail finds what was not shown yet.
type tail struct {
	source *source
	query  query
	since  time.Time
	shown  map[events.ID]bool
}

// late is how late a row may come after its first byte and still be shown.
const late = 2 * time.Minute

// step finds the rows that came since the last step.
func (t *tail) step(ctx context.Context, now time.Time) ([]events.Row, error) {
	q := t.query
	q.From = now.Add(-late)
	if q.From.Before(t.since) {
		q.From = t.since
	}
	rows, err := t.source.rows(ctx, q, 1000)
	if err != nil {
		return nil, err
	}
	var fresh []events.Row
	for _, r := range rows {
		if !t.shown[r.ID] && !r.Open {
			t.shown[r.ID] = true
			fresh = append(fresh, r)
		}
	}
	for id := range t.shown {
		if id.Time().Before(now.Add(-2 * late)) {
			delete(t.shown, id)
		}
	}
	return fresh, nil
}
