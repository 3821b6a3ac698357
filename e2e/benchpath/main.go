// Command benchpath measures the whole path on one machine: a number of
// exchanges through capture → JetStream → archive and index, each service a
// process of its own, and says what share of the CPU each step took and that
// sent = archived = indexed.
//
// Run it with `make bench-path`; it needs bin/tapedeck and starts a private
// TimescaleDB unless TAPEDECK_DATABASE names one.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"tapedeck/events"
	"tapedeck/internal/benchtest"
	"tapedeck/internal/service"
)

type config struct {
	exchanges   int
	size        int // bytes of a response body
	connections int
	tapedeck    string
	database    string
	folder      string
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "role" {
		exitOn(role(os.Args[2], os.Args[3:]))
		return
	}
	var c config
	flag.IntVar(&c.exchanges, "exchanges", 200_000, "how many")
	flag.IntVar(&c.size, "size", 2048, "bytes of a request and its response together")
	flag.IntVar(&c.connections, "connections", 64, "keep-alive connections")
	flag.StringVar(&c.tapedeck, "tapedeck", "bin/tapedeck", "the binary to measure")
	flag.StringVar(&c.database, "database", os.Getenv("TAPEDECK_DATABASE"), "TimescaleDB; default: a private one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exitOn(bench(ctx, c))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchpath:", err)
		os.Exit(1)
	}
}

// role is what this program's own children do: the parts that are no tapedeck
// command.
func role(name string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch name {
	case "broker":
		return benchtest.Broker(ctx, args[0], args[1])
	case "origin":
		return origin(ctx, args[0], args[1])
	}
	return fmt.Errorf("no role %q", name)
}

// origin answers every request with the same JSON body.
func origin(ctx context.Context, address, size string) error {
	var n int
	if _, err := fmt.Sscan(size, &n); err != nil {
		return err
	}
	body := []byte(`{"items":["` + strings.Repeat("lorem ipsum ", n/12) + `"]}`)
	server := &http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func bench(ctx context.Context, c config) error {
	folder, err := os.MkdirTemp("", "tapedeck-bench-")
	if err != nil {
		return err
	}
	c.folder = folder
	defer os.RemoveAll(folder)
	if c.database == "" {
		if c.database, err = privateDatabase(ctx); err != nil {
			return err
		}
	}
	index, err := openIndex(ctx, c.database)
	if err != nil {
		return err
	}
	defer index.drop()

	var all processes
	defer all.kill()
	origin, entry, err := all.startPath(ctx, c, index.dsn)
	if err != nil {
		return err
	}
	direct, err := control(ctx, origin, c)
	if err != nil {
		return err
	}
	database := index.cpu(ctx)
	began := time.Now()
	sent, load, err := load(ctx, entry, c)
	if err != nil {
		return err
	}
	answered := time.Since(began)
	indexed, err := index.wait(ctx, sent)
	if err != nil {
		return err
	}
	done := time.Since(began)
	database = index.cpu(ctx) - database
	shares, err := all.stop()
	if err != nil {
		return err
	}
	archived, err := archivedExchanges(ctx, filepath.Join(folder, "archive"))
	if err != nil {
		return err
	}
	fmt.Printf("control, the same load straight to the origin: %.0f exchanges/s\n", direct)
	report(c, sent, archived, indexed, answered, done, append(shares, share{"load", load}, share{"TimescaleDB", database}))
	if archived != sent || indexed != sent {
		return fmt.Errorf("sent %d, archived %d, indexed %d", sent, archived, indexed)
	}
	return nil
}

// control is what the machine does without us, in exchanges a second.
func control(ctx context.Context, origin string, c config) (float64, error) {
	c.exchanges /= 4
	began := time.Now()
	n, _, err := load(ctx, origin, c)
	return float64(n) / time.Since(began).Seconds(), err
}

// startPath starts every process and returns when the path is open.
func (p *processes) startPath(ctx context.Context, c config, dsn string) (origin, entry string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", "", err
	}
	nats, back, front := freeAddress(), freeAddress(), freeAddress()
	natsURL := "nats://" + nats
	p.start("JetStream", self, "role", "broker", filepath.Join(c.folder, "jetstream"), nats)
	p.start("origin", self, "role", "origin", back, fmt.Sprint(c.size-200))
	if err := benchtest.Answering(ctx, nats, back); err != nil {
		return "", "", err
	}
	conn, js, err := service.Connect(natsURL, "benchpath", slog.New(slog.DiscardHandler))
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	if _, err := events.Setup(ctx, js, events.SetupOptions{Database: true}); err != nil {
		return "", "", err
	}
	common := []string{"--nats", natsURL, "--log", "warn", "--data", filepath.Join(c.folder, "data")}
	archive := "file://" + filepath.Join(c.folder, "archive")
	p.start("archiver", c.tapedeck, append([]string{"archiver", "--archive", archive}, common...)...)
	p.start("indexer", c.tapedeck, append([]string{"indexer", "--database", dsn}, common...)...)
	p.start("capture", c.tapedeck, append([]string{"capture", "--service", "bench", "--on-pressure", "block", "--inbound", front + "=" + back}, common...)...)
	return back, front, benchtest.Answering(ctx, front)
}

// freeAddress ends the program without one: nothing runs yet.
func freeAddress() string {
	address, err := benchtest.FreeAddress()
	exitOn(err)
	return address
}

func privateDatabase(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "make", "-s", "database")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("start a private TimescaleDB: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func report(c config, sent, archived, indexed int, answered, done time.Duration, shares []share) {
	fmt.Printf("%d exchanges of %d bytes, %d connections, %d CPUs, %s\n", sent, c.size, c.connections, runtime.NumCPU(), runtime.Version())
	fmt.Printf("sent %d = archived %d = indexed %d\n", sent, archived, indexed)
	fmt.Printf("answered in %.1f s: %.0f exchanges/s; all archived and indexed after %.1f s: %.0f exchanges/s\n",
		answered.Seconds(), float64(sent)/answered.Seconds(), done.Seconds(), float64(sent)/done.Seconds())
	var total time.Duration
	for _, s := range shares {
		total += s.cpu
	}
	fmt.Printf("\n%-12s %10s %14s %7s\n", "step", "CPU s", "µs/exchange", "share")
	for _, s := range shares {
		fmt.Printf("%-12s %10.2f %14.1f %6.0f%%\n", s.name, s.cpu.Seconds(), float64(s.cpu.Microseconds())/float64(sent), 100*float64(s.cpu)/float64(total))
	}
}
