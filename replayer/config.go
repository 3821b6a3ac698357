package replayer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/scenariogen/scenario"
)

// Config are the flags of the service.
type Config struct {
	AllowTarget    []string      `name:"allow-target" env:"TAPEDECK_ALLOW_TARGET" sep:"," placeholder:"HOST|NETWORK" help:"What may be replayed against: a host (shop.test, *.staging.svc), an address, a network (10.0.0.0/8), loopback, any. Repeatable. Default: loopback. A request can't widen it."`
	Slots          int           `name:"slots" env:"TAPEDECK_SLOTS" default:"1" help:"Replays at once."`
	MaxConnections int           `name:"max-connections" env:"TAPEDECK_MAX_CONNECTIONS" default:"1000" help:"Connections that a request may ask for."`
	MaxDuration    time.Duration `name:"max-duration" env:"TAPEDECK_MAX_DURATION" default:"1h" help:"A replay is stopped after this time."`
	ReadyTimeout   time.Duration `name:"ready-timeout" env:"TAPEDECK_READY_TIMEOUT" default:"60s" help:"How long to wait for the mocks of a replay."`
	Secrets        string        `name:"secrets" env:"TAPEDECK_SECRETS" placeholder:"FILE" help:"What redaction's tokens stand for, in YAML, read at each replay: what scenarios need and tapedeck scenario secrets writes down. No request can name it. off: send tokens as they are."`
	NoMarker       bool          `name:"no-marker" env:"TAPEDECK_NO_MARKER" help:"Send no tapedeck-replay header: then the target must not be under capture."`
}

// Deps are what the service works with.
type Deps struct {
	JetStream  jetstream.JetStream
	Archive    *tapes.Archive
	Log        *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: metrics go nowhere
}

// Service answers replay.request.
type Service struct {
	Config
	deps    Deps
	targets Targets
	metrics *metrics
	source  string
}

// New makes the service.
func New(cfg Config, deps Deps) (*Service, error) {
	targets, err := ParseTargets(cfg.AllowTarget)
	if err != nil {
		return nil, err
	}
	if cfg.Slots < 1 || cfg.MaxConnections < 1 || cfg.MaxDuration <= 0 || cfg.ReadyTimeout <= 0 {
		return nil, errors.New("slots, max-connections, max-duration and ready-timeout of a replayer must be above 0")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if _, err := scenario.ServiceSecrets(cfg.Secrets, deps.Log); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &Service{
		Config: cfg, deps: deps, targets: targets, metrics: newMetrics(deps.Registerer),
		source: fmt.Sprintf("/tapedeck/replayer/%s-%s", host, events.NewID(time.Now())),
	}, nil
}
