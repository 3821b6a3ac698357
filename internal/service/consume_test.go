package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/internal/service"
)

func TestConsumeHandlesEveryMessageAndDrains(t *testing.T) {
	_, js := natstest.New(t)
	const n = 100
	for i := range n {
		if _, err := js.Publish(t.Context(), events.SubjectReplayRequest, fmt.Appendf(nil, `{"id":"%d"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := service.Consumer(t.Context(), js, events.StreamCommands, events.DurableReplayer)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := map[string]bool{}
	err = service.Consume(ctx, c, service.Fetch{Messages: 7}, slog.New(slog.DiscardHandler), func(work context.Context, msgs []jetstream.Msg) error {
		if len(msgs) > 7 {
			t.Errorf("handed %d messages, want at most 7", len(msgs))
		}
		for _, m := range msgs {
			seen[string(m.Data())] = true
			if err := m.DoubleAck(work); err != nil {
				return err
			}
		}
		if len(seen) == n {
			cancel()
			return work.Err() // must not be cancelled: the work in hand is finished
		}
		return nil
	})
	if err != nil || len(seen) != n {
		t.Fatalf("Consume: %v after %d messages, want nil after %d", err, len(seen), n)
	}
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.NumPending != 0 || info.NumAckPending != 0 {
		t.Errorf("left %d pending and %d unacked, want 0", info.NumPending, info.NumAckPending)
	}
}

func TestConsumerMissingHasHint(t *testing.T) {
	_, _, js := natstest.Start(t, t.TempDir())
	_, err := service.Consumer(t.Context(), js, events.StreamCommands, events.DurableReplayer)
	if err == nil || service.HintOf(err) == "" {
		t.Fatalf("got %v with hint %q, want an error with a hint", err, service.HintOf(err))
	}
}
