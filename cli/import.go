package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/capture"
	"tapedeck/cli/formats"
	"tapedeck/events"
	"tapedeck/internal/service"
)

type importCommand struct {
	service.Flags `group:"Stores:"`
	Files         []string      `arg:"" name:"file" help:"Files to read, packed with gzip or not; - is standard input."`
	Format        string        `enum:",har,gor,pcap" default:"" placeholder:"FORMAT" help:"har, gor (GoReplay) or pcap (pcapng too). Default: what the file looks like."`
	Service       string        `env:"TAPEDECK_SERVICE" placeholder:"NAME" help:"Service whose traffic it is. Default: the current folder's name."`
	Version       string        `env:"TAPEDECK_VERSION" placeholder:"VERSION" help:"Version of the service."`
	Cluster       string        `env:"TAPEDECK_CLUSTER" default:"local" help:"Cluster of the service."`
	Namespace     string        `env:"TAPEDECK_NAMESPACE" default:"default" help:"Namespace of the service."`
	Instance      string        `env:"TAPEDECK_INSTANCE" default:"import" help:"Instance of the service."`
	Direction     string        `enum:"inbound,outbound" default:"inbound" help:"inbound: calls to the service; outbound: calls that it made. A file of tapedeck's own knows. Default: ${default}."`
	Port          []uint16      `placeholder:"PORT" help:"Port the service listens on: connections to it are inbound, all others outbound (pcap). Repeatable."`
	OpenAPI       []string      `name:"openapi" env:"TAPEDECK_OPENAPI" sep:"," placeholder:"[HOST=]FILE" help:"OpenAPI document whose paths are endpoints, as for capture. Repeatable."`
	MaxEndpoints  uint          `env:"TAPEDECK_MAX_ENDPOINTS" default:"5000" help:"Endpoints at most; what is new beyond that has the endpoint {overflow}. 0: no bound. Default: ${default}."`
	MaxBody       capture.Bytes `env:"TAPEDECK_MAX_BODY" default:"1MiB" placeholder:"SIZE" help:"Keep at most this of each body; 0 keeps all. Default: ${default}."`
	Redact        string        `env:"TAPEDECK_REDACT" default:"on" enum:"on,headers,off" help:"Replace what is sensitive by tokens, as capture does: on, headers or off. Default: ${default}."`
	RedactRules   string        `env:"TAPEDECK_REDACT_RULES" placeholder:"FILE" help:"Rules for --redact on, in YAML (docs/redaction.md)."`
	RedactionKey  string        `placeholder:"FILE" help:"File of the redaction key, made at first use. Default: redaction.key in --data."`
	Output        string        `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// Run reads the files, and brings their exchanges the way of captured ones:
// redacted, in tapes, over CAPTURED into archive and index.
func (c *importCommand) Run(ctx context.Context, env *Env) error {
	config := capture.Config{
		Service: c.Service, Version: c.Version, Cluster: c.Cluster, Namespace: c.Namespace, Instance: c.Instance,
		OpenAPI: c.OpenAPI, MaxEndpoints: c.MaxEndpoints, MaxBody: c.MaxBody, Redact: c.Redact, RedactRules: c.RedactRules, RedactionKey: c.RedactionKey,
	}
	named := recordCommand{Config: config}
	if err := named.fill(false); err != nil {
		return err
	}
	s, err := openStack(ctx, c.Flags, "", quiet(c.Flags, env))
	if err != nil {
		return err
	}
	defer s.close()
	i, err := c.begin(ctx, s, named.Config)
	if err != nil {
		return err
	}
	i.env = env
	failed := i.files(ctx, c)
	if err := i.finish(); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if err := i.remember(named.Service); err != nil {
		return err
	}
	return errors.Join(failed, i.report(c.Output))
}

// importing is one run of import.
type importing struct {
	env      *Env
	stack    *stack
	tapes    *capture.Import
	store    *recorder // archiver and indexer, unless they run elsewhere
	leftOut  map[string]int
	from, to time.Time // of the exchanges
	line     liveLine
	drawn    time.Time
}

func (c *importCommand) begin(ctx context.Context, s *stack, config capture.Config) (*importing, error) {
	if err := service.CheckStreams(ctx, s.js, events.StreamCaptured); err != nil {
		return nil, err
	}
	// The workers outlive an interrupt: what was read is kept.
	work := context.WithoutCancel(ctx)
	i := &importing{stack: s, store: &recorder{stack: s, workers: service.NewGroup(work)}, leftOut: map[string]int{}}
	source := "/tapedeck/import/" + events.NewID(time.Now()).String()
	var err error
	i.tapes, err = capture.NewImport(config, capture.Deps{Data: s.Data, Log: s.log}, func(w *events.Workload, tape events.ID, b []byte) error {
		return publishTape(work, s.js, source, w, tape, b)
	})
	if err != nil {
		return nil, err
	}
	if s.embedded != nil {
		err = i.store.startWorkers()
	}
	return i, err
}

// tapePatience is how long the stream may be full: the workers are behind.
const tapePatience = time.Minute

// publishTape brings a tape into CAPTURED.
func publishTape(ctx context.Context, js jetstream.JetStream, source string, w *events.Workload, tape events.ID, b []byte) error {
	subject := events.CapturedSubject(w)
	e, err := events.NewEvent(subject, source, tape.String(), w.Service, b)
	if err != nil {
		return fmt.Errorf("publish tape %s: %w", tape, err)
	}
	msg, err := events.Encode(subject, e)
	if err != nil {
		return fmt.Errorf("publish tape %s: %w", tape, err)
	}
	ctx, cancel := context.WithTimeout(ctx, tapePatience)
	defer cancel()
	for {
		_, err := js.PublishMsg(ctx, msg, jetstream.WithExpectStream(events.StreamCaptured))
		if err == nil {
			return nil
		}
		if !service.Sleep(ctx, 200*time.Millisecond) {
			return service.Hint(fmt.Errorf("publish tape %s: %w", tape, err), "is the stream full or the broker away? tapedeck admin doctor looks; what was imported before is kept")
		}
	}
}

// files reads each file. One that can't be read to its end does not keep the
// others out.
func (i *importing) files(ctx context.Context, c *importCommand) error {
	i.line = liveLine{env: i.env}
	defer i.line.clear()
	var failed error
	for _, name := range c.Files {
		err := i.file(ctx, c, name)
		if ctx.Err() != nil {
			return errors.Join(failed, fmt.Errorf("import %s: %w", name, context.Cause(ctx)))
		}
		if errors.Is(err, formats.ErrUnknown) {
			err = service.Hint(err, "name it with --format "+strings.Join(formats.Readable, ", --format "))
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("import %s: %w", name, err))
		}
	}
	return failed
}

func (i *importing) file(ctx context.Context, c *importCommand, name string) error {
	in, size, err := openImport(i.env, name)
	if err != nil {
		return err
	}
	defer in.Close()
	direction, err := events.ParseDirection(c.Direction)
	if err != nil {
		return err
	}
	read := &progressReader{r: in}
	options := formats.Options{
		Direction: direction, Ports: c.Port, MaxBody: cmp.Or(int64(c.MaxBody), -1), Protocols: protocols(),
		LeftOut: func(reason string) { i.leftOut[reason]++ }, Lost: i.tapes.Drop,
	}
	for x, err := range formats.Read(c.Format, name, read, options) {
		if err != nil {
			return err
		}
		i.saw(x)
		if err := i.tapes.Add(x); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		i.draw(name, read.n, size)
	}
	return nil
}

// openImport opens a file; size is 0 where it is not known.
func openImport(env *Env, name string) (in io.ReadCloser, size int64, err error) {
	if name == "-" {
		return io.NopCloser(env.Stdin), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, errors.Unwrap(err) // the caller names the file
	}
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	return f, size, nil
}

type progressReader struct {
	r io.Reader
	n int64
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	return n, err
}

func (i *importing) saw(x *events.Exchange) {
	at := time.Unix(0, x.Request.FirstByte).UTC()
	if i.from.IsZero() || at.Before(i.from) {
		i.from = at
	}
	if at.After(i.to) {
		i.to = at
	}
}

func (i *importing) draw(name string, read, size int64) {
	if now := time.Now(); now.Sub(i.drawn) > 100*time.Millisecond {
		i.drawn = now
		share := ""
		if size > 0 {
			share = fmt.Sprintf(", %d %% read", min(100*read/size, 100))
		}
		i.line.draw(fmt.Sprintf("  %s: %s%s", name, plural(int(i.tapes.Counts().Taped), "exchange"), share))
	}
}

// finish closes the last tape and waits until all are in their stores.
func (i *importing) finish() error {
	err := i.tapes.End()
	if i.stack.embedded != nil {
		err = errors.Join(err, drain(i.store.workers.Context(), i.stack))
	}
	i.store.workers.Stop()
	return errors.Join(err, i.store.workers.Wait())
}

// remember makes it what --last refers to. The end is exclusive.
func (i *importing) remember(name string) error {
	taped := int(i.tapes.Counts().Taped)
	if i.stack.embedded == nil || taped == 0 {
		return nil
	}
	return remember(i.stack.Data, recording{ID: i.tapes.Source().String(), From: i.from, To: i.to.Add(time.Millisecond), Services: []string{name}, Exchanges: taped})
}

// importReport is what -o json prints.
type importReport struct {
	Exchanges uint64            `json:"exchanges"`
	Lost      map[string]uint64 `json:"lost,omitempty"`
	LeftOut   map[string]int    `json:"left_out,omitempty"`
	From      *time.Time        `json:"from,omitempty"`
	To        *time.Time        `json:"to,omitempty"`
	Source    events.ID         `json:"source"`
}

func (i *importing) report(output string) error {
	counts := i.tapes.Counts()
	if output == "json" {
		r := importReport{Exchanges: counts.Taped, Lost: counts.Dropped, LeftOut: i.leftOut, Source: i.tapes.Source()}
		if counts.Taped > 0 {
			r.From, r.To = &i.from, &i.to
		}
		return printJSON(i.env.Stdout, r)
	}
	w := i.env.Stdout
	fmt.Fprintf(w, "imported %s", plural(int(counts.Taped), "exchange"))
	if counts.Taped > 0 {
		fmt.Fprintf(w, " of %s to %s", i.from.Local().Format("2006-01-02 15:04:05"), i.to.Local().Format("2006-01-02 15:04:05"))
	}
	fmt.Fprintln(w)
	for _, reason := range slices.Sorted(maps.Keys(counts.Dropped)) {
		fmt.Fprintf(w, "  lost: %s (%s)\n", plural(int(counts.Dropped[reason]), "exchange"), reason)
	}
	for _, reason := range slices.Sorted(maps.Keys(i.leftOut)) {
		fmt.Fprintf(w, "  left out: %s, %d times\n", printable([]byte(reason)), i.leftOut[reason])
	}
	if counts.Taped > 0 && i.stack.embedded != nil {
		data := i.stack.Data
		fmt.Fprintf(w, "\nnext:\n  %s\n  %s\n", nextOn(data, "traffic", "list", "--last"), nextOn(data, "scenario", "create", "NAME", "--last"))
	}
	return nil
}
