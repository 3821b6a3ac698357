package indexer

import (
	"context"
	"time"

	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

// every does step at once and then at each interval until ctx is done. A
// failure is told and tried again: the index is behind meanwhile, never wrong.
func (s *Service) every(ctx context.Context, interval time.Duration, step func(context.Context) error) error {
	for {
		if err := step(ctx); err != nil && ctx.Err() == nil {
			s.metrics.failures.Inc()
			s.log.Warn("upkeep of the index", "error", err, "retry_in", interval)
		}
		if !service.Sleep(ctx, interval) {
			return nil
		}
	}
}

// mergeStep empties the queue of rollup parts.
func (s *Service) mergeStep(ctx context.Context) error {
	for {
		began := time.Now()
		parts, err := s.store.Merge(ctx)
		if err != nil {
			return err
		}
		if parts > 0 {
			s.metrics.merged.Add(float64(parts))
			s.metrics.mergeSeconds.Observe(time.Since(began).Seconds())
		}
		if parts < traffic.MergeParts {
			return nil
		}
	}
}

// retainStep drops what is older than the retention.
func (s *Service) retainStep(ctx context.Context) error {
	dropped, err := s.store.Retain(ctx, s.retention())
	if dropped > 0 {
		s.log.Info("dropped what is over its time", "chunks_and_rows", dropped)
	}
	return err
}
