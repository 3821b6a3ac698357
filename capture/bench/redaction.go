package main

import (
	"context"
	"io"
)

// redaction: what it costs to replace credentials, for requests that have
// some and for requests that have none.
func redaction(ctx context.Context, l *lab, out io.Writer) error {
	with := func(name, rules string, credentials bool) side {
		return deck{name: name, pressure: "block", vary: func(w *load) { w.Credentials = credentials },
			flags: func(l *lab, address string) []string {
				return []string{"--redact", rules, "--inbound", address + "=" + l.clear}
			}}.side()
	}
	sides := []side{with("off", "off", false), with("headers", "headers", false),
		with("off, credentials sent", "off", true), with("headers, credentials sent", "headers", true)}
	all, err := compare(ctx, l, out, sides, load{Connections: 64, Duration: l.duration, Prefix: small, Paths: 1, Body: smallBody})
	if err != nil {
		return err
	}
	printBars(out,
		atMost("CPU µs per exchange, header rules", all.of("headers").cpu, 45),
		atMost("CPU µs per exchange, header rules, credentials sent", all.of("headers, credentials sent").cpu, 45),
		atMost("µs that the rules add", all.of("headers").cpu-all.of("off").cpu, 10).goal(),
		atMost("µs that the rules add, credentials sent", all.of("headers, credentials sent").cpu-all.of("off, credentials sent").cpu, 10).goal())
	return nil
}
