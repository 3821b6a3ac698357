// Package scenariogen is the service that turns recorded exchanges into
// scenarios (package scenario has their format and what is learned).
//
// # What it does
//
// It takes a scenario.request, finds the exchanges that its selector chooses,
// in the index where that covers the time asked for, else in the tapes
// themselves, and writes a scenario into the archive: inbound exchanges become
// tests in sessions, outbound ones mocks by dependency. Replays are left out
// unless the selector mentions them. Create does the same without a server.
//
// # Consumes
//
// scenario.request, as a CloudEvent or a bare JSON object, by the durable
// COMMANDS/scenariogen, which more scenariogens share. It reads the index and
// the archive through their packages.
//
// # Publishes
//
// scenario.ready.<name>, with an error a person can act on where no scenario
// can be made, and dlq.COMMANDS.
//
// # Guarantees
//
// A request is answered once (its key in JOBS) and acknowledged after its
// answer has the server's ack. The version follows from the request's id: a
// redelivered request makes, or finds, the same version. A version exists when
// its manifest does, which is written last. Tapes that were captured when the
// request came are waited for, at most --settle.
//
// # When it fails
//
// Archive, database or NATS away: the request stays and is tried again, less
// and less often. Killed while it works, another scenariogen takes the job
// over; what was written of the version is not in any manifest and harmless.
// A message that is no request goes to dlq.COMMANDS with the reason. A tape
// that can't be read is left out and named in the manifest's warnings.
package scenariogen

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/jobs"
	"tapedeck/internal/service"
	"tapedeck/wire"
)

// Config is what users can set.
type Config struct {
	Settle  time.Duration `name:"settle" env:"TAPEDECK_SETTLE" default:"5m" help:"Longest time to wait for captured tapes to reach the archive before a scenario is made; 0 = don't wait."`
	TempDir string        `name:"temp" env:"TAPEDECK_TEMP" placeholder:"DIR" help:"Folder for exchanges that don't fit into memory while a scenario is made. Default: the system's."`
}

// Deps are what the service works with.
type Deps struct {
	JetStream  jetstream.JetStream // Create: nil without a server
	Archive    *tapes.Archive
	Index      *traffic.Reader // nil: none
	Protocols  []wire.Protocol // that can be tests and mocks
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
}

// Service makes scenarios.
type Service struct {
	config  Config
	deps    Deps
	metrics *metrics
	source  string
}

// New makes the service.
func New(cfg Config, deps Deps) (*Service, error) {
	if cfg.Settle < 0 {
		return nil, fmt.Errorf("settle %s is below 0", cfg.Settle)
	}
	if len(deps.Protocols) == 0 {
		return nil, fmt.Errorf("scenariogen knows no protocol")
	}
	return &Service{
		config: cfg, deps: deps, metrics: newMetrics(deps.Registerer),
		source: "/tapedeck/scenariogen/" + events.NewID(time.Now()).String(),
	}, nil
}

// Run makes scenarios until ctx is done; the one in hand then is left to
// another worker, or to the next start.
func (s *Service) Run(ctx context.Context) error {
	consumer, err := service.Consumer(ctx, s.deps.JetStream, events.StreamCommands, events.DurableScenariogen)
	if err != nil {
		return err
	}
	claims, err := jobs.Open(ctx, s.deps.JetStream, s.source)
	if err != nil {
		return service.Hint(err, "make it with `tapedeck admin setup`")
	}
	s.deps.Log.Info("making scenarios", "archive", s.deps.Archive.String(), "index", s.deps.Index != nil)
	w := &worker{Service: s, jobs: claims}
	return service.Consume(ctx, consumer, service.Fetch{Messages: 1}, s.deps.Log, func(_ context.Context, msgs []jetstream.Msg) error {
		for _, msg := range msgs {
			w.handle(ctx, msg)
		}
		return nil
	})
}
