package indexer

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
)

// handleScenarios keeps the versions of scenarios for lists.
func (s *Service) handleScenarios(ctx, work context.Context, msgs []jetstream.Msg) {
	for _, msg := range msgs {
		handleOutcome(ctx, work, s, msg, func(v events.ScenarioReady) string { return v.Name }, s.store.StoreScenario)
	}
}

// handleResults keeps the results of replays for lists and trends.
func (s *Service) handleResults(ctx, work context.Context, msgs []jetstream.Msg) {
	for _, msg := range msgs {
		handleOutcome(ctx, work, s, msg, func(v events.ReplayResult) string { return v.ID }, s.store.StoreReplay)
	}
}

func handleOutcome[T any](ctx, work context.Context, s *Service, msg jetstream.Msg, name func(T) string, store func(context.Context, T, []byte) error) {
	v, data, err := readOutcome(msg, name)
	if err == nil {
		err = gaveUp(msg)
	}
	if err != nil {
		s.bury(work, msg, err)
		return
	}
	err = s.persist(ctx, work, func(work context.Context) error { return store(work, v, data) })
	s.finish(ctx, err, []jetstream.Msg{msg})
}

func readOutcome[T any](msg jetstream.Msg, name func(T) string) (v T, data []byte, err error) {
	e, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return v, nil, err
	}
	if v, err = events.DecodeData[T](e); err != nil {
		return v, nil, err
	}
	if name(v) == "" {
		return v, nil, fmt.Errorf("%w: %s without a name", events.ErrEvent, e.Type)
	}
	return v, e.Data, nil
}
