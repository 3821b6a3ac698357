package main

import (
	"context"
	"io"
)

// redaction: what it costs to replace credentials (headers) or all that is
// known to be sensitive (on), for requests that have some and for others.
func redaction(ctx context.Context, l *lab, out io.Writer) error {
	with := func(name, rules string, credentials bool) side {
		return deck{name: name, pressure: "block", vary: func(w *load) { w.Credentials = credentials },
			flags: func(l *lab, address string) []string {
				return []string{"--redact", rules, "--inbound", address + "=" + l.clear}
			}}.side()
	}
	sides := []side{with("off", "off", false), with("headers", "headers", false), with("on", "on", false),
		with("off, credentials sent", "off", true), with("headers, credentials sent", "headers", true), with("on, credentials sent", "on", true)}
	all, err := compare(ctx, l, out, sides, load{Connections: 64, Duration: l.duration, Prefix: small, Paths: 1, Body: smallBody})
	if err != nil {
		return err
	}
	printBars(out,
		atMost("CPU µs per exchange, header rules", all.of("headers").cpu, 45),
		atMost("CPU µs per exchange, header rules, credentials sent", all.of("headers, credentials sent").cpu, 45),
		atMost("CPU µs per exchange, all rules", all.of("on").cpu, 55),
		atLeast("requests/s with all rules against none", all.of("on").rate/all.of("off").rate, 0.85),
		atMost("µs that the rules add", all.of("headers").cpu-all.of("off").cpu, 10).goal(),
		atMost("µs that the rules add, credentials sent", all.of("headers, credentials sent").cpu-all.of("off, credentials sent").cpu, 10).goal())
	return nil
}
