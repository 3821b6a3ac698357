// Command bench compares capture with what does a part of its work: bare
// relays, proxies that record nothing, and recorders of others. All sides lead
// to the same origin, run in one run, in turns, each in a process of its own.
//
// Run it with `make bench-capture`. PARTS names some of the parts, ROUNDS and
// DURATION say how often and how long each side is measured; capture/bench/
// peers.sh installs the peers. It needs Linux (/proc).
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"tapedeck/internal/benchtest"
)

type part struct {
	name  string
	title string
	run   func(context.Context, *lab, io.Writer) error
}

var parts = []part{
	{"throughput", "1 KiB JSON, 64 keep-alive connections", throughput},
	{"tls", "the same, with TLS on both sides", tlsBoth},
	{"http2", "1 KiB JSON, HTTP/2 in clear, 4 connections of 100 streams", http2Streams},
	{"latency", "1 KiB JSON at 2,000 requests/s", latency},
	{"redaction", "CPU with and without redaction", redaction},
	{"grpc", "unary gRPC, 4 connections of 16 calls", grpcUnary},
	{"bodies", "answers of 1 MiB, 8 connections", bodies},
	{"connections", "1,000 used connections, 10,000 idle ones", connections},
	{"soak", "very many exchanges", soak},
}

func main() {
	var s settings
	flag.StringVar(&s.tapedeck, "tapedeck", "bin/tapedeck", "the binary to measure")
	flag.StringVar(&s.peers, "peers", ".build/peers", "folder of the peers that capture/bench/peers.sh built")
	flag.StringVar(&s.profiles, "profiles", "", "folder for a CPU profile of each tapedeck side; default: none are taken")
	flag.IntVar(&s.rounds, "rounds", 3, "turns of each side")
	flag.DurationVar(&s.duration, "duration", 10*time.Second, "of each turn")
	flag.Int64Var(&s.soak, "soak", 2_000_000, "exchanges of the soak")
	chosen := flag.String("parts", "", "parts to run, with commas: "+strings.Join(partNames(), ", ")+"; default: all")
	s.sides = regexp.MustCompile("")
	flag.Func("sides", "measure only sides whose name matches this regular expression", func(text string) (err error) {
		s.sides, err = regexp.Compile(text)
		return err
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if flag.Arg(0) == "role" && flag.NArg() > 1 {
		err = role(ctx, flag.Arg(1), flag.Args()[2:])
	} else {
		err = run(ctx, s, *chosen)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func partNames() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// roles are what this program's own children do; each checks nothing that it
// is told.
var roles = map[string]struct {
	args int
	run  func(ctx context.Context, a []string) error
}{
	"broker":       {2, func(ctx context.Context, a []string) error { return benchtest.Broker(ctx, a[0], a[1]) }},
	"origin":       {5, func(ctx context.Context, a []string) error { return originRole(ctx, a[0], a[1], a[2], a[3], a[4]) }},
	"relay":        {2, func(ctx context.Context, a []string) error { return relayRole(ctx, a[0], a[1]) }},
	"tlsrelay":     {4, func(ctx context.Context, a []string) error { return tlsRelayRole(ctx, a[0], a[1], a[2], a[3]) }},
	"reverseproxy": {3, func(ctx context.Context, a []string) error { return reverseProxyRole(ctx, a[0], a[1], a[2]) }},
	"load":         {1, func(ctx context.Context, a []string) error { return loaderRole(ctx, a[0]) }},
}

func role(ctx context.Context, name string, args []string) error {
	r, ok := roles[name]
	if !ok || len(args) != r.args {
		return fmt.Errorf("no role %s with %d arguments", name, len(args))
	}
	return r.run(ctx, args)
}

func run(ctx context.Context, s settings, chosen string) error {
	wanted := partNames()
	if chosen != "" {
		wanted = strings.Split(chosen, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(partNames(), name) {
			return fmt.Errorf("no part %q: there are %s", name, strings.Join(partNames(), ", "))
		}
	}
	l, err := openLab(ctx, s)
	if err != nil {
		return err
	}
	defer l.close()
	fmt.Printf("%s, %d CPUs, %s, %d rounds of %s\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), s.rounds, s.duration)
	for _, p := range parts {
		if !slices.Contains(wanted, p.name) {
			continue
		}
		fmt.Printf("\n### %s: %s\n\n", p.name, p.title)
		if err := p.run(ctx, l, os.Stdout); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// compare measures sides in turns and prints their table.
func compare(ctx context.Context, l *lab, out io.Writer, sides []side, w load) (summaries, error) {
	sides = slices.DeleteFunc(sides, func(s side) bool { return !l.sides.MatchString(s.name) })
	samples, missing, err := rounds(ctx, l, sides, w)
	if err != nil {
		return nil, err
	}
	return printTable(out, sides, samples, missing), nil
}
