// Command benchpath measures the pipeline on one machine, each service a
// process of its own, in parts:
//
//   - path: exchanges through capture → JetStream → archive and index; what
//     share of the CPU each step took, and that sent = archived = indexed
//   - capture: the same load with nobody behind JetStream, to compare
//   - feed: tapes that wait in the stream into the archive, then into archive
//     and index
//   - fresh: how long after its answer an exchange is in the list, at a steady
//     rate
//   - soak: tapes at a steady rate for minutes, and what memory the workers hold
//
// Run it with `make bench-path` or, all parts, `make bench-pipeline`; it needs
// bin/tapedeck and starts a private TimescaleDB unless TAPEDECK_DATABASE names
// one.
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

	"github.com/nats-io/nats.go/jetstream"

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
	parts       string
	records     int           // of the parts feed
	rate        int           // exchanges/s of the parts fresh and soak
	last        time.Duration // of the part fresh
	soak        time.Duration
	lone        bool // nobody behind JetStream
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
	flag.StringVar(&c.parts, "parts", "path", "what to measure, with commas between")
	flag.IntVar(&c.records, "records", 1_000_000, "feed: how many exchanges")
	flag.IntVar(&c.rate, "rate", 5_000, "fresh and soak: exchanges a second")
	flag.DurationVar(&c.last, "for", time.Minute, "fresh: how long")
	flag.DurationVar(&c.soak, "soak", 10*time.Minute, "soak: how long")
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

func bench(ctx context.Context, c config) (err error) {
	if c.database == "" {
		if c.database, err = privateDatabase(ctx); err != nil {
			return err
		}
	}
	parts := map[string]func(context.Context, config, *index) error{"path": path, "capture": lone, "feed": feed, "fresh": fresh, "soak": soak}
	for name := range strings.SplitSeq(c.parts, ",") {
		part := parts[name]
		if part == nil {
			return fmt.Errorf("no part %q: choose of path, capture, feed, fresh and soak", name)
		}
		fmt.Printf("## %s\n\n", name)
		if err := alone(ctx, c, part); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Println()
	}
	return nil
}

// alone gives a part a folder and a database of its own.
func alone(ctx context.Context, c config, part func(context.Context, config, *index) error) (err error) {
	if c.folder, err = os.MkdirTemp("", "tapedeck-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(c.folder)
	index, err := openIndex(ctx, c.database)
	if err != nil {
		return err
	}
	defer index.drop()
	return part(ctx, c, index)
}

// path is the whole of it.
func path(ctx context.Context, c config, index *index) error {
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
	archived, err := archivedExchanges(ctx, filepath.Join(c.folder, "archive"))
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

// lone is capture with JetStream alone behind it.
func lone(ctx context.Context, c config, index *index) error {
	c.lone = true
	var all processes
	defer all.kill()
	_, entry, err := all.startPath(ctx, c, index.dsn)
	if err != nil {
		return err
	}
	began := time.Now()
	sent, _, err := load(ctx, entry, c)
	if err != nil {
		return err
	}
	fmt.Printf("capture and JetStream alone: %.0f exchanges/s\n", float64(sent)/time.Since(began).Seconds())
	_, err = all.stop()
	return err
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
	back, front := freeAddress(), freeAddress()
	nats, close, err := p.startBroker(ctx, c)
	if err != nil {
		return "", "", err
	}
	defer close()
	p.start("origin", self, "role", "origin", back, fmt.Sprint(c.size-200))
	if !c.lone {
		p.startArchiver(c, nats.url)
		p.startIndexer(c, nats.url, dsn)
	}
	p.start("capture", c.tapedeck, append([]string{"capture", "--service", "bench", "--on-pressure", "block", "--inbound", front + "=" + back}, common(c, nats.url)...)...)
	return back, front, benchtest.Answering(ctx, back, front)
}

// broker is JetStream with all that Setup makes in it.
type broker struct {
	url string
	js  jetstream.JetStream
}

func (p *processes) startBroker(ctx context.Context, c config) (*broker, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	address := freeAddress()
	p.start("JetStream", self, "role", "broker", filepath.Join(c.folder, "jetstream"), address)
	if err := benchtest.Answering(ctx, address); err != nil {
		return nil, nil, err
	}
	b := &broker{url: "nats://" + address}
	conn, js, err := service.Connect(b.url, "benchpath", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	b.js = js
	_, err = events.Setup(ctx, js, events.SetupOptions{Database: true})
	return b, conn.Close, err
}

func common(c config, nats string) []string {
	return []string{"--nats", nats, "--log", "warn", "--data", filepath.Join(c.folder, "data")}
}

func (p *processes) startArchiver(c config, nats string) *benchtest.Process {
	return p.start("archiver", c.tapedeck, append([]string{"archiver", "--archive", "file://" + filepath.Join(c.folder, "archive")}, common(c, nats)...)...)
}

func (p *processes) startIndexer(c config, nats, dsn string) *benchtest.Process {
	return p.start("indexer", c.tapedeck, append([]string{"indexer", "--database", dsn}, common(c, nats)...)...)
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
