package cli

import (
	"context"
	"errors"
	"fmt"

	"tapedeck/archiver"
	"tapedeck/capture"
	"tapedeck/indexer"
	"tapedeck/internal/service"
	"tapedeck/mocksrv"
	"tapedeck/replayer"
	"tapedeck/scenariogen"
)

// upCommand is every service with its own flags.
type upCommand struct {
	service.Flags `group:"Common flags:"`
	Listen        string `default:"127.0.0.1:4222" placeholder:"ADDR" env:"TAPEDECK_LISTEN" help:"Where other processes reach the embedded NATS; \"\" for nowhere."`

	Capture     capture.Config     `embed:"" group:"Capture (runs with --inbound or --outbound):"`
	Archiver    archiver.Config    `embed:"" group:"Archiver:"`
	Indexer     indexer.Config     `embed:"" group:"Indexer (runs with --database):"`
	Scenariogen scenariogen.Config `embed:"" group:"Scenariogen:"`
	Replayer    replayer.Config    `embed:"" group:"Replayer:"`
	Mocksrv     mocksrv.Config     `embed:"" group:"Mocksrv:"`
}

// Run runs all services until ctx is done. They end in two steps: capture
// first, so that what it publishes last is archived.
//
//	capture ─▶ CAPTURED ─▶ archiver, indexer      scenariogen, replayer, mocksrv
func (c *upCommand) Run(ctx context.Context, env *Env) error {
	s, err := openStack(ctx, c.Flags, c.Listen, c.Logger(env.Stderr))
	if err != nil {
		return err
	}
	defer s.close()
	capturing, err := c.capture(s)
	if err != nil {
		return err
	}
	workers, err := c.workers(ctx, s)
	if err != nil {
		return err
	}
	first, second := service.NewGroup(ctx), service.NewGroup(context.WithoutCancel(ctx))
	for name, p := range workers {
		second.Go(name, p.Run)
	}
	second.Go("http", s.debug.Run)
	s.debug.Ready(ready(workers))
	// What fails in one half ends the other.
	defer context.AfterFunc(second.Context(), first.Stop)()
	first.Go("capture", capturing)
	fmt.Fprintf(env.Stderr, "tapedeck is up: NATS %s, archive %s\n", s.url(), s.archive)

	<-first.Context().Done()
	err = first.Wait()
	if s.embedded != nil && second.Context().Err() == nil {
		err = errors.Join(err, drain(second.Context(), s))
	}
	second.Stop()
	return errors.Join(err, second.Wait())
}

// capture is the run of the capture, or of nothing when it has no listener.
func (c *upCommand) capture(s *stack) (func(context.Context) error, error) {
	if len(c.Capture.Inbound)+len(c.Capture.Outbound)+len(c.Capture.Transparent) == 0 {
		return func(ctx context.Context) error { <-ctx.Done(); return nil }, nil
	}
	capturing, err := s.capture(c.Capture, s.debug.Registry)
	if err != nil {
		return nil, err
	}
	return capturing.Run, nil
}

func (c *upCommand) workers(ctx context.Context, s *stack) (map[string]part, error) {
	c.Mocksrv.Secrets = c.Replayer.Secrets
	starts := map[string]func() (part, error){
		"archiver":    func() (part, error) { return s.archiver(c.Archiver) },
		"scenariogen": func() (part, error) { return s.scenariogen(ctx, c.Scenariogen) },
		"replayer":    func() (part, error) { return s.replayer(c.Replayer) },
		"mocksrv":     func() (part, error) { return s.mocksrv(c.Mocksrv) },
	}
	if s.Database != "" {
		starts["indexer"] = func() (part, error) { return s.indexer(c.Indexer) }
	}
	parts := map[string]part{}
	for name, start := range starts {
		p, err := start()
		if err != nil {
			return nil, err
		}
		parts[name] = p
	}
	return parts, nil
}
