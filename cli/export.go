package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tapedeck/cli/formats"
	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/internal/service"
	"tapedeck/wire/grpc"
)

type exportCommand struct {
	service.Flags `group:"Stores:"`
	Selector      string `placeholder:"SELECTOR" help:"Which exchanges, e.g. '{status>=500 && path=~\"/orders/.*\"}'. Default: all but replays."`
	Service       string `placeholder:"NAME" help:"Only of this service."`
	Direction     string `enum:",inbound,outbound" default:"" placeholder:"DIRECTION" help:"Only inbound or outbound."`
	Last          bool   `help:"Only of the last recording."`
	Since         string `placeholder:"TIME" help:"Only since then: 10m, 2h, 15:04, 2006-01-02 or 2006-01-02T15:04:05Z."`
	Until         string `placeholder:"TIME" help:"Only until then."`
	Limit         int    `default:"100000" help:"At most so many, the newest. Default: ${default}."`
	Format        string `enum:",har,curl,k6" default:"" placeholder:"FORMAT" help:"har, curl (a shell script) or k6 (a script). Default: by the file's ending (.har, .sh, .js), else har."`
	Output        string `short:"o" default:"-" placeholder:"FILE" help:"File to write; - is standard output (default)."`

	descriptorFlags `embed:""`
}

func (c *exportCommand) Run(ctx context.Context, env *Env) error {
	q, err := c.query(time.Now())
	if err != nil {
		return err
	}
	from, err := openSource(ctx, &c.Flags)
	if err != nil {
		return err
	}
	defer from.close()
	rows, err := from.chosen(ctx, q, c.Limit)
	if err != nil {
		return err
	}
	names, err := c.descriptorFlags.open(ctx, c.Data)
	if err != nil {
		return err
	}
	e := &exporting{env: env, names: names, tapes: newTapeReader(from, rows), leftOut: map[string]int{}, line: liveLine{env: env}}
	if err := e.to(c.Output, func(w io.Writer) error { return e.write(ctx, c.format(), w, rows) }); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	e.report(c.Output)
	return errors.Join(from.damage(), e.unread)
}

func (c *exportCommand) format() string {
	if c.Format != "" {
		return c.Format
	}
	if f := formats.ByEnding(c.Output); slices.Contains(formats.Writable, f) {
		return f
	}
	return formats.HAR
}

func (c *exportCommand) query(now time.Time) (query, error) {
	f := trafficFlags{Flags: c.Flags, Selector: c.Selector, Service: c.Service, Last: c.Last, Since: c.Since, Until: c.Until}
	if c.Last && c.Selector == "" && c.Service == "" {
		last, err := lastRecording(c.Data)
		if err != nil {
			return query{}, err
		}
		if f.Selector, err = onlyServices(last.Services); err != nil {
			return query{}, err
		}
	}
	q, err := f.query(now)
	if err != nil || c.Direction == "" {
		return q, err
	}
	direction, err := selector.Equals("direction", c.Direction)
	if err != nil {
		return q, err
	}
	q.Selector = selector.Join(q.Selector, direction)
	return q, nil
}

// exporting is one run of export.
type exporting struct {
	env     *Env
	tapes   *tapeReader
	names   *grpc.Descriptors
	written int
	tokens  int // exchanges with a redacted credential
	leftOut map[string]int
	unread  error
	line    liveLine
	drawn   time.Time
}

// to opens what is written to. A file appears when it is whole.
func (e *exporting) to(name string, write func(io.Writer) error) (err error) {
	if name == "-" {
		return write(e.env.Stdout)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".export-*") // mode 0600: recorded traffic is private
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (e *exporting) write(ctx context.Context, format string, w io.Writer, rows []events.Row) error {
	out, err := formats.NewWriter(format, w, service.Version().Version)
	if err != nil {
		return err
	}
	defer e.line.clear()
	for n, r := range rows {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := e.one(ctx, out, r); err != nil {
			return err
		}
		if now := time.Now(); now.Sub(e.drawn) > 100*time.Millisecond {
			e.drawn = now
			e.line.draw(fmt.Sprintf("  %d of %s", n+1, plural(len(rows), "exchange")))
		}
	}
	return out.Close()
}

func (e *exporting) one(ctx context.Context, out formats.Writer, r events.Row) error {
	x, err := e.tapes.exchange(ctx, r)
	if err != nil { // hides itself only
		e.leftOut["can't be read"]++
		e.unread = err
		return nil
	}
	why, err := e.put(ctx, out, r, x)
	if err != nil {
		return err
	}
	if why != "" {
		e.leftOut[why]++
		return nil
	}
	e.written++
	if slices.ContainsFunc(x.Redactions, func(m *events.Redaction) bool { return strings.HasPrefix(m.Place, "request.") }) {
		e.tokens++
	}
	return nil
}

// put writes one, a call of gRPC with its messages where the format has room.
func (e *exporting) put(ctx context.Context, out formats.Writer, r events.Row, x *events.Exchange) (leftOut string, err error) {
	calls, ok := out.(formats.CallWriter)
	if !ok || x.Protocol != grpc.Name || x.Request == nil {
		return out.Write(x)
	}
	messages, err := e.tapes.source.messages(ctx, r, x)
	if err != nil {
		e.unread = err
		return "can't be read", nil
	}
	if len(messages) == 0 {
		messages = grpc.Messages(x, nil)
	}
	return "", calls.WriteCall(x, messagesJSON(callMessages(e.names, r.Path, messages)))
}

// report goes to the terminal beside the file, which may be standard output.
func (e *exporting) report(name string) {
	w := e.env.Stderr
	where := ""
	if name != "-" {
		where = " to " + name
	}
	fmt.Fprintf(w, "exported %s%s\n", plural(e.written, "exchange"), where)
	for _, reason := range slices.Sorted(maps.Keys(e.leftOut)) {
		fmt.Fprintf(w, "  left out: %s (%s)\n", plural(e.leftOut[reason], "exchange"), printable([]byte(reason)))
	}
	if e.tokens > 0 {
		fmt.Fprintf(w, "  %s with a credential that was not recorded: td1_… stands in its place\n", plural(e.tokens, "request"))
	}
}
