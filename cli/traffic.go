package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

type trafficCommand struct {
	List       trafficList       `cmd:"" default:"withargs" help:"List exchanges, the newest last (default)."`
	Tail       trafficTail       `cmd:"" help:"Print exchanges as they come, until Ctrl-C."`
	Show       trafficShow       `cmd:"" help:"Show one exchange with headers and bodies, or a stream with its messages."`
	Deps       trafficDeps       `cmd:"" help:"What each service calls."`
	Map        trafficMap        `cmd:"" help:"Draw who calls whom."`
	Throughput trafficThroughput `cmd:"" help:"Draw exchanges over time, with latency."`
}

// trafficFlags choose exchanges.
type trafficFlags struct {
	service.Flags `group:"Stores:"`
	Selector      string `arg:"" optional:"" help:"Which exchanges, e.g. '{status>=500 && path=~\"/orders/.*\"}'."`
	Filter        string `name:"selector" placeholder:"SELECTOR" help:"The same as a flag."`
	Service       string `help:"Only of this service."`
	Since         string `placeholder:"TIME" help:"Only since then: 10m, 2h, 15:04, 2006-01-02 or 2006-01-02T15:04:05Z."`
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

// selector joins the selectors and --service.
func (f *trafficFlags) selector() (*selector.Expr, error) {
	argument, err := parseSelector(f.Selector)
	if err != nil {
		return nil, err
	}
	flag, err := parseSelector(f.Filter)
	if err != nil {
		return nil, err
	}
	chosen := selector.Join(argument, flag)
	if f.Service == "" {
		return chosen, nil
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
// today or of yesterday, a day, or a whole time.
func parseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
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
	return time.Time{}, exit(2, fmt.Errorf("%q is no time like 10m, 2h, 15:04, 2006-01-02 or 2006-01-02T15:04:05Z", s))
}
