package cli

import (
	"context"
	"fmt"

	"tapedeck/capture/redact"
	"tapedeck/events"
)

type redactScan struct {
	redactRules
	Last bool   `help:"Of the folder IN only the last recording."`
	In   string `arg:"" placeholder:"IN" help:"What to read: a HAR, GoReplay or pcap file, a tape, or an archive: a folder (that of --data, too) or s3://…; - is standard input."`
}

// Run proposes rules for what no rule knows yet.
func (c *redactScan) Run(ctx context.Context, env *Env) error {
	rules, err := c.load()
	if err != nil {
		return err
	}
	scan := redact.NewScan(rules)
	if err := c.each(ctx, env, scan.Add); err != nil {
		return fmt.Errorf("redact scan %s: %w", c.In, err)
	}
	return scan.WriteRules(env.Stdout)
}

func (c *redactScan) each(ctx context.Context, env *Env, do func(*events.Exchange)) error {
	kind, err := kindOf(c.In)
	if err != nil {
		return err
	}
	if kind == inFile {
		return eachExchange(ctx, c.In, env, func(x *events.Exchange) error { do(x); return nil })
	}
	var in *inTapes
	if kind == inTape {
		in, err = loneTape(ctx, c.In)
	} else {
		in, err = openTapes(ctx, c.In, c.Last)
	}
	if err != nil {
		return err
	}
	defer in.close()
	for t, err := range in.all {
		if err == nil {
			err = in.exchanges(ctx, t, do)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// exchanges are those of a tape, with whole bodies.
func (in *inTapes) exchanges(ctx context.Context, t *events.Tape, do func(*events.Exchange)) error {
	w := t.Header.Workload
	for record, err := range t.Records() {
		x := record.GetExchange()
		if err == nil && x == nil {
			continue
		}
		if err == nil {
			err = in.archive.Complete(ctx, events.Service{Cluster: w.Cluster, Namespace: w.Namespace, Service: w.Service}, x)
		}
		if err != nil {
			return fmt.Errorf("tape %s: %w", t.TapeID(), err)
		}
		do(x)
	}
	return nil
}
