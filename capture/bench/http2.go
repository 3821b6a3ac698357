package main

import (
	"context"
	"io"
)

// http2Streams: HTTP/2 in clear, 100 streams on each of 4 connections, beside
// our own figure for HTTP/1.1.
func http2Streams(ctx context.Context, l *lab, out io.Writer) error {
	const connections, streams = 4, 100
	first := load{Connections: 64, Duration: l.duration, Prefix: small, Paths: 1, Body: smallBody}
	multiplexed := first
	multiplexed.Connections, multiplexed.Streams = connections, streams
	h1 := deck{name: "tapedeck block, HTTP/1.1", pressure: "block", vary: func(w *load) { *w = first }}.side()
	sides := []side{direct(clearOrigin), bareRelay, reverseProxy("h2"),
		deck{name: "tapedeck drop, HTTP/2", pressure: "drop"}.side(),
		deck{name: "tapedeck block, HTTP/2", pressure: "block"}.side(), h1}
	all, err := compare(ctx, l, out, sides, multiplexed)
	if err != nil {
		return err
	}
	peer, own := all.of("Go h2 ReverseProxy").rate, all.of("tapedeck block, HTTP/1.1").rate
	drop, block := all.of("tapedeck drop, HTTP/2").rate, all.of("tapedeck block, HTTP/2").rate
	printBars(out,
		atLeast("block / our HTTP/1.1", block/own, 0.5), atLeast("drop / our HTTP/1.1", drop/own, 0.5),
		atLeast("block / Go h2 ReverseProxy", block/peer, 1.5), atLeast("drop / Go h2 ReverseProxy", drop/peer, 1.5))
	return nil
}
