// Package indexer is the service that puts tapes into the index.
//
// # What it does
//
// It writes who, what, when and how long of each exchange into TimescaleDB
// (package traffic), where its tape lies in the archive, and what scenarios and
// replays came to. It merges the rollups and drops what is older than its
// retention. Any number of indexers share the work.
//
// # Consumes
//
//   - captured.> by the durable indexer: tapes; only their fronts are read
//   - archived.> by the durable indexer: where tapes lie
//   - scenario.ready.> and replay.result.> by the durables indexer
//
// # Publishes
//
//   - indexed.<cluster>.<namespace>.<service>: that a tape is in the index, with
//     counts by endpoint; a hint, which may repeat
//   - dlq.CAPTURED, dlq.ARCHIVED, …: what can never be indexed, with the reason
//
// # Guarantees
//
//   - A tape is indexed once, however often it is delivered and to how many
//     indexers: its ledger row is written in the transaction of its rows.
//   - A message is acked after the commit and after its hint has been published.
//   - An exchange that the database can't hold goes to the dead letters, and the
//     rest of its tape is indexed.
//
// # When it fails
//
//   - Without the database nothing is acked or given up: the work in hand is
//     tried again until the database is back, and the stream keeps the rest.
//   - A commit whose answer is lost is unknown; the ledger decides when the tape
//     comes again.
//   - A tape that was delivered 3 times is written alone, one that was delivered
//     10 times goes to the dead letters.
package indexer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

// Config are the indexer's settings (kong). Zero values mean the defaults, but
// for the retention, where zero is for ever.
type Config struct {
	Writers int           `name:"writers" env:"TAPEDECK_WRITERS" default:"2" help:"Transactions at once."`
	Tapes   int           `name:"tapes" env:"TAPEDECK_TAPES" default:"64" help:"Tapes that are written together, at most; each takes up to 1 MiB of memory."`
	Linger  time.Duration `name:"linger" env:"TAPEDECK_LINGER" default:"250ms" help:"How long to wait for more tapes to write together."`
	Merge   time.Duration `name:"merge-every" env:"TAPEDECK_MERGE_EVERY" default:"2s" help:"How often rollups are merged."`
	Retain  time.Duration `name:"retain-every" env:"TAPEDECK_RETAIN_EVERY" default:"1h" help:"How often old rows are dropped."`

	Chunk      time.Duration `name:"chunk" env:"TAPEDECK_CHUNK" default:"0" help:"Time span of a new chunk of exchanges: 24h up to 500 exchanges/s, 6h up to 2,000/s, 1h beyond; chunks kept should stay below 200. Default: unchanged, 24h at first."`
	Keep       time.Duration `name:"keep" env:"TAPEDECK_KEEP" default:"168h" help:"How long exchanges stay in the index, in whole chunks; 0 for ever. The archive keeps its own time."`
	Keep10s    time.Duration `name:"keep-10s" env:"TAPEDECK_KEEP_10S" default:"48h" help:"How long rollups of 10 s are kept; 0 for ever."`
	Keep1m     time.Duration `name:"keep-1m" env:"TAPEDECK_KEEP_1M" default:"336h" help:"How long rollups of 1 min are kept; 0 for ever."`
	Keep10m    time.Duration `name:"keep-10m" env:"TAPEDECK_KEEP_10M" default:"1440h" help:"How long rollups of 10 min are kept; 0 for ever."`
	Keep1h     time.Duration `name:"keep-1h" env:"TAPEDECK_KEEP_1H" default:"9600h" help:"How long rollups of 1 h are kept; 0 for ever."`
	Keep1d     time.Duration `name:"keep-1d" env:"TAPEDECK_KEEP_1D" default:"0" help:"How long rollups of 1 day are kept; 0 for ever."`
	KeepLedger time.Duration `name:"keep-ledger" env:"TAPEDECK_KEEP_LEDGER" default:"0" help:"How long tapes are remembered: at least as long as one can come back out of a spool or the archive, or it counts twice; 0 for ever."`
}

func (c *Config) fill() {
	setDefault(&c.Writers, 2)
	setDefault(&c.Tapes, 64)
	setDefault(&c.Linger, 250*time.Millisecond)
	setDefault(&c.Merge, 2*time.Second)
	setDefault(&c.Retain, time.Hour)
}

