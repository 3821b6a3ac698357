package replayer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/jobs"
	"tapedeck/internal/service"
	"tapedeck/replayer/report"
	"tapedeck/scenariogen/scenario"
)

const (
	// beginWithin is how long after its sending a request may still begin.
	beginWithin = 10 * time.Minute
	// answerTimeout bounds what must still be done when ctx ends.
	answerTimeout = 20 * time.Second
)

// Why a replay is stopped.
var (
	errStopped  = errors.New("the replayer was stopped")
	errTooLong  = errors.New("the replayer's --max-duration is over")
	errCanceled = errors.New("cancelled")
)

// Run answers requests until ctx is done. A replay under way is then stopped
// and answered as incomplete.
func (s *Service) Run(ctx context.Context) error {
	consumer, err := service.Consumer(ctx, s.deps.JetStream, events.StreamCommands, events.DurableReplayer)
	if err != nil {
		return err
	}
	group := service.NewGroup(ctx)
	for n := range s.Slots {
		// Each slot is a worker of its own: a lease has one owner.
		claims, err := jobs.Open(ctx, s.deps.JetStream, fmt.Sprintf("%s/%d", s.source, n))
		if err != nil {
			return service.Hint(err, "make it with `tapedeck admin setup`")
		}
		w := &worker{Service: s, jobs: claims}
		group.Go("replayer", func(ctx context.Context) error {
			return service.Consume(ctx, consumer, service.Fetch{Messages: 1}, s.deps.Log, func(_ context.Context, msgs []jetstream.Msg) error {
				for _, msg := range msgs {
					w.handle(ctx, msg)
				}
				return nil
			})
		})
	}
	group.Go("shards", s.buryShards)
	s.deps.Log.Info("waiting for replays", "slots", s.Slots, "archive", s.deps.Archive.String())
	return group.Wait()
}

// worker answers one request at a time.
type worker struct {
	*Service
	jobs *jobs.Jobs
}

// job is a request with its claim.
type job struct {
	*worker
	request events.ReplayRequest
	msg     jetstream.Msg
	lease   *jobs.Lease
	secrets *scenario.Secrets
	log     *slog.Logger
}

// handle answers one request, or leaves it for later.
func (w *worker) handle(ctx context.Context, msg jetstream.Msg) {
	request, err := readRequest(msg)
	if err != nil {
		w.bury(ctx, msg, err)
		return
	}
	j := &job{worker: w, request: request, msg: msg, log: w.deps.Log.With("replay", request.ID, "scenario", request.Scenario)}
	stop := service.KeepAlive(ctx, msg)
	defer stop()
	state, lease, err := w.jobs.Claim(ctx, jobs.Key("replay", request.ID))
	switch {
	case err != nil:
		j.later(err)
	case state == jobs.Finished:
		j.log.Info("answered already")
		j.ack()
	case state == jobs.Held:
		msg.NakWithDelay(jobs.LeaseAge / 2) // a lost one is made up for by the AckWait
	default:
		j.lease = lease
		j.work(ctx)
	}
}

// work finds the result of the job, answers with it, and only then ends job
// and message.
func (j *job) work(ctx context.Context) {
	kept, stop := j.lease.Keep(ctx)
	result, err := j.result(kept)
	stop()
	// What came out is told also when ctx is done.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	if errors.Is(context.Cause(kept), jobs.ErrLost) {
		j.log.Warn("taken over by another replayer")
		j.msg.NakWithDelay(jobs.LeaseAge / 2)
		return
	}
	if err == nil {
		err = j.answer(end, result)
	}
	if err != nil {
		if release := j.lease.Release(end); release != nil {
			j.log.Warn("release", "error", release) // the lease ends by its age
		}
		j.later(err)
		return
	}
	if err := j.lease.Finish(end, map[string]any{"verdict": result.Verdict}); err != nil {
		j.log.Warn("finish", "error", err) // who comes next finds the share's result and says it again
	}
	j.ack()
	j.metrics.answered(&result)
	j.log.Info("replayed", "verdict", result.Verdict, "reason", result.Reason, "tests", result.Tests.Total)
}

// result runs the replay, or finds out what became of the run of a replayer
// that is gone. An error is something that may pass.
func (j *job) result(ctx context.Context) (events.ReplayResult, error) {
	key := jobs.Key("shard", j.request.ID) + ".0"
	state, shard, err := j.jobs.Claim(ctx, key)
	switch {
	case err != nil:
		return events.ReplayResult{}, err
	case state == jobs.Finished:
		return j.lost(ctx, key)
	case state == jobs.Held:
		return events.ReplayResult{}, fmt.Errorf("share %s is held by another replayer", key)
	}
	if reason := j.refusal(); reason != "" {
		return j.refused(reason), nil
	}
	s, err := scenario.Open(ctx, j.deps.Archive, j.request.Scenario, j.request.Version)
	if err != nil {
		return j.unopened(ctx, shard, err)
	}
	if j.secrets, err = scenario.ServiceSecrets(j.Secrets, j.log); err != nil {
		return j.refused(err.Error()), nil
	}
	return j.run(ctx, s, shard)
}

// lost answers for a replayer that is gone: with its result when it got that
// far. Its requests are never sent a second time.
func (j *job) lost(ctx context.Context, key string) (events.ReplayResult, error) {
	raw, err := j.jobs.Result(ctx, key)
	if err != nil {
		return events.ReplayResult{}, err
	}
	if raw != nil {
		var r events.ReplayResult
		err := json.Unmarshal(raw, &r)
		return r, err
	}
	r := newResult(Options{Request: j.request})
	r.EndedAt = r.StartedAt
	r.Verdict, r.Reason = report.Judge(&r, report.Facts{LostShards: 1})
	return r, nil
}

// run replays. The share is claimed for ever before its first request.
func (j *job) run(ctx context.Context, s *scenario.Scenario, shard *jobs.Lease) (events.ReplayResult, error) {
	j.metrics.running.Inc()
	defer j.metrics.running.Dec()
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx)) // so that the cause is ours
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { cancel(cmp.Or(cancelled(ctx), errStopped)) })
	defer stop()
	limit := time.AfterFunc(j.MaxDuration, func() { cancel(errTooLong) })
	defer limit.Stop()
	told, err := j.listen(running, func(reason error) { cancel(reason) })
	if err != nil {
		return events.ReplayResult{}, errors.Join(err, shard.Release(context.WithoutCancel(ctx)))
	}
	defer told.stop()
	o := Options{
		Request: j.request, Scenario: s, Targets: j.targets, Secrets: j.secrets, NoMarker: j.NoMarker, Archive: j.deps.Archive, Log: j.log,
		Progress: func(p events.ReplayProgress) { j.progress(running, p) },
		Ready: func(ctx context.Context) error {
			if err := told.prepare(ctx, s); err != nil {
				return err
			}
			if err := shard.Finish(ctx, nil); err != nil {
				return fmt.Errorf("claim the share: %w", err)
			}
			return told.start(ctx)
		},
	}
	if j.request.Mocks != nil {
		o.Mocks = told.finals
	}
	result, err := Run(running, o)
	told.finish(context.WithoutCancel(ctx))
	if err != nil {
		j.log.Error("details", "error", err) // the result itself is worth more than they are
	}
	// Who takes over from here on finds the result and sends nothing again.
	if err := shard.Finish(context.WithoutCancel(ctx), result); err != nil {
		j.log.Warn("keep the result", "error", err)
	}
	return result, nil
}

// cancelled is the cause of a context that ended because the job was lost.
func cancelled(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, jobs.ErrLost) {
		return cause
	}
	return nil
}
