package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
)

// counts is what a recorder says of the exchanges it saw. Of a tapedeck, Rows
// are counted in the tapes themselves, the rest stands in their last header.
type counts struct {
	Rows    int64
	Begun   int64
	Taped   int64
	Dropped int64
	Open    int64
}

// taker takes tapes out of the stream and counts what is in them.
type taker struct{ consumer jetstream.Consumer }

func newTaker(ctx context.Context, conn *nats.Conn) (*taker, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	if _, err := events.Setup(ctx, js, events.SetupOptions{}); err != nil {
		return nil, err
	}
	consumer, err := js.Consumer(ctx, events.StreamCaptured, events.DurableArchiver)
	return &taker{consumer}, err
}

// take takes all tapes of one source, until its last. They may come in any
// order and more than once.
func (t *taker) take(ctx context.Context) (counts, error) {
	c := collection{seen: map[events.ID]bool{}}
	for quiet := 0; quiet < 30; quiet++ {
		batch, err := t.consumer.Fetch(64, jetstream.FetchMaxWait(2*time.Second))
		if err != nil {
			return c.counts, err
		}
		for msg := range batch.Messages() {
			quiet = 0
			if err := c.add(msg); err != nil {
				return c.counts, err
			}
			if err := msg.DoubleAck(ctx); err != nil {
				return c.counts, err
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
			return c.counts, err
		}
		if uint64(len(c.seen)) == c.tapes {
			return c.counts, nil
		}
	}
	return c.counts, fmt.Errorf("nothing came for a minute after %d tapes of %d: %+v", len(c.seen), c.tapes, c.counts)
}

// collection is the tapes of a source.
type collection struct {
	counts
	seen  map[events.ID]bool
	tapes uint64 // how many there are; 0: its last has not come yet
}

func (c *collection) add(msg jetstream.Msg) error {
	event, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return err
	}
	front, err := events.ParseFront(event.Data)
	if err != nil || c.seen[front.TapeID()] {
		return err
	}
	c.seen[front.TapeID()] = true
	for _, e := range front.Index.Entries {
		if e.Kind == events.Kind_EXCHANGE {
			c.Rows++
		}
	}
	if h := front.Header; h.Last {
		c.tapes = h.Number
		c.Begun, c.Taped, c.Open = int64(h.Counters.Begun), int64(h.Counters.Taped), int64(h.Counters.Open)
		for _, n := range h.Counters.Dropped {
			c.Dropped += int64(n)
		}
	}
	return nil
}

// check says what does not add up. In block mode all that was sent is taped.
func (c counts) check(sent int64, block bool) error {
	if c.Begun != c.Taped+c.Dropped+c.Open || c.Taped != c.Rows || c.Open != 0 {
		return fmt.Errorf("the counters do not add up: %+v", c)
	}
	if block && c.Rows != sent {
		return fmt.Errorf("%d sent, and in block mode %+v", sent, c)
	}
	return nil
}
