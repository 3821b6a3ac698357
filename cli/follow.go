package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/service"
)

// source of the events that commands send.
const sourceCLI = "/tapedeck/cli"

// workerPatience is how long a request may lie before we say that nobody
// takes it.
const workerPatience = 10 * time.Second

// request publishes the data of a *.request.
func request(ctx context.Context, js jetstream.JetStream, subject, id, about string, data any) error {
	e, err := events.NewEvent(subject, sourceCLI, id, about, data)
	if err != nil {
		return err
	}
	err = events.Publish(ctx, js, subject, e)
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		return service.Hint(err, "make the streams with `tapedeck admin setup`")
	}
	return err
}

// follow calls f with the events on subjects of a stream, those that are
// there already included, until f says that it has seen enough.
func follow(ctx context.Context, js jetstream.JetStream, stream string, subjects []string, f func(subject string, e events.Event) (enough bool, err error)) error {
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return service.Hint(fmt.Errorf("follow %s: %w", stream, err), "make the streams with `tapedeck admin setup`")
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("follow %s: %w", stream, err)
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("follow %s: %w", stream, err)
		}
		e, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
		if err != nil {
			continue // not ours to judge: the service that reads it is
		}
		if enough, err := f(msg.Subject(), e); enough || err != nil {
			return err
		}
	}
}

// takenSoon fails when nobody takes requests: none of the workers of a durable
// asks for any.
func takenSoon(ctx context.Context, js jetstream.JetStream, durable, worker string) error {
	for deadline := time.Now().Add(workerPatience); ; {
		c, err := js.Consumer(ctx, events.StreamCommands, durable)
		if err != nil {
			return service.Hint(fmt.Errorf("look up consumer %s: %w", durable, err), "make it with `tapedeck admin setup`")
		}
		info, err := c.Info(ctx)
		if err != nil {
			return fmt.Errorf("look up consumer %s: %w", durable, err)
		}
		if info.NumPending == 0 || info.NumWaiting > 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return service.Hint(fmt.Errorf("nobody takes the request: no %s is running on this NATS", worker),
				"start one: tapedeck "+worker+" --nats URL --archive URL (the request waits for it)")
		}
		if !service.Sleep(ctx, 200*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// askScenario sends a scenario.request and waits for its scenario.ready.
func askScenario(ctx context.Context, js jetstream.JetStream, r events.ScenarioRequest) (events.ScenarioReady, error) {
	var ready events.ScenarioReady
	if err := request(ctx, js, events.SubjectScenarioRequest, r.ID, r.Name, r); err != nil {
		return ready, err
	}
	if err := takenSoon(ctx, js, events.DurableScenariogen, "scenariogen"); err != nil {
		return ready, err
	}
	err := follow(ctx, js, events.StreamScenarios, []string{events.ScenarioReadySubject(r.Name)}, func(_ string, e events.Event) (bool, error) {
		var err error
		ready, err = events.DecodeData[events.ScenarioReady](e)
		return err == nil && ready.ID == r.ID, nil
	})
	if err != nil {
		return ready, err
	}
	if ready.Error != "" {
		return ready, fmt.Errorf("scenario %s: %s", r.Name, ready.Error)
	}
	return ready, nil
}

// askReplay sends a replay.request, shows its progress, and waits for its
// replay.result.
func askReplay(ctx context.Context, js jetstream.JetStream, r events.ReplayRequest, show func(events.ReplayProgress)) (events.ReplayResult, error) {
	var result events.ReplayResult
	if err := request(ctx, js, events.SubjectReplayRequest, r.ID, r.Scenario, r); err != nil {
		return result, err
	}
	if err := takenSoon(ctx, js, events.DurableReplayer, "replayer"); err != nil {
		return result, err
	}
	watching, stop := context.WithCancel(ctx)
	shown := make(chan error, 1)
	go func() {
		shown <- follow(watching, js, events.StreamProgress, []string{events.ReplayProgressSubject(r.ID)}, func(_ string, e events.Event) (bool, error) {
			if p, err := events.DecodeData[events.ReplayProgress](e); err == nil {
				show(p)
			}
			return false, nil
		})
	}()
	err := follow(ctx, js, events.StreamResults, []string{events.ReplayResultSubject(r.ID)}, func(_ string, e events.Event) (bool, error) {
		var err error
		result, err = events.DecodeData[events.ReplayResult](e)
		return err == nil, err
	})
	stop()
	<-shown // its only end is stop: progress is for the eye and decides nothing
	return result, err
}
