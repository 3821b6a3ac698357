package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"tapedeck/capture/redact"
	"tapedeck/events"
	"tapedeck/internal/service"
)

type redactCommand struct {
	File redactFile `cmd:"" default:"withargs" help:"Redact recorded traffic: a file, a tape, or a folder of them."`
	Fill redactFill `cmd:"" help:"Fill values that you know into a file of secrets, each behind its token."`
	Test redactTest `cmd:"" help:"Show what becomes of one body, and where."`
	Scan redactScan `cmd:"" help:"Propose rules for what looks sensitive: counts, no values."`
	Key  redactKey  `cmd:"" help:"List the keys of tokens, turn to a new one, destroy old ones."`
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
