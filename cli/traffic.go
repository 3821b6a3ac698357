package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

type trafficCommand struct {
	List       trafficList       `cmd:"" default:"withargs" help:"List exchanges, the newest last (default)."`
	Tail       trafficTail       `cmd:"" help:"Print exchanges as they come, until Ctrl-C."`
	Show       trafficShow       `cmd:"" help:"Show one exchange with headers and bodies."`
	Deps       trafficDeps       `cmd:"" help:"What each service calls."`
	Map        trafficMap        `cmd:"" help:"Draw who calls whom."`
	Throughput trafficThroughput `cmd:"" help:"Draw exchanges over time, with latency."`
}

// trafficFlags choose exchanges.
type trafficFlags struct {
	service.Flags `group:"Stores:"`
	Selector      string `arg:"" optional:"" help:"Which exchanges, e.g. '{status>=500 && path=~\"/orders/.*\"}'."`
	Service       string `help:"Only of this service."`
	Since         string `placeholder:"TIME" help:"Only since then: 10m, 2h, 15:04 or 2006-01-02T15:04:05Z."`
	Until         string `placeholder:"TIME" help:"Only until then."`
	Last          bool   `help:"Only of the last recording."`
	Text          string `help:"Only with this text in path, headers or bodies, whatever its case."`
	Output        string `short:"o" enum:"table,json" default:"table" help:"table or json (one object a line)."`
}

func (f *trafficFlags) query(now time.Time) (query, error) {
	q := query{text: strings.ToLower(f.Text)}
	var err error
	if q.Selector, err = f.selector(); err != nil {
		return q, err
	}
	if f.Last {
		last, err := lastRecording(f.Data)
		if err != nil {
			return q, err
		}
		q.From, q.To = last.From, last.To
	}
	if f.Since != "" {
		if q.From, err = parseTime(f.Since, now); err != nil {
			return q, fmt.Errorf("--since: %w", err)
		}
	}
	if f.Until != "" {
		if q.To, err = parseTime(f.Until, now); err != nil {
			return q, fmt.Errorf("--until: %w", err)
		}
	}
	return q, nil
}

// selector is the selector with --service.
func (f *trafficFlags) selector() (*selector.Expr, error) {
	chosen, err := parseSelector(f.Selector)
	if err != nil || f.Service == "" {
		return chosen, err
	}
	service, err := selector.Equals("service", f.Service)
	if err != nil {
		return nil, err
	}
	return selector.Join(chosen, service), nil
}

// view opens the stores and hands them to a view that has no free text.
func (f *trafficFlags) view(ctx context.Context, show func(traffic.Views, traffic.Query) error) error {
	q, err := f.query(time.Now())
	if err != nil {
		return err
	}
	if q.text != "" {
		return exit(2, errors.New("--text: only list and tail look for it"))
	}
	from, err := openSource(ctx, &f.Flags)
	if err != nil {
		return err
	}
	defer from.close()
	if err := show(from.views(ctx, q.From), q.Query); err != nil {
		return err
	}
	return from.damage()
}

// parseSelector reads a selector of the command line.
func parseSelector(text string) (*selector.Expr, error) {
	e, err := selector.Parse(text)
	if wrong, ok := errors.AsType[*selector.SyntaxError](err); ok {
		hint := wrong.Pointer()
		if !strings.Contains(err.Error(), wrong.Hint) {
			hint += "\n" + wrong.Hint
		}
		return nil, exit(2, service.Hint(err, hint))
	}
	return e, err
}

// parseTime reads a time that lies in the past: a duration ago, a time of
// today or of yesterday, or a whole time.
func parseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"15:04", "15:04:05", "15:04:05.000"} {
		t, err := time.ParseInLocation(layout, s, now.Location())
		if err != nil {
			continue
		}
		y, m, d := now.Date()
		t = time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location())
		if t.After(now) {
			t = t.AddDate(0, 0, -1)
		}
		return t, nil
	}
	return time.Time{}, exit(2, fmt.Errorf("%q is no time like 10m, 2h, 15:04 or 2006-01-02T15:04:05Z", s))
}

type trafficList struct {
	trafficFlags
	Limit int `default:"50" help:"At most so many, the newest."`
}

func (c *trafficList) Run(ctx context.Context, env *Env) error {
	q, err := c.query(time.Now())
	if err != nil {
		return err
	}
	from, err := openSource(ctx, &c.Flags)
	if err != nil {
		return err
	}
	defer from.close()
	rows, err := from.rows(ctx, q, c.Limit)
	if err != nil {
		return err
	}
	switch {
	case c.Output == "json":
		err = printRowsJSON(env, rows)
	case len(rows) == 0:
		fmt.Fprintln(env.Stderr, "no exchanges found")
	default:
		printRows(env, rows)
	}
	return errors.Join(err, from.damage())
}

func printRowsJSON(env *Env, rows []events.Row) error {
	for i := range rows {
		if err := printJSON(env.Stdout, &rows[i]); err != nil {
			return err
		}
	}
	return nil
}

var rowHead = []string{"TIME", "ID", "SERVICE", "", "STATUS", "TOOK", "SIZE", "METHOD", "HOST", "PATH"}

func printRows(env *Env, rows []events.Row) {
	t := &table{head: rowHead}
	for i := range rows {
		t.add(rowCells(&rows[i])...)
	}
	t.print(env)
}

func rowCells(r *events.Row) []cell {
	arrow, host := "→", ""
	if r.Direction == events.Direction_OUTBOUND {
		arrow, host = "⇢", r.Host
	}
	return []cell{
		{text: clock(r.Time), color: faint}, {text: shortID(r.ID), color: cyan},
		{text: r.Service}, {text: arrow, color: faint},
		{text: statusText(r), color: classColor(r.Class)},
		{text: shortDuration(r.Duration), right: true}, {text: shortBytes(r.RequestBytes + r.ResponseBytes), right: true},
		{text: printable([]byte(r.Method))}, {text: printable([]byte(host))}, {text: printable([]byte(r.Path))},
	}
}

// shortID is the end of an id, which is random; its beginning is the time.
func shortID(id events.ID) string {
	s := id.String()
	return s[len(s)-8:]
}

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

type trafficShow struct {
	service.Flags `group:"Stores:"`
	ID            string `arg:"" help:"The exchange's id, or the end of it that the list prints."`
	Output        string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *trafficShow) Run(ctx context.Context, env *Env) error {
	from, err := openSource(ctx, &c.Flags)
	if err != nil {
		return err
	}
	defer from.close()
	r, err := from.row(ctx, c.ID)
	if err != nil {
		return err
	}
	x, err := from.exchange(ctx, r)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, exchangeJSON(&r, x))
	}
	printExchange(env, &r, x)
	return nil
}
