package scenariogen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/jobs"
	"tapedeck/internal/service"
	"tapedeck/scenariogen/scenario"
)

// worker answers requests.
type worker struct {
	*Service
	jobs *jobs.Jobs
}

// answerTimeout bounds what must still be done when ctx ends.
const answerTimeout = 20 * time.Second

// handle answers one request, or leaves it for later.
func (w *worker) handle(ctx context.Context, msg jetstream.Msg) {
	log := w.deps.Log
	req, err := readRequest(msg)
	if err != nil {
		w.bury(ctx, msg, err)
		return
	}
	log = log.With("request", req.ID, "scenario", req.Name)
	stop := service.KeepAlive(ctx, msg)
	defer stop()
	state, lease, err := w.jobs.Claim(ctx, jobs.Key("scenario", req.ID))
	switch {
	case err != nil:
		log.Warn("claim", "error", err)
		w.giveBack(msg)
	case state == jobs.Finished:
		log.Info("answered already")
		w.ack(msg)
	case state == jobs.Held:
		msg.NakWithDelay(jobs.LeaseAge / 2) // a lost one is made up for by the AckWait
	default:
		w.work(ctx, msg, req, lease)
	}
}

// work makes the scenario, says so, and only then ends job and message.
func (w *worker) work(ctx context.Context, msg jetstream.Msg, req events.ScenarioRequest, lease *jobs.Lease) {
	log := w.deps.Log.With("request", req.ID, "scenario", req.Name)
	began := time.Now()
	kept, stop := lease.Keep(ctx)
	ready, err := w.create(kept, req, requestTime(msg))
	stop()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	if err != nil && service.Deliveries(msg) >= events.GiveUpAfter {
		ready, err = refusal(req, fmt.Sprintf("given up after %d attempts: %v", service.Deliveries(msg), err)), nil
	}
	if err == nil {
		err = w.announce(end, ready)
	}
	if err != nil {
		w.later(end, msg, lease, err)
		return
	}
	if err := lease.Finish(end, ready); err != nil {
		log.Warn("finish", "error", err) // the version is there: who comes next finds it and says so again
	}
	w.ack(msg)
	w.metrics.seconds.Observe(time.Since(began).Seconds())
	if ready.Error != "" {
		w.metrics.refused.Inc()
		log.Warn("refused", "reason", ready.Error)
		return
	}
	w.metrics.made.Inc()
	log.Info("made", "version", ready.Version, "sessions", ready.Sessions, "tests", ready.Tests, "mocks", ready.Mocks)
}

// create is Create with an answer for requests that no scenario can be made of.
func (w *worker) create(ctx context.Context, req events.ScenarioRequest, asked time.Time) (events.ScenarioReady, error) {
	ready, err := create(ctx, w.config, w.deps, req, asked)
	if invalid, ok := errors.AsType[*scenario.InvalidError](err); ok {
		return refusal(req, invalid.Reason), nil
	}
	return ready, err
}

func refusal(req events.ScenarioRequest, reason string) events.ScenarioReady {
	return events.ScenarioReady{ID: req.ID, Name: req.Name, Error: reason, Dependencies: []events.Dependency{}, CreatedAt: time.Now().UTC()}
}

func (w *worker) announce(ctx context.Context, ready events.ScenarioReady) error {
	subject := events.ScenarioReadySubject(ready.Name)
	e, err := events.NewEvent(subject, w.source, ready.ID+".ready", ready.Name, ready)
	if err != nil {
		return err
	}
	return events.Publish(ctx, w.deps.JetStream, subject, e)
}

// later gives the request back: what went wrong may pass.
func (w *worker) later(ctx context.Context, msg jetstream.Msg, lease *jobs.Lease, reason error) {
	w.deps.Log.Warn("make scenario, trying again", "error", reason)
	if err := lease.Release(ctx); err != nil {
		w.deps.Log.Warn("release", "error", err) // the lease ends by its age
	}
	w.giveBack(msg)
}

func (w *worker) giveBack(msg jetstream.Msg) {
	w.metrics.retried.Inc()
	if err := msg.NakWithDelay(service.Backoff(service.Deliveries(msg))); err != nil {
		w.deps.Log.Warn("give back", "error", err) // it comes again after the AckWait
	}
}

func (w *worker) ack(msg jetstream.Msg) {
	if err := msg.Ack(); err != nil {
		w.deps.Log.Warn("ack", "error", err) // it comes again and is found in JOBS
	}
}

func (w *worker) bury(ctx context.Context, msg jetstream.Msg, reason error) {
	w.deps.Log.Error("to the dead letters", "error", reason)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	if err := events.DeadLetter(end, w.deps.JetStream, msg, reason); err != nil {
		w.deps.Log.Warn("dead letter", "error", err)
		w.giveBack(msg)
		return
	}
	w.metrics.dead.Inc()
}

// readRequest reads a request. Its errors are for ever.
func readRequest(msg jetstream.Msg) (events.ScenarioRequest, error) {
	var req events.ScenarioRequest
	e, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return req, err
	}
	if req, err = events.DecodeData[events.ScenarioRequest](e); err != nil {
		return req, err
	}
	if req.Name == "" {
		return req, fmt.Errorf("%w: a request without a name", events.ErrEvent)
	}
	if req.ID == "" {
		req.ID = e.ID
	}
	if req.ID != "" {
		return req, nil
	}
	meta, err := msg.Metadata()
	if err != nil {
		return req, fmt.Errorf("%w: a request without an id: %w", events.ErrEvent, err)
	}
	req.ID = fmt.Sprintf("%s-%d", meta.Stream, meta.Sequence.Stream)
	return req, nil
}

// requestTime is when the server got the request, the same at each delivery.
func requestTime(msg jetstream.Msg) time.Time {
	if meta, err := msg.Metadata(); err == nil {
		return meta.Timestamp
	}
	return time.Now()
}