func setDefault[T int | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

func (c *Config) retention() traffic.Retention {
	return traffic.Retention{
		Exchanges: c.Keep, Rollup10s: c.Keep10s, Rollup1m: c.Keep1m, Rollup10m: c.Keep10m,
		Rollup1h: c.Keep1h, Rollup1d: c.Keep1d, Ledger: c.KeepLedger,
	}
}

// Deps is what the indexer works with.
type Deps struct {
	JS         jetstream.JetStream
	Database   string // DSN
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: metrics go nowhere
	Instance   string                // names this process in events; default the host's name
}

// Service is an indexer.
type Service struct {
	Config
	js      jetstream.JetStream
	store   *traffic.Store
	log     *slog.Logger
	metrics *metrics
	source  string // of events

	captured, archived, scenarios, results jetstream.Consumer
}

// connectTimeout bounds how long New waits for NATS and the database; a
// migration takes as long as it takes.
const connectTimeout = 30 * time.Second

// New connects to the database, migrates it and looks up the consumers, so that
// what is missing is told at once.
func New(cfg Config, deps Deps) (*Service, error) {
	cfg.fill()
	if err := cfg.retention().Validate(); err != nil {
		return nil, fmt.Errorf("--keep…: %w", err)
	}
	if deps.Instance == "" {
		deps.Instance, _ = os.Hostname()
	}
	s := &Service{Config: cfg, js: deps.JS, log: deps.Log, metrics: newMetrics(deps.Registerer), source: "/tapedeck/indexer/" + deps.Instance}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if err := s.lookUp(ctx); err != nil {
		return nil, err
	}
	var err error
	if s.store, err = traffic.Open(ctx, deps.Database); err != nil {
		return nil, service.Hint(err, "is it running, and is --database right? Without Docker: deploy/local/timescale.sh start")
	}
	if err := s.migrate(); err != nil {
		s.store.Close()
		if errors.Is(err, traffic.ErrNotOwner) {
			err = service.Hint(err, "run tapedeck admin setup --database as a member of "+traffic.OwnerRole+" before newer indexers start")
		}
		return nil, err
	}
	return s, nil
}

func (s *Service) lookUp(ctx context.Context) error {
	for _, c := range []struct {
		consumer *jetstream.Consumer
		stream   string
	}{
		{&s.captured, events.StreamCaptured},
		{&s.archived, events.StreamArchived},
		{&s.scenarios, events.StreamScenarios},
		{&s.results, events.StreamResults},
	} {
		var err error
		if *c.consumer, err = service.Consumer(ctx, s.js, c.stream, events.DurableIndexer); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) migrate() error {
	applied, err := s.store.Migrate(context.Background())
	if err != nil {
		return err
	}
	if len(applied) > 0 {
		s.log.Info("migrated the index", "applied", applied)
	}
	if s.Chunk <= 0 {
		return nil
	}
	return s.store.SetChunk(context.Background(), s.Chunk)
}

// Ready says what keeps the indexer from its work.
func (s *Service) Ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := s.captured.Info(ctx); err != nil {
		return fmt.Errorf("ask for consumer %s/%s: %w", events.StreamCaptured, events.DurableIndexer, err)
	}
	return s.store.Ping(ctx)
}

// Run works until ctx is done; then it finishes what it has in hand and returns
// nil. It can run once.
func (s *Service) Run(ctx context.Context) error {
	defer s.store.Close()
	g := service.NewGroup(ctx)
	for range s.Writers {
		g.Go("captured", s.consume(s.captured, s.Linger, s.handleCaptured))
	}
	g.Go("archived", s.consume(s.archived, s.Linger, s.handleArchived))
	g.Go("scenarios", s.consume(s.scenarios, 0, s.handleScenarios))
	g.Go("results", s.consume(s.results, 0, s.handleResults))
	g.Go("merge", func(ctx context.Context) error { return s.every(ctx, s.Merge, s.mergeStep) })
	g.Go("retain", func(ctx context.Context) error { return s.every(ctx, s.Retain, s.retainStep) })
	return g.Wait()
}

// handler works on messages. ctx ends with the process's wish to end: whoever
// waits for the database gives up then. Work that goes on is done under work.
type handler func(ctx, work context.Context, msgs []jetstream.Msg)

func (s *Service) consume(c jetstream.Consumer, linger time.Duration, handle handler) func(context.Context) error {
	fetch := service.Fetch{Messages: s.Tapes, Linger: linger}
	return func(ctx context.Context) error {
		return service.Consume(ctx, c, fetch, s.log, func(work context.Context, msgs []jetstream.Msg) error {
			stop := service.KeepAlive(work, msgs...)
			defer stop()
			handle(ctx, work, msgs)
			return nil
		})
	}
}

// writeTimeout bounds one attempt; the server's own timeouts are shorter.
const writeTimeout = 2 * time.Minute

// persist does something with the database, again and again while that is
// away, until ctx is done. Meanwhile no further message is fetched, so an
// outage uses up nobody's deliveries.
func (s *Service) persist(ctx, work context.Context, do func(context.Context) error) error {
	for attempt := uint64(0); ; attempt++ {
		bounded, cancel := context.WithTimeout(work, writeTimeout)
		err := do(bounded)
		cancel()
		if err == nil {
			return nil
		}
		s.metrics.failures.Inc()
		if !traffic.Unavailable(err) || ctx.Err() != nil {
			return err
		}
		wait := min(service.Backoff(attempt), 10*time.Second)
		s.log.Warn("the index is not available, trying again", "error", err, "retry_in", wait)
		if !service.Sleep(ctx, wait) {
			return err
		}
	}
}

// giveBack returns messages for another delivery.
func (s *Service) giveBack(ctx context.Context, err error, msgs ...jetstream.Msg) {
	for _, m := range msgs {
		if ctx.Err() != nil { // ending: another indexer can have it at once
			m.Nak()
			continue
		}
		m.NakWithDelay(service.Backoff(service.Deliveries(m)))
	}
	s.log.Warn("could not index, giving back", "messages", len(msgs), "error", err)
}

// bury sends a message to the dead letters; while that fails it stays in its
// stream.
func (s *Service) bury(ctx context.Context, msg jetstream.Msg, reason error) {
	s.log.Error("can never be indexed", "subject", msg.Subject(), "error", reason)
	s.metrics.tapes.WithLabelValues("dead").Inc()
	if err := events.DeadLetter(ctx, s.js, msg, reason); err != nil {
		s.giveBack(ctx, err, msg)
	}
}

// gaveUp is the reason of a message that came too often: it has failed, killed
// or hung its workers; nil for others. An outage of the database does not count
// deliveries, see persist.
func gaveUp(msg jetstream.Msg) error {
	if n := service.Deliveries(msg); n >= events.GiveUpAfter {
		return fmt.Errorf("gave up: this is delivery %d", n)
	}
	return nil
}

var errSubject = errors.New("is on the subject of another service")
