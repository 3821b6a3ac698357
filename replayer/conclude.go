package replayer

import (
	"cmp"
	"context"
	"errors"
	"time"

	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/replayer/report"
)

// reportProgress calls Progress every second until it is stopped, then once
// more.
func (r *run) reportProgress() (stop func()) {
	if r.Progress == nil {
		return func() {}
	}
	tell := func(final bool) {
		p, err := r.tally.progress(r.Request.ID, r.Shard, time.Since(r.begin), final)
		if err != nil {
			r.Log.Error("progress", "replay", r.Request.ID, "error", err)
			return
		}
		r.Progress(p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for service.Sleep(ctx, time.Second) {
			tell(false)
		}
		tell(true)
	}()
	return func() { cancel(); <-done }
}

// conclude makes the report of what was counted.
func (r *run) conclude(ctx context.Context, result events.ReplayResult, elapsed time.Duration) report.Report {
	result.EndedAt = result.StartedAt.Add(elapsed)
	if r.plan.Total() == 0 && ctx.Err() == nil {
		r.tally.planSent() // the clock alone decided
	}
	r.tally.fill(&result, elapsed)
	facts := report.Facts{Mocked: r.Mocks != nil, Goals: unreached(r.goals, &result)}
	if r.Mocks != nil {
		var err error
		if result.Mocks, err = r.Mocks(context.WithoutCancel(ctx)); err != nil {
			facts.Stopped = err.Error()
		}
		hideInMocks(r.Secrets, result.Mocks)
		result.Isolation = r.isolation()
	}
	if ctx.Err() != nil {
		facts.Stopped = stopReason(ctx)
	}
	result.Verdict, result.Reason = report.Judge(&result, facts)
	return report.Report{Result: result, Details: r.tally.details}
}

func (r *run) isolation() string {
	declared := ""
	if m := r.Request.Mocks; m != nil && m.Isolation == "declared" {
		declared = m.Isolation
	}
	return cmp.Or(r.Isolation, declared, "unknown")
}

func stopReason(ctx context.Context) string {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause.Error()
	}
	return "cancelled"
}
