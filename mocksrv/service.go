package mocksrv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/jobs"
	"tapedeck/internal/service"
	"tapedeck/scenariogen/scenario"
)

// Config are the flags of the service.
type Config struct {
	Host        string        `name:"mock-host" env:"TAPEDECK_MOCK_HOST" default:"127.0.0.1" help:"Address to listen on for the targets of replays."`
	Advertise   string        `name:"mock-advertise" env:"TAPEDECK_MOCK_ADVERTISE" placeholder:"HOST" help:"Host name that targets reach it by. Default: --mock-host."`
	Latency     string        `name:"latency" env:"TAPEDECK_LATENCY" default:"none" enum:"none,recorded" help:"How long answers take: none, or as recorded."`
	PassThrough bool          `name:"pass-through" env:"TAPEDECK_PASS_THROUGH" help:"Send what has no recorded answer to the real dependency."`
	Secrets     string        `kong:"-"` // file; mocksrv and up have one flag for it and the replayer's
	MaxLease    time.Duration `name:"max-lease" env:"TAPEDECK_MAX_LEASE" default:"2h" help:"A replay's mocks end after this time, whatever became of it."`
}

// Deps are what the service works with.
type Deps struct {
	JetStream  jetstream.JetStream
	Archive    *tapes.Archive
	Log        *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: metrics go nowhere
}

// Service mocks the dependencies of replays.
type Service struct {
	Config
	deps    Deps
	metrics *Metrics
	source  string
}

const (
	lookBack      = 2 * time.Minute  // for replays that asked before this process was there
	lookEvery     = 5 * time.Second  // whether a replay is over that never said so
	answerTimeout = 20 * time.Second // for what must still be said when ctx ends
)

// Why a replay's mocks end.
var (
	errFinished = errors.New("the replay is over")
	errStopped  = errors.New("the mock server was stopped")
	errLease    = errors.New("the mock server's --max-lease is over")
)

// New makes the service.
func New(cfg Config, deps Deps) (*Service, error) {
	if net.ParseIP(cfg.Host) == nil {
		return nil, fmt.Errorf("mock-host %q is no address like 127.0.0.1", cfg.Host)
	}
	if cfg.MaxLease <= 0 {
		return nil, fmt.Errorf("max-lease %s is not above 0", cfg.MaxLease)
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
	s := &Service{Config: cfg, deps: deps, source: fmt.Sprintf("/tapedeck/mocksrv/%s-%s", host, events.NewID(time.Now()))}
	if deps.Registerer != nil {
		s.metrics = NewMetrics(deps.Registerer)
	}
	return s, nil
}

// Run mocks for replays until ctx is done; those that are not over are told
// that their mocks are gone.
func (s *Service) Run(ctx context.Context) error {
	claims, err := jobs.Open(ctx, s.deps.JetStream, s.source)
	if err != nil {
		return service.Hint(err, "make it with `tapedeck admin setup`")
	}
	since := time.Now().Add(-lookBack)
	consumer, err := s.deps.JetStream.OrderedConsumer(ctx, events.StreamProgress, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"replay.control.>"}, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since,
	})
	if err != nil {
		return service.Hint(fmt.Errorf("listen to replays: %w", err), "make the streams with `tapedeck admin setup`")
	}
	d := &desk{Service: s, jobs: claims, replays: map[string]*replay{}}
	consuming, err := consumer.Consume(func(msg jetstream.Msg) { d.hear(ctx, msg) })
	if err != nil {
		return fmt.Errorf("listen to replays: %w", err)
	}
	s.deps.Log.Info("waiting for replays to mock for", "archive", s.deps.Archive.String())
	<-ctx.Done()
	consuming.Stop()
	<-consuming.Closed()
	d.wait.Wait()
	return nil
}

// desk knows the replays that this process mocks for.
type desk struct {
	*Service
	jobs *jobs.Jobs
	wait sync.WaitGroup

	mu      sync.Mutex
	replays map[string]*replay
}

// replay is one that this process mocks for, or is asked to.
type replay struct {
	*desk
	control events.ReplayControl // prepare
	end     context.CancelCauseFunc
	log     *slog.Logger
}

func (d *desk) hear(ctx context.Context, msg jetstream.Msg) {
	e, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		d.deps.Log.Warn("control", "error", err) // a reader of all messages owns none
		return
	}
	said, err := events.DecodeData[events.ReplayControl](e)
	if err != nil || said.ID == "" {
		d.deps.Log.Warn("control without a replay", "error", err)
		return
	}
	switch said.Action {
	case "prepare":
		d.prepare(ctx, said)
	case "finish", "cancel":
		d.finish(said.ID)
	}
}

func (d *desk) finish(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.replays[id]; r != nil {
		r.end(errFinished)
	}
}

// prepare begins to mock beside the hearing.
func (d *desk) prepare(ctx context.Context, said events.ReplayControl) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.replays[said.ID] != nil || ctx.Err() != nil {
		return
	}
	mocking, end := context.WithCancelCause(context.WithoutCancel(ctx))
	r := &replay{desk: d, control: said, end: end, log: d.deps.Log.With("replay", said.ID, "scenario", said.Scenario)}
	d.replays[said.ID] = r
	d.wait.Go(func() {
		stop := context.AfterFunc(ctx, func() { end(errStopped) })
		defer stop()
		r.mock(mocking)
		end(nil)
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.replays, said.ID)
	})
}

// announce says what a dependency's mock has to say.
func (r *replay) announce(m events.ReplayMocked) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	m.ID = r.control.ID
	subject := events.ReplayMockedSubject(m.ID)
	e, err := events.NewEvent(subject, r.source, events.NewID(time.Now()).String(), m.ID, m)
	if err == nil {
		err = events.Publish(ctx, r.deps.JetStream, subject, e)
	}
	if err != nil {
		r.log.Warn("announce", "dependency", m.Dependency, "state", m.State, "error", err) // the replayer times out
	}
}

// advertised is the address by which targets reach a listener.
func (s *Service) advertised(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil || s.Advertise == "" {
		return address
	}
	return net.JoinHostPort(strings.Trim(s.Advertise, "[]"), port)
}
