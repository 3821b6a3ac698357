// Package archiver is the service that puts tapes into the archive.
//
// # What it does
//
// It takes each tape from CAPTURED, verifies it and its place, and writes its
// bytes to S3 or a directory, unchanged: alone, as a directory's default, or
// with others of its namespace in a reel, as the default of S3, where each
// object costs a request (package tapes has the formats). It says where the
// tape lies and acknowledges it then.
//
// # Consumes
//
// captured.<cluster>.<namespace>.<service> by the durable CAPTURED/archiver.
// More archivers share the work.
//
// # Publishes
//
// archived.<cluster>.<namespace>.<service>, one event an object and service,
// and dlq.CAPTURED.
//
// # Guarantees
//
// A tape is acknowledged after its object is durable and its event has the
// server's ack. Objects are created, never replaced: a tape that is delivered
// again is compared with what is there, or lies in a second reel, which is
// harmless. Told to end, it finishes what it holds, open reels included.
//
// # When it fails
//
// While the store is away, full or refuses, nothing is acknowledged: tapes are
// tried again, less and less often, and wait in CAPTURED. A tape that can't be
// read, whose workload is not that of its subject, or whose id the archive
// holds with other bytes goes to dlq.CAPTURED with the reason. Killed at any
// moment, it loses nothing: what was not acknowledged is delivered again.
package archiver

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/service"
)

// Config is what users can set.
type Config struct {
	ReelSize *service.Size `name:"reel-size" env:"TAPEDECK_REEL_SIZE" placeholder:"SIZE" help:"Write tapes of a namespace together in reels of about this size; 0 = each tape alone. Default: 16MiB in S3, 0 in a directory."`
	ReelAge  time.Duration `name:"reel-age" env:"TAPEDECK_REEL_AGE" default:"10s" help:"Write a reel after this time even if it is smaller."`
}

const (
	defaultReelSize = 16 << 20
	defaultReelAge  = 10 * time.Second
	// drain bounds how long work in hand is finished when told to end.
	drain = 20 * time.Second
)

// Deps are what the service works with.
type Deps struct {
	JetStream  jetstream.JetStream
	Archive    *tapes.Archive
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
}

// Service archives tapes.
type Service struct {
	js      jetstream.JetStream
	archive *tapes.Archive
	log     *slog.Logger
	metrics *metrics
	reels   *reels // nil: each tape alone
	failing atomic.Pointer[error]
}

// New makes the service.
func New(cfg Config, deps Deps) (*Service, error) {
	s := &Service{js: deps.JetStream, archive: deps.Archive, log: deps.Log, metrics: newMetrics(deps.Registerer)}
	size := int64(0)
	if deps.Archive.Remote() {
		size = defaultReelSize
	}
	if cfg.ReelSize != nil {
		size = int64(*cfg.ReelSize)
	}
	if cfg.ReelAge < 0 || size < 0 {
		return nil, fmt.Errorf("reels of size %d and age %s: neither may be below 0", size, cfg.ReelAge)
	}
	if cfg.ReelAge == 0 {
		cfg.ReelAge = defaultReelAge
	}
	if size > 0 {
		s.reels = newReels(size, cfg.ReelAge, s.storeReel)
	}
	return s, nil
}

// Ready says why the service does not work, nil when it does: the last write
// to the archive failed.
func (s *Service) Ready() error {
	if err := s.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// Run archives until ctx is done, then finishes what it holds.
func (s *Service) Run(ctx context.Context) error {
	consumer, err := service.Consumer(ctx, s.js, events.StreamCaptured, events.DurableArchiver)
	if err != nil {
		return err
	}
	work, stop := drainable(ctx, drain)
	defer stop()
	if s.reels != nil {
		s.reels.start(work)
	}
	s.log.Info("archiving", "archive", s.archive.String(), "reels", s.reels != nil)
	err = service.Consume(ctx, consumer, service.Fetch{Messages: 64}, s.log, func(_ context.Context, msgs []jetstream.Msg) error {
		if failed := s.handle(work, msgs); failed == len(msgs) {
			s.pause(ctx, msgs)
		}
		return nil
	})
	if s.reels != nil {
		s.reels.finish()
	}
	flushing, stopFlushing := context.WithTimeout(work, 5*time.Second)
	defer stopFlushing()
	if flushErr := s.js.Conn().FlushWithContext(flushing); err == nil && flushErr != nil {
		s.log.Warn("acks may be lost, their tapes will be delivered again", "error", flushErr)
	}
	return err
}

// drainable outlives ctx by d.
func drainable(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		service.Sleep(work, d)
		cancel()
	})
	return work, func() { stop(); cancel() }
}

// pause waits while nothing can be archived, so that an outage is not made
// worse.
func (s *Service) pause(ctx context.Context, msgs []jetstream.Msg) {
	d := min(service.Backoff(service.Deliveries(msgs[0])), maxPause)
	s.log.Warn("archive is failing, waiting", "error", s.Ready(), "retry_in", d)
	service.Sleep(ctx, d)
}

const maxPause = 15 * time.Second
