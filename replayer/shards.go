package replayer

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/service"
)

// errForeignShard is why a readable share is buried: this version runs all of
// a replay in the process that claimed it and publishes no shares.
var errForeignShard = errors.New("a share of a replay: this version runs each replay in one process")

// buryShards keeps what is published as a share from waiting for ever: each
// goes to the dead letters with its reason.
func (s *Service) buryShards(ctx context.Context) error {
	consumer, err := service.Consumer(ctx, s.deps.JetStream, events.StreamCommands, events.DurableReplayerShard)
	if err != nil {
		return err
	}
	w := &worker{Service: s}
	return service.Consume(ctx, consumer, service.Fetch{}, s.deps.Log, func(ctx context.Context, msgs []jetstream.Msg) error {
		for _, msg := range msgs {
			w.bury(ctx, msg, shardReason(msg))
		}
		return nil
	})
}

func shardReason(msg jetstream.Msg) error {
	e, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return err
	}
	if _, err := events.DecodeData[events.ReplayShard](e); err != nil {
		return err
	}
	return errForeignShard
}
