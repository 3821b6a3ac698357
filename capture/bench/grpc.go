package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
)

// grpcUnary: health checks of a bare grpc-go server, called by ghz.
func grpcUnary(ctx context.Context, l *lab, out io.Writer) error {
	ghz, err := l.program("ghz")
	if err != nil {
		fmt.Fprintf(out, "ghz: %v\n\n", err)
		return nil
	}
	protoset := filepath.Join(l.folder, "health.protoset")
	if err := writeHealthService(protoset); err != nil {
		return err
	}
	tap := func(name, pressure string) side {
		return deck{name: name, pressure: pressure, flags: func(l *lab, address string) []string {
			return []string{"--inbound", address + "=" + l.rpc}
		}}.side()
	}
	sides := []side{
		direct(func(l *lab) string { return l.rpc }),
		ownRole("bare Go relay", "relay", func(l *lab) []string { return []string{l.rpc} }),
		tap("tapedeck drop", "drop"), tap("tapedeck block", "block"),
	}
	all, err := compare(ctx, l, out, sides, load{Ghz: ghz, Protoset: protoset, Connections: 4, Streams: 16, Duration: l.duration})
	if err != nil {
		return err
	}
	relay := all.of("bare Go relay").rate
	printBars(out,
		atLeast("drop / bare Go relay", all.of("tapedeck drop").rate/relay, 0.6).goal(),
		atLeast("block / bare Go relay", all.of("tapedeck block").rate/relay, 0.6).goal())
	return nil
}
