package main

import (
	"context"
	"fmt"
	"io"
)

// bodies: answers of 1 MiB, all of them kept.
func bodies(ctx context.Context, l *lab, out io.Writer) error {
	sides := []side{direct(clearOrigin), bareRelay, haproxy,
		deck{name: "tapedeck drop", pressure: "drop"}.side(), deck{name: "tapedeck block", pressure: "block"}.side()}
	all, err := compare(ctx, l, out, sides, load{Connections: 8, Duration: l.duration, Prefix: large, Paths: 1, Body: largeBody})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "| side | MB/s |\n|---|--:|")
	for _, side := range sides {
		if s, ok := all[side.name]; ok {
			fmt.Fprintf(out, "| %s | %.0f |\n", side.name, s.rate*largeBody/1e6)
		}
	}
	fmt.Fprintln(out)
	printBars(out,
		atMost("exchanges missing, block", all.of("tapedeck block").uncounted(), 0),
		atMost("exchanges in no count, drop", all.of("tapedeck drop").uncounted(), 0))
	return nil
}
