// Command benchcauses measures how well capture finds what caused an outbound
// exchange when it may not look at trace headers: the demo's shop, one capture
// a service, and many customers at once. What the headers say is the truth
// that its links are compared with.
//
// Run it with `make bench-causes`.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"tapedeck/cli/demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 2 && os.Args[1] == "shop" {
		err = serve(ctx, os.Args[2:])
	} else {
		err = bench(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchcauses:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context) error {
	crowd := demo.Crowd{}
	runs := flag.Int("runs", 3, "how often, each with captures that know nothing yet")
	rounds := flag.Int("rounds", 30, "visits of each customer of the demo's own visits; 0: none")
	flag.IntVar(&crowd.Visitors, "visitors", 64, "customers at once")
	flag.IntVar(&crowd.Visits, "visits", 20, "of each")
	flag.IntVar(&crowd.Flat, "flat", 10, "how flat the popularity of products is: 10 gives the first 2.5 % of all requests, 1 gives it 18 %")
	flag.IntVar(&crowd.Products, "products", 1000, "of the shop")
	flag.Parse()
	fmt.Printf("%d customers at once, %d visits each, %d CPUs, %s\n", crowd.Visitors, crowd.Visits, runtime.NumCPU(), runtime.Version())
	for run := range *runs {
		crowd.Seed = uint64(run)
		for _, load := range loads(crowd, *rounds) {
			s := &shop{products: crowd.Products, customers: crowd.Visitors, start: startProcess, ignoreTraces: true}
			rows, err := s.record(ctx, load.drive)
			if err != nil {
				return fmt.Errorf("%s: %w", load.name, err)
			}
			links, err := judge(rows)
			if err != nil {
				return fmt.Errorf("%s: %w", load.name, err)
			}
			fmt.Printf("\n%s, run %d\n", load.name, run+1)
			report(links)
		}
	}
	return nil
}

type load struct {
	name  string
	drive func(ctx context.Context, base string) error
}

// loads are the crowd and, to see where it ends, the demo's own visits: three
// accounts, one card and five products for all, so that many requests at once
// are the same in every byte but their tokens.
func loads(crowd demo.Crowd, rounds int) []load {
	all := []load{{"a crowd, 1000 products", func(ctx context.Context, base string) error {
		_, err := crowd.Drive(ctx, base)
		return err
	}}}
	if rounds > 0 {
		all = append(all, load{"the demo's visits, 5 products", func(ctx context.Context, base string) error {
			return sameForAll(ctx, base, crowd.Visitors, rounds)
		}})
	}
	return all
}

// startProcess runs a service of the shop as a process of its own.
func startProcess(ctx context.Context, c demo.Config) (stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"shop", c.Name, c.Listen, strconv.Itoa(c.Products), strconv.Itoa(c.Customers)}
	for host, address := range c.Connect {
		args = append(args, host, address)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() error {
		cmd.Process.Signal(syscall.SIGTERM)
		return cmd.Wait()
	}, nil
}

// serve is what such a process does.
func serve(ctx context.Context, args []string) error {
	if len(args) < 4 || len(args)%2 != 0 {
		return fmt.Errorf("shop %q: want NAME LISTEN PRODUCTS CUSTOMERS [HOST ADDRESS]...", args)
	}
	c := config(args[0], args[1])
	c.Products, _ = strconv.Atoi(args[2])
	c.Customers, _ = strconv.Atoi(args[3])
	for rest := args[4:]; len(rest) > 0; rest = rest[2:] {
		c.Connect[rest[0]] = rest[1]
	}
	return demo.Run(ctx, c, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
}

// waitPatience bounds how long a service may take to listen.
const waitPatience = 30 * time.Second
