package scenariogen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/service"
)

const (
	// tapeAge is how long a capture may hold an exchange that has ended: tapes
	// are closed after 5 s at the latest.
	tapeAge = 6 * time.Second
	// sourceAge is how long a living source may be silent: it sends a header
	// every 30 s.
	sourceAge = 40 * time.Second
	pollEvery = 100 * time.Millisecond
	// idlePolls is how often a consumer must have nothing to do to be believed:
	// the server counts a new message a moment after it has acknowledged it.
	idlePolls = 5
)

// settle waits until what was captured when the request came lies in the
// archive, at most cfg.Settle. Without a server there is nothing on its way.
// Zero is not to wait.
// What did not arrive in time is a warning.
func settle(ctx context.Context, cfg Config, deps Deps, req events.ScenarioRequest, asked time.Time) (warnings []string, err error) {
	if deps.JetStream == nil || cfg.Settle == 0 {
		return nil, nil
	}
	end := asked
	if !req.To.IsZero() && req.To.Before(end) {
		end = req.To
	}
	bounded, cancel := context.WithTimeout(ctx, cfg.Settle)
	defer cancel()
	err = waitForTapes(bounded, deps, end)
	if err == nil {
		err = waitForArchiver(bounded, deps.JetStream)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return []string{fmt.Sprintf("after %s not all captured tapes were in the archive: exchanges may be missing", cfg.Settle)}, nil
	}
	return nil, err
}

// waitForTapes waits until captures that still run have closed the tapes that
// may hold exchanges before end.
func waitForTapes(ctx context.Context, deps Deps, end time.Time) error {
	wait := time.Until(end.Add(tapeAge))
	if wait <= 0 {
		return nil
	}
	running, err := sourceRuns(ctx, deps.Archive, end)
	if err != nil || !running {
		return err
	}
	if !service.Sleep(ctx, wait) {
		return ctx.Err()
	}
	return nil
}

// sourceRuns says whether a capture sent something lately and has not ended.
func sourceRuns(ctx context.Context, archive *tapes.Archive, now time.Time) (bool, error) {
	running := map[string]bool{} // by source
	newest := map[string]uint64{}
	for located, err := range archive.Scan(ctx, tapes.ScanOptions{From: now.Add(-sourceAge)}) {
		if errors.Is(err, events.ErrTape) {
			continue
		}
		if err != nil {
			return false, err
		}
		source := string(located.Header.SourceId)
		if located.Header.Number >= newest[source] {
			newest[source], running[source] = located.Header.Number, !located.Header.Last
		}
	}
	for _, r := range running {
		if r {
			return true, nil
		}
	}
	return false, nil
}

// waitForArchiver waits until the archiver has acknowledged what is captured
// now.
func waitForArchiver(ctx context.Context, js jetstream.JetStream) error {
	stream, err := js.Stream(ctx, events.StreamCaptured)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // nothing is captured here
	}
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", events.StreamCaptured, err)
	}
	last := stream.CachedInfo().State.LastSeq
	for idle := 0; ; {
		c, err := js.Consumer(ctx, events.StreamCaptured, events.DurableArchiver)
		if err != nil {
			return fmt.Errorf("look up consumer %s/%s: %w", events.StreamCaptured, events.DurableArchiver, err)
		}
		info := c.CachedInfo()
		if idle++; info.NumPending > 0 || info.NumAckPending > 0 {
			idle = 0
		}
		if info.AckFloor.Stream >= last || idle == idlePolls {
			return nil
		}
		if !service.Sleep(ctx, pollEvery) {
			return ctx.Err()
		}
	}
}
