package replayer

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/service"
)

// answer publishes the result.
func (j *job) answer(ctx context.Context, r events.ReplayResult) error {
	subject := events.ReplayResultSubject(r.ID)
	e, err := events.NewEvent(subject, j.source, r.ID+".result", r.ID, r)
	if err != nil {
		return err
	}
	return events.Publish(ctx, j.deps.JetStream, subject, e)
}

// progress publishes a look at the replay. A lost one is made up for by the
// next; the result does not depend on them.
func (j *job) progress(ctx context.Context, p events.ReplayProgress) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	subject := events.ReplayProgressSubject(p.ID)
	id := fmt.Sprintf("%s.progress.%d.%d", p.ID, p.Shard, p.Elapsed.Nanoseconds())
	e, err := events.NewEvent(subject, j.source, id, p.ID, p)
	if err == nil {
		err = events.Publish(ctx, j.deps.JetStream, subject, e)
	}
	if err != nil {
		j.log.Warn("progress", "error", err)
	}
}

// later gives the request back: what went wrong may pass.
func (j *job) later(reason error) {
	j.log.Warn("replay, trying again", "error", reason)
	j.metrics.retried.Inc()
	if err := j.msg.NakWithDelay(service.Backoff(service.Deliveries(j.msg))); err != nil {
		j.log.Warn("give back", "error", err) // it comes again after the AckWait
	}
}

func (j *job) ack() {
	if err := j.msg.Ack(); err != nil {
		j.log.Warn("ack", "error", err) // it comes again and is found in JOBS
	}
}

func (w *worker) bury(ctx context.Context, msg jetstream.Msg, reason error) {
	w.deps.Log.Error("to the dead letters", "error", reason)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	if err := events.DeadLetter(end, w.deps.JetStream, msg, reason); err != nil {
		w.deps.Log.Warn("dead letter", "error", err)
		msg.NakWithDelay(service.Backoff(service.Deliveries(msg)))
		return
	}
	w.metrics.dead.Inc()
}

// readRequest reads a request and gives it an id that is the same at each
// delivery. Its errors are for ever.
func readRequest(msg jetstream.Msg) (events.ReplayRequest, error) {
	e, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return events.ReplayRequest{}, err
	}
	request, err := events.DecodeData[events.ReplayRequest](e)
	if err != nil {
		return request, err
	}
	request.ID = cmp.Or(request.ID, e.ID)
	if request.ID != "" && len(request.ID) <= 128 {
		return request, nil
	}
	meta, err := msg.Metadata()
	if err != nil {
		return request, fmt.Errorf("%w: a request without an id: %w", events.ErrEvent, err)
	}
	request.ID = fmt.Sprintf("%s-%d", meta.Stream, meta.Sequence.Stream)
	return request, nil
}

// sentAt is when the server got the request, the same at each delivery.
func sentAt(msg jetstream.Msg) time.Time {
	if meta, err := msg.Metadata(); err == nil {
		return meta.Timestamp
	}
	return time.Now()
}
