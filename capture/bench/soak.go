package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// point is a sample of memory.
type point struct {
	at     time.Duration
	memory int64 // bytes
}

// soak: very many exchanges through one process in block mode, with the
// stream read meanwhile.
func soak(ctx context.Context, l *lab, out io.Writer) error {
	t, err := deck{name: "tapedeck block", pressure: "block"}.start(ctx, l)
	if err != nil {
		return err
	}
	type result struct {
		counts
		err error
	}
	recorded := make(chan result, 1)
	go func() {
		c, err := t.recorded(ctx, l.soak)
		recorded <- result{c, err}
	}()
	stop, points := make(chan struct{}), make(chan []point, 1)
	go func() { points <- sampleMemory(t, stop) }()
	a, err := runLoad(ctx, load{Address: t.address, Connections: 64, Requests: l.soak, Prefix: small, Paths: 10_000, Body: smallBody})
	close(stop)
	cpu, stopped := t.process.Stop()
	if err != nil {
		return fmt.Errorf("%w%s", err, t.said())
	}
	if stopped != nil {
		return stopped
	}
	if a.Failed > 0 {
		return fmt.Errorf("%d requests failed: %s", a.Failed, a.First)
	}
	r := <-recorded
	if r.err != nil {
		return r.err
	}
	printSoak(out, l.soak, a, r.counts, cpu, <-points)
	return nil
}

func printSoak(out io.Writer, n int64, a *answers, c counts, cpu time.Duration, points []point) {
	fmt.Fprintf(out, "%d sent = %d in tapes, in %.0f s: %.0f/s, %.1f µs of CPU each.\n\n", n, c.Rows, a.Elapsed.Seconds(), a.rate(), float64(cpu.Microseconds())/float64(n))
	fmt.Fprintln(out, "| of the exchanges | RSS MiB |\n|--:|--:|")
	for tenth := 1; tenth <= 10; tenth++ {
		p := points[(len(points)-1)*tenth/10]
		fmt.Fprintf(out, "| %d %% | %.1f |\n", tenth*10, float64(p.memory)/(1<<20))
	}
	fmt.Fprintln(out)
	perMillion := slope(points[len(points)/2:]) / (1 << 20) / (a.rate() / 1e6)
	printBars(out, atMost("growth in the second half, MiB per million exchanges", perMillion, 1))
}

// sampleMemory looks every half second.
func sampleMemory(t *turn, stop <-chan struct{}) []point {
	var points []point
	began := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		_, now := t.process.Memory()
		points = append(points, point{time.Since(began), now})
		select {
		case <-stop:
			return points
		case <-tick.C:
		}
	}
}

// slope is the least squares fit, in bytes a second.
func slope(points []point) float64 {
	var n, x, y, xx, xy float64
	for _, p := range points {
		t, m := p.at.Seconds(), float64(p.memory)
		n, x, y, xx, xy = n+1, x+t, y+m, xx+t*t, xy+t*m
	}
	if d := n*xx - x*x; d != 0 {
		return (n*xy - x*y) / d
	}
	return 0
}
