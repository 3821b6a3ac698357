package main

import (
	"context"
	"fmt"
	"io"
)

// latency: 2,000 requests/s at exact times on 64 connections, far from what
// any side can do.
func latency(ctx context.Context, l *lab, out io.Writer) error {
	sides := []side{direct(clearOrigin), bareRelay, haproxy, nginx, reverseProxy("h1"),
		deck{name: "tapedeck drop", pressure: "drop"}.side(), deck{name: "tapedeck block", pressure: "block"}.side()}
	all, err := compare(ctx, l, out, sides, load{Connections: 64, Duration: l.duration, Rate: 2000, Prefix: small, Paths: 1, Body: smallBody})
	if err != nil {
		return err
	}
	base := all.of("bare Go relay")
	fmt.Fprintln(out, "| side | p50 over the relay, µs | p99 over the relay, µs | p99 from the intended time, µs |\n|---|--:|--:|--:|")
	for _, side := range sides {
		if s, ok := all[side.name]; ok {
			fmt.Fprintf(out, "| %s | %+.0f | %+.0f | %.0f |\n", side.name, s.p50-base.p50, s.p99-base.p99, s.late99)
		}
	}
	fmt.Fprintln(out)
	var bars []bar
	for _, name := range []string{"drop", "block"} {
		ours := all.of("tapedeck " + name)
		bars = append(bars, atMost(name+", µs added to p50", ours.p50-base.p50, 100), atMost(name+", µs added to p99", ours.p99-base.p99, 500))
	}
	printBars(out, bars...)
	return nil
}
