package main

import (
	"context"
	"io"
)

// throughput: 1 KiB of JSON over 64 keep-alive connections, as fast as
// answers come.
func throughput(ctx context.Context, l *lab, out io.Writer) error {
	absolute := func(l *lab, w *load) { w.Absolute, w.Host = true, l.clear }
	manyPaths := func(w *load) { w.Paths = 10_000 }
	sides := []side{
		direct(clearOrigin), bareRelay, haproxy, nginx, reverseProxy("h1"),
		deck{name: "tapedeck drop, 1 path", pressure: "drop"}.side(),
		deck{name: "tapedeck block, 1 path", pressure: "block"}.side(),
		deck{name: "tapedeck drop, 10,000 paths", pressure: "drop", vary: manyPaths}.side(),
		deck{name: "tapedeck block, 10,000 paths", pressure: "block", vary: manyPaths}.side(),
		goreplay, mitmproxy,
		hoverfly("hoverfly capture, 1 path", 1, absolute), hoverfly("hoverfly capture, 10,000 paths", 10_000, absolute),
	}
	all, err := compare(ctx, l, out, sides, load{Connections: 64, Duration: l.duration, Prefix: small, Paths: 1, Body: smallBody})
	if err != nil {
		return err
	}
	ours, many, drop := all.of("tapedeck block, 1 path"), all.of("tapedeck block, 10,000 paths"), all.of("tapedeck drop, 1 path")
	printBars(out,
		atMost("exchanges missing, block", ours.uncounted()+many.uncounted(), 0),
		atMost("exchanges in no count, drop", drop.uncounted()+all.of("tapedeck drop, 10,000 paths").uncounted(), 0),
		atLeast("block / Go ReverseProxy", ours.rate/all.of("Go ReverseProxy").rate, 1.2),
		atLeast("drop / Go ReverseProxy", drop.rate/all.of("Go ReverseProxy").rate, 1.2),
		atLeast("block / bare Go relay", ours.rate/all.of("bare Go relay").rate, 0.6),
		atLeast("drop / bare Go relay", drop.rate/all.of("bare Go relay").rate, 0.6),
		atLeast("block / haproxy", ours.rate/all.of("haproxy").rate, 0.7).goal(),
		atLeast("drop / haproxy", drop.rate/all.of("haproxy").rate, 0.7).goal(),
		atMost("CPU µs per exchange, block", ours.cpu, 32).goal(),
		atMost("CPU µs per exchange, drop", drop.cpu, 32).goal(),
		atLeast("10,000 paths / 1 path, block", many.rate/ours.rate, 0.95).goal(),
	)
	return nil
}
