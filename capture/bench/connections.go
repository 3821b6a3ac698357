package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const manyConnections, idleConnections = 1000, 10_000

// connections: memory with 1,000 that are used, and with 10,000 keep-alive
// ones that are not.
func connections(ctx context.Context, l *lab, out io.Writer) error {
	drop, block := deck{name: "tapedeck drop", pressure: "drop"}.side(), deck{name: "tapedeck block", pressure: "block"}.side()
	sides := []side{bareRelay, drop, block}
	all, err := compare(ctx, l, out, sides, load{Connections: manyConnections, Duration: l.duration, Prefix: small, Paths: 1, Body: smallBody})
	if err != nil {
		return err
	}
	idle, err := countIdle()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "| side | idle connections | RSS MiB | KiB each |\n|---|--:|--:|--:|\n")
	// The bare relay would need six files for each: it splices through pipes.
	for _, s := range []side{drop, block} {
		none, all, err := idleMemory(ctx, l, s, idle)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(out, "| %s | %d | %.0f | %.1f |\n", s.name, idle, float64(all)/(1<<20), float64(all-none)/(1<<10)/float64(idle))
	}
	fmt.Fprintln(out)
	printBars(out,
		atMost(fmt.Sprintf("RSS MiB at %d connections, drop", manyConnections), all.of("tapedeck drop").memory, 64),
		atMost(fmt.Sprintf("RSS MiB at %d connections, block", manyConnections), all.of("tapedeck block").memory, 64))
	return nil
}

// countIdle is how many the limit of open files allows: a relay needs two of
// them for each.
func countIdle() (int, error) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return min(idleConnections, (int(limit.Max)-500)/2), err
}

// idleMemory is what a side has in memory before and while n connections that
// have asked once are open.
func idleMemory(ctx context.Context, l *lab, s side, n int) (none, all int64, err error) {
	t, err := s.start(ctx, l)
	if err != nil {
		return 0, 0, err
	}
	_, none = t.process.Memory()
	all, err = whileIdle(ctx, l, t, load{Address: t.address, Connections: n, Idle: true, Prefix: small, Paths: 1, Body: smallBody})
	if _, stopped := t.process.Stop(); err == nil && s.ours {
		err = stopped
	}
	if err == nil && t.recorded != nil {
		_, err = t.recorded(ctx, int64(n))
	}
	return none, all, err
}

// whileIdle returns the memory some seconds after the last connection opened.
func whileIdle(ctx context.Context, l *lab, t *turn, w load) (int64, error) {
	text, err := json.Marshal(w)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, l.self, "role", "load", string(text))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "open" {
		return 0, fmt.Errorf("the loader said %q: %v", line, err)
	}
	select {
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
	}
	_, now := t.process.Memory()
	return now, ctx.Err()
}
