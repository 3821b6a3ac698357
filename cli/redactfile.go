package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"tapedeck/capture/redact"
	"tapedeck/cli/formats"
	"tapedeck/events"
	"tapedeck/internal/service"
)

type redactFile struct {
	redactRules
	keyFlags
	GRPCDescriptors []string `name:"grpc-descriptors" env:"TAPEDECK_GRPC_DESCRIPTORS" sep:"," placeholder:"FILE" help:"Redact fields of gRPC by their names in this FileDescriptorSet, beside those that capture has kept in --data. Repeatable."`

	Last bool   `help:"Of the folder IN only the last recording."`
	In   string `arg:"" placeholder:"IN" help:"What to read: a HAR, GoReplay or pcap file, a tape, or an archive: a folder (that of --data, too) or s3://…; - is standard input."`
	Out  string `arg:"" placeholder:"OUT" help:"What to write: HAR, or by its ending curl (.sh) or k6 (.js); a tape of a tape; a new archive of an archive; - is standard output."`
}

func (c *redactFile) Run(ctx context.Context, env *Env) error {
	rules, err := c.load()
	if err != nil {
		return err
	}
	keys, err := c.open()
	if err != nil {
		return err
	}
	engines, err := redact.NewOffline(keys, rules, time.Now())
	if err != nil {
		return service.Hint(err, "wait, or put a key without a time into the file")
	}
	named := descriptorFlags{GRPCDescriptors: c.GRPCDescriptors}
	known, err := named.open(ctx, c.Data)
	if err != nil {
		return err
	}
	n, err := c.run(ctx, env, engines.WithSchemas(known.Message))
	if err != nil {
		return fmt.Errorf("redact %s: %w", c.In, err)
	}
	fmt.Fprintf(env.Stderr, "redacted %d exchanges\n", n)
	return nil
}

func (c *redactFile) run(ctx context.Context, env *Env, engines *redact.Offline) (exchanges int, err error) {
	kind, err := kindOf(c.In)
	switch {
	case err != nil:
		return 0, err
	case kind == inArchive:
		return c.archive(ctx, engines)
	case c.Last:
		return 0, service.Hint(fmt.Errorf("--last: it is a file"), "--last takes a folder that was recorded into, e.g. .tapedeck")
	case kind == inTape:
		return c.tape(ctx, engines)
	}
	return c.file(ctx, env, engines)
}

// file redacts a file of another tool, or one that we exported.
func (c *redactFile) file(ctx context.Context, env *Env, engines *redact.Offline) (exchanges int, err error) {
	out, err := createOutput(c.Out, env.Stdout)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	format := formats.ByEnding(c.Out)
	if !slices.Contains(formats.Writable, format) {
		format = formats.HAR
	}
	w, err := formats.NewWriter(format, out, service.Version().Version)
	if err != nil {
		return 0, err
	}
	err = eachExchange(ctx, c.In, env, func(x *events.Exchange) error {
		e, err := engines.Engine(x.RedactionKeyId, nil)
		if err != nil {
			return service.Hint(fmt.Errorf("exchange %d: %w", exchanges+1, err), redact.MissingKeyHint)
		}
		e.Exchange(x)
		exchanges++
		_, err = w.Write(x)
		return err
	})
	if err == nil {
		err = w.Close()
	}
	return exchanges, err
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
