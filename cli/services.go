package cli

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/archiver"
	"tapedeck/capture"
	"tapedeck/indexer"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
	"tapedeck/mocksrv"
	"tapedeck/replayer"
	"tapedeck/scenariogen"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// The services: what containers run. Each is its package's Config and New.

type archiverCommand struct {
	service.Flags   `group:"Common flags:"`
	archiver.Config `embed:""`
}

func (c *archiverCommand) Run(ctx context.Context, env *Env) error {
	return runService(ctx, env, c.Flags, "archiver", func(s *stack) (part, error) {
		if err := s.openArchive(ctx); err != nil {
			return nil, err
		}
		return s.archiver(c.Config)
	})
}

func (s *stack) archiver(c archiver.Config) (part, error) {
	return archiver.New(c, archiver.Deps{JetStream: s.js, Archive: s.archive, Log: s.log.With("service", "archiver"), Registerer: s.debug.Registry})
}

type indexerCommand struct {
	service.Flags  `group:"Common flags:"`
	indexer.Config `embed:""`
}

func (c *indexerCommand) Run(ctx context.Context, env *Env) error {
	if c.Database == "" {
		return needDatabase("indexer")
	}
	return runService(ctx, env, c.Flags, "indexer", func(s *stack) (part, error) { return s.indexer(c.Config) })
}

func (s *stack) indexer(c indexer.Config) (part, error) {
	return indexer.New(c, indexer.Deps{JS: s.js, Database: s.Database, Log: s.log.With("service", "indexer"), Registerer: s.debug.Registry})
}

type captureCommand struct {
	service.Flags  `group:"Common flags:"`
	capture.Config `embed:""`
	Rules          rulesFlags `embed:""`
}

func (c *captureCommand) Run(ctx context.Context, env *Env) error {
	if c.Rules.Print != "" {
		return c.Rules.print(env, &c.Config, c.HTTP)
	}
	return runService(ctx, env, c.Flags, "capture", func(s *stack) (part, error) { return s.capture(c.Config, s.debug.Registry) })
}

func (s *stack) capture(c capture.Config, metrics prometheus.Registerer) (*capture.Service, error) {
	capturing, err := capture.New(c, capture.Deps{JS: s.js, Data: s.Data, Log: s.log.With("service", "capture"), Register: metrics})
	if err == nil {
		s.debug.Status(strings.TrimSpace("capture "+c.Service), capturing.Status)
	}
	return capturing, err
}

type scenariogenCommand struct {
	service.Flags      `group:"Common flags:"`
	scenariogen.Config `embed:""`
}

func (c *scenariogenCommand) Run(ctx context.Context, env *Env) error {
	return runService(ctx, env, c.Flags, "scenariogen", func(s *stack) (part, error) {
		if err := s.openArchive(ctx); err != nil {
			return nil, err
		}
		return s.scenariogen(ctx, c.Config)
	})
}

func (s *stack) scenariogen(ctx context.Context, c scenariogen.Config) (part, error) {
	deps := scenariogen.Deps{JetStream: s.js, Archive: s.archive, Protocols: protocols(), Log: s.log.With("service", "scenariogen"), Registerer: s.debug.Registry}
	if s.Database != "" {
		index, err := traffic.OpenReader(ctx, s.Database)
		if err != nil {
			return nil, service.Hint(err, databaseHint)
		}
		s.closers, deps.Index = append(s.closers, index.Close), index
	}
	return scenariogen.New(c, deps)
}

type replayerCommand struct {
	service.Flags   `group:"Common flags:"`
	replayer.Config `embed:""`
}

func (c *replayerCommand) Run(ctx context.Context, env *Env) error {
	return runService(ctx, env, c.Flags, "replayer", func(s *stack) (part, error) {
		if err := s.openArchive(ctx); err != nil {
			return nil, err
		}
		return s.replayer(c.Config)
	})
}

func (s *stack) replayer(c replayer.Config) (part, error) {
	return replayer.New(c, replayer.Deps{JetStream: s.js, Archive: s.archive, Log: s.log.With("service", "replayer"), Registerer: s.debug.Registry})
}

type mocksrvCommand struct {
	service.Flags  `group:"Common flags:"`
	mocksrv.Config `embed:""`
	Secrets        string `name:"secrets" env:"TAPEDECK_SECRETS" placeholder:"FILE" help:"The replayer's file: what redaction's tokens stand for. Recorded answers are told apart by it, and misses hide it."`
}

func (c *mocksrvCommand) Run(ctx context.Context, env *Env) error {
	return runService(ctx, env, c.Flags, "mocksrv", func(s *stack) (part, error) {
		if err := s.openArchive(ctx); err != nil {
			return nil, err
		}
		c.Config.Secrets = c.Secrets
		return s.mocksrv(c.Config)
	})
}

func (s *stack) mocksrv(c mocksrv.Config) (part, error) {
	return mocksrv.New(c, mocksrv.Deps{JetStream: s.js, Archive: s.archive, Log: s.log.With("service", "mocksrv"), Registerer: s.debug.Registry})
}

// protocols are what can be recorded, replayed and mocked.
func protocols() []wire.Protocol { return []wire.Protocol{&http1.Protocol{}} }

// runService runs one service on --nats until ctx is done.
func runService(ctx context.Context, env *Env, f service.Flags, name string, start func(*stack) (part, error)) error {
	if f.NATS == "" {
		return needNATS(name)
	}
	s := &stack{Flags: f, log: f.Logger(env.Stderr)}
	defer s.close()
	if err := s.openDebug(); err != nil {
		return err
	}
	connect := service.Connect
	if name == "capture" { // it relays and spools while NATS is away
		connect = service.ConnectLater
	}
	var err error
	if s.conn, s.js, err = connect(f.NATS, name, s.log); err != nil {
		return err
	}
	p, err := start(s)
	if err != nil {
		return err
	}
	s.debug.Ready(ready(map[string]part{name: p}))
	g := service.NewGroup(ctx)
	g.Go(name, p.Run)
	g.Go("http", s.debug.Run)
	return g.Wait()
}
