package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
)

// Consumer looks up a durable; workers never make one themselves.
func Consumer(ctx context.Context, js jetstream.JetStream, stream, name string) (jetstream.Consumer, error) {
	c, err := js.Consumer(ctx, stream, name)
	if err != nil {
		return nil, Hint(fmt.Errorf("look up consumer %s/%s: %w", stream, name, err), "make the streams with `tapedeck admin setup`")
	}
	return c, nil
}

// Fetch is how a worker takes messages.
type Fetch struct {
	Messages int           // at most at once, each up to the server's max_payload (1 MiB); default 32
	Wait     time.Duration // for the first; default 1 s
	Linger   time.Duration // for more after the first; default 0: takes only what is there already
}

// Consume fetches messages and hands them to handle, a few at once, until ctx
// is done. handle acks, naks or ends each message itself; those it still holds
// longer than a third of the AckWait are kept alive by KeepAlive. An error from
// the server (gone, reconnecting) is waited out: only a worker's own failure
// ends it.
func Consume(ctx context.Context, c jetstream.Consumer, f Fetch, log *slog.Logger, handle func(context.Context, []jetstream.Msg) error) error {
	if f.Messages == 0 {
		f.Messages = 32
	}
	if f.Wait == 0 {
		f.Wait = time.Second
	}
	backoff := time.Duration(0)
	for ctx.Err() == nil {
		msgs, err := fetch(c, f)
		if err != nil && ctx.Err() == nil {
			backoff = min(max(2*backoff, 100*time.Millisecond), 5*time.Second)
			log.Warn("fetch", "consumer", c.CachedInfo().Name, "error", err, "retry_in", backoff)
			Sleep(ctx, backoff)
		} else {
			backoff = 0
		}
		if len(msgs) == 0 {
			continue
		}
		// Work in hand is finished even when ctx ends meanwhile.
		if err := handle(context.WithoutCancel(ctx), msgs); err != nil {
			return err
		}
	}
	return nil
}

// fetch waits for one message and takes what else is there already: without
// Linger a lone message waits for nobody. It is not interrupted: a message
// that came just then would be in nobody's hands until its AckWait is over.
func fetch(c jetstream.Consumer, f Fetch) ([]jetstream.Msg, error) {
	msgs, err := collect(c.Fetch(1, jetstream.FetchMaxWait(f.Wait)))
	if err != nil || len(msgs) == 0 || f.Messages == 1 {
		return msgs, err
	}
	var more []jetstream.Msg
	if f.Linger > 0 {
		more, err = collect(c.Fetch(f.Messages-1, jetstream.FetchMaxWait(f.Linger)))
	} else {
		more, err = collect(c.FetchNoWait(f.Messages - 1))
	}
	return append(msgs, more...), err
}

func collect(fetched jetstream.MessageBatch, err error) ([]jetstream.Msg, error) {
	if err != nil {
		return nil, err
	}
	var msgs []jetstream.Msg
	for msg := range fetched.Messages() {
		msgs = append(msgs, msg)
	}
	err = fetched.Error()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages) {
		err = nil
	}
	return msgs, err
}

// KeepAlive tells the server every third of the AckWait that msgs are being
// worked on, until stop is called.
func KeepAlive(ctx context.Context, msgs ...jetstream.Msg) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for Sleep(ctx, events.AckWait/3) {
			for _, m := range msgs {
				m.InProgress() // a lost one is made up for by the next
			}
		}
	}()
	return func() { cancel(); <-done }
}

// Deliveries is how often a message was delivered, this time included.
func Deliveries(msg jetstream.Msg) uint64 {
	meta, err := msg.Metadata()
	if err != nil {
		return 1
	}
	return meta.NumDelivered
}

// Backoff is how long to wait before delivery n+1 of a message whose handling
// failed for a reason that may pass.
func Backoff(deliveries uint64) time.Duration {
	return min(time.Second<<min(deliveries, 6), time.Minute)
}

// Sleep waits for d, or until ctx is done: then it returns false.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
