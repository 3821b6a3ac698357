package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"tapedeck/capture/redact"
	"tapedeck/cli/formats"
	"tapedeck/events"
	"tapedeck/internal/service"
)

type redactCommand struct {
	File redactFile `cmd:"" default:"withargs" help:"Redact a file of recorded traffic."`
	Fill redactFill `cmd:"" help:"Fill values that you know into a file of secrets, each behind its token."`
	Test redactTest `cmd:"" help:"Show what becomes of one body, and where."`
	Scan redactScan `cmd:"" help:"Propose rules for what is found in a file: counts, no values."`
}

// redactRules are the rules that the commands share.
type redactRules struct {
	Rules string `env:"TAPEDECK_REDACT_RULES" placeholder:"FILE" help:"Rules in YAML, beside those built in (docs/redaction.md)."`
}

func (r redactRules) load() (*redact.Rules, error) {
	if r.Rules == "" {
		return &redact.Rules{}, nil
	}
	rules, err := redact.LoadRules(r.Rules)
	if err != nil {
		return nil, service.Hint(err, "docs/redaction.md has the form of a rule file")
	}
	return rules, nil
}

type redactFile struct {
	redactRules
	In   string `arg:"" placeholder:"IN" help:"File to read: HAR, GoReplay or pcap; - is standard input."`
	Out  string `arg:"" placeholder:"OUT" help:"File to write: HAR, or by its ending curl (.sh) or k6 (.js); - is standard output."`
	Data string `placeholder:"DIR" env:"TAPEDECK_DATA" default:".tapedeck" help:"Folder of the redaction key."`
	Key  string `name:"redaction-key" placeholder:"FILE" help:"File of the redaction key, made at first use. Default: redaction.key in --data."`
}

func (c *redactFile) Run(ctx context.Context, env *Env) error {
	rules, err := c.load()
	if err != nil {
		return err
	}
	key, err := redact.OpenKey(cmp.Or(c.Key, filepath.Join(c.Data, "redaction.key")))
	if err != nil {
		return service.Hint(err, "name a file with --redaction-key FILE")
	}
	e := redact.NewWith(key, rules, nil)
	out, err := createOutput(c.Out, env.Stdout)
	if err != nil {
		return fmt.Errorf("redact: %w", err)
	}
	defer out.Close()
	format := formats.ByEnding(c.Out)
	if !slices.Contains(formats.Writable, format) {
		format = formats.HAR
	}
	w, err := formats.NewWriter(format, out, service.Version().Version)
	if err != nil {
		return fmt.Errorf("redact: %w", err)
	}
	n := 0
	err = eachExchange(ctx, c.In, env, func(x *events.Exchange) error {
		e.Exchange(x)
		n++
		_, err := w.Write(x)
		return err
	})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("redact %s: %w", c.In, err)
	}
	fmt.Fprintf(env.Stderr, "redacted %d exchanges\n", n)
	return nil
}

func createOutput(name string, stdout io.Writer) (io.WriteCloser, error) {
	if name == "-" {
		return nopCloser{stdout}, nil
	}
	return os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// eachExchange reads a file of recorded traffic.
func eachExchange(ctx context.Context, name string, env *Env, do func(*events.Exchange) error) error {
	in := env.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	for x, err := range formats.Read("", name, in, formats.Options{MaxBody: -1, Protocols: protocols()}) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = do(x)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type redactTest struct {
	redactRules
	Type string `default:"application/json" placeholder:"TYPE" help:"Content type of the body. Default: ${default}."`
	File string `arg:"" optional:"" default:"-" help:"File with the body; - is standard input (default)."`
}

// Run redacts under a key that is thrown away: its tokens mean nothing.
func (c *redactTest) Run(_ context.Context, env *Env) error {
	rules, err := c.load()
	if err != nil {
		return err
	}
	in := env.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("redact test: %w", err)
		}
		defer f.Close()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, 8<<20))
	if err != nil {
		return fmt.Errorf("redact test: %w", err)
	}
	x := &events.Exchange{Request: &events.Request{Method: "POST", Target: "/",
		Headers: []*events.Field{{Name: []byte("Content-Type"), Value: []byte(c.Type)}}, Body: &events.Body{Data: body, Size: int64(len(body)), Kept: int64(len(body))}}}
	redact.NewWith(redact.ThrowawayKey(), rules, nil).Exchange(x)
	fmt.Fprintf(env.Stdout, "%s\n", x.Request.Body.Data)
	for _, r := range x.Redactions {
		fmt.Fprintf(env.Stderr, "%s: %s, %s\n", r.Place, r.Class, r.Action)
	}
	if len(x.Redactions) == 0 {
		fmt.Fprintln(env.Stderr, "nothing was redacted")
	}
	return nil
}

type redactScan struct {
	redactRules
	File string `arg:"" help:"File to read: HAR, GoReplay or pcap; - is standard input."`
}

var (
	anyIndex  = regexp.MustCompile(`\[\d+\]`)
	bodyPlace = regexp.MustCompile(`^(?:request|response)\.body\.(.+)$`)
)

// Run counts, by place, what redaction finds, and writes rules for the places
// in bodies: with them a place is replaced whatever its next value looks like.
func (c *redactScan) Run(ctx context.Context, env *Env) error {
	rules, err := c.load()
	if err != nil {
		return err
	}
	e := redact.NewWith(redact.ThrowawayKey(), rules, nil)
	type found struct{ place, class string }
	counts := map[found]int{}
	n := 0
	err = eachExchange(ctx, c.File, env, func(x *events.Exchange) error {
		n++
		x.Redactions = nil
		e.Exchange(x)
		for _, r := range x.Redactions {
			if r.Action == redact.ActionDecoded {
				continue
			}
			counts[found{anyIndex.ReplaceAllString(r.Place, "[*]"), r.Class}]++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("redact scan %s: %w", c.File, err)
	}
	all := slices.SortedFunc(maps.Keys(counts), func(a, b found) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(a.place, b.place))
	})
	fmt.Fprintf(env.Stdout, "# of %d exchanges; what is in headers and queries is found by its name or looks again\nrules:\n", n)
	for _, f := range all {
		if m := bodyPlace.FindStringSubmatch(f.place); m != nil {
			fmt.Fprintf(env.Stdout, "  - {path: %q, class: %s} # %d times in %s\n", m[1], f.class, counts[f], f.place)
		} else {
			fmt.Fprintf(env.Stdout, "  # %s: %s, %d times\n", f.place, f.class, counts[f])
		}
	}
	return nil
}
