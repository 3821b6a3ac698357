package archiver

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"tapedeck/events"
)

// heldMsg counts the signs of life that it gives.
type heldMsg struct {
	jetstream.Msg
	alive atomic.Int32
}

func (m *heldMsg) InProgress() error { m.alive.Add(1); return nil }

// Tapes in an open reel are kept alive, and the reel is written at its age.
func TestReelsKeepTapesAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := make(chan int, 1)
		r := newReels(1<<30, 3*events.AckWait, func(_ context.Context, items []item) { stored <- len(items) })
		r.start(t.Context())
		msg := &heldMsg{}
		if err := r.add(t.Context(), item{msg, newTape(t, orders, 1)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3*events.AckWait - time.Second) // fake time
		synctest.Wait()
		if n := msg.alive.Load(); n != 8 {
			t.Errorf("%d signs of life in just under 3 AckWaits, want one every third: 8", n)
		}
		select {
		case <-stored:
			t.Error("the reel was written before its age")
		default:
		}
		time.Sleep(2 * time.Second)
		if n := <-stored; n != 1 {
			t.Errorf("%d tapes were written, want 1", n)
		}
		r.finish()
	})
}

// While too much is held no more is taken, until a reel is written.
func TestReelsHoldNoMoreThanTheirBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		tape := newTape(t, orders, 1)
		size := int64(len(tape.Bytes()))
		r := newReels(size, time.Hour, func(context.Context, []item) { <-release })
		r.bound, r.held = 3*size, semaphore.NewWeighted(3*size)
		r.start(t.Context())
		for range 3 { // each fills a reel
			if err := r.add(t.Context(), item{&heldMsg{}, tape}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.add(ctx, item{&heldMsg{}, tape}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("above the bound: got error %v, want to wait", err)
		}
		close(release)
		if err := r.add(t.Context(), item{&heldMsg{}, tape}); err != nil {
			t.Error(err)
		}
		r.finish()
	})
}
