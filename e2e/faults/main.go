// Command faults kills, pauses and starves the services under load and then
// counts: it is how the promises about loss are held.
//
// It runs two captures, three archivers and indexers, JetStream, an S3 server
// and a private TimescaleDB, each a process, with links between them that can be
// cut and slowed, and clients whose answered requests are noted.
// For FAULT_TIME (default 2m) faults drawn from FAULT_SEED (default: the time)
// hit them. Then everything is healed and must be even within two minutes:
//
//   - every answered request is once in the archive and once in the index, with
//     its bytes; only a killed capture may lose what it had not stored yet
//   - what was dropped is counted in the ledger, and each source's account adds up
//   - what was sent that is no tape is once among the dead letters,
//     with the reason, and nothing else is; no client saw an error of ours but on
//     connections of a killed capture, and no service panicked
//
// With -power all stores lie on one file system, everything is stopped at random
// instants, and goes on with what had reached the disk.
//
// At the end it damages archive and index itself: a check that does not notice
// fails the run. Run it with `make test-faults`; as root it fills a disk, too.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"tapedeck/internal/broker"
)

type config struct {
	tapedeck string
	seed     uint64
	time     time.Duration
	clients  int
	workers  int
	power    bool
	unsynced bool
	keep     bool
}

// healing bounds how long everything may take to be even again.
const healing = 2 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 6 && os.Args[1] == "role" && os.Args[2] == "broker" {
		exitOn(runBroker(ctx, os.Args[3], os.Args[4], os.Args[5]))
		return
	}
	c, err := settings()
	exitOn(err)
	exitOn(run(ctx, c))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func settings() (c config, err error) {
	c.seed, c.time = uint64(time.Now().UnixNano())%1_000_000, 2*time.Minute
	if s := os.Getenv("FAULT_SEED"); s != "" {
		if c.seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			return c, fmt.Errorf("FAULT_SEED: %w", err)
		}
	}
	if s := os.Getenv("FAULT_TIME"); s != "" {
		if c.time, err = time.ParseDuration(s); err != nil {
			return c, fmt.Errorf("FAULT_TIME: %w", err)
		}
	}
	flag.StringVar(&c.tapedeck, "tapedeck", "bin/tapedeck", "the binary to test")
	flag.IntVar(&c.clients, "clients", 12, "that send requests")
	flag.IntVar(&c.workers, "workers", 3, "archivers and indexers, each")
	flag.BoolVar(&c.power, "power", false, "cut the power instead: needs root, for a file system in a file")
	flag.BoolVar(&c.unsynced, "unsynced", false, "a control: JetStream as it is by default, which must not pass -power")
	flag.BoolVar(&c.keep, "keep", false, "keep the folder with everything's files and output")
	flag.Parse()
	return c, nil
}

// runBroker is what this program's child does: JetStream.
func runBroker(ctx context.Context, folder, listen, sync string) error {
	interval, err := time.ParseDuration(sync)
	if err != nil {
		return err
	}
	b, err := broker.Start(broker.Config{Dir: folder, Listen: listen, SyncInterval: interval}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	defer b.Close()
	<-ctx.Done()
	return nil
}

func run(ctx context.Context, c config) error {
	fmt.Printf("FAULT_SEED=%d FAULT_TIME=%s\n", c.seed, c.time)
	ctx, cancel := context.WithTimeout(ctx, c.time+healing+3*time.Minute)
	defer cancel()
	s, err := startStack(ctx, c)
	defer s.close()
	if err != nil {
		return err
	}
	load := startLoad(s, c)
	injected := inject(ctx, s, rand.New(rand.NewPCG(c.seed, 0)), c.time)
	load.stop()
	fmt.Printf("%s\n%d requests, %d answered; healing\n", injected, load.sent(), len(load.answered))

	healed := time.Now()
	if err := s.heal(ctx); err != nil {
		return err
	}
	e, findings, err := s.settle(ctx, load, healed.Add(healing))
	if err != nil {
		printFindings(s.broken)
		return err
	}
	fmt.Printf("even after %.1f s\n%s", time.Since(healed).Seconds(), summary(s.oracle(load), load, e))
	if len(findings) > 0 {
		s.keep = true
		printFindings(findings)
		return fmt.Errorf("%d findings with FAULT_SEED=%d; files and output are in %s", len(findings), c.seed, s.folder)
	}
	return controls(ctx, s, load)
}

func printFindings(findings []string) {
	for i, f := range findings {
		if i == 40 {
			fmt.Printf("  … and %d more\n", len(findings)-i)
			return
		}
		fmt.Println("  FINDING:", f)
	}
}
