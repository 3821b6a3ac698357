package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/service"
)

// sharing keeps what is not opened the same in all captures of a NATS server,
// through the bucket RULES. Without the server the file alone remembers.
//
//	learned here ──▶ RULES ──▶ every other capture, and its file
type sharing struct {
	js     jetstream.JetStream
	memory *passthrough
	log    *slog.Logger
	why    string // not shared, as last logged
}

// shareMemory shares until ctx is done.
func (s *Service) shareMemory(ctx context.Context) {
	if s.terms.passthrough == nil || s.publisher.js == nil {
		return
	}
	x := &sharing{js: s.publisher.js, memory: s.terms.passthrough, log: s.log}
	for {
		err := x.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && x.js.Conn().IsConnected() && err.Error() != x.why {
			x.why = err.Error()
			x.log.Warn("what is not opened is not shared with other captures", "error", err)
		}
		if !service.Sleep(ctx, recheckEvery) {
			return
		}
	}
}

// follow takes what others have learned, gives what the bucket lacks, and then
// keeps both up to date.
func (x *sharing) follow(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	bucket, err := x.js.KeyValue(opening, events.BucketRules)
	if err != nil {
		return fmt.Errorf("open bucket %s (made by `tapedeck admin setup`): %w", events.BucketRules, err)
	}
	watcher, err := bucket.Watch(ctx, events.PassthroughKeys)
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", events.BucketRules, err)
	}
	defer watcher.Stop()
	known := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return errors.New("the server ended the watch")
			case entry == nil: // all that was there has come
				x.why = ""
				err = x.give(ctx, bucket, known)
			default:
				known[entry.Key()] = true
				err = x.take(ctx, bucket, entry)
			}
		case r := <-x.memory.fresh:
			err = put(ctx, bucket, r)
		}
		if err != nil {
			return err
		}
	}
}

// take believes another capture, or forgets what someone deleted. What is over
// is taken out of the bucket, which has no age of its own.
func (x *sharing) take(ctx context.Context, bucket jetstream.KeyValue, entry jetstream.KeyValueEntry) error {
	if entry.Operation() != jetstream.KeyValuePut {
		return x.memory.forget(entry.Key(), entry.Created())
	}
	r, err := events.ParsePassthrough(entry.Key(), entry.Value())
	if err != nil {
		x.log.Warn("what another capture says of a host is ignored", "error", err)
		return nil
	}
	now := time.Now()
	if !now.Before(r.Until) {
		return bucket.Purge(ctx, entry.Key(), jetstream.LastRevision(entry.Revision()))
	}
	return x.memory.learn(r, now)
}

// give puts what only we know: it was learned before the server was there.
func (x *sharing) give(ctx context.Context, bucket jetstream.KeyValue, known map[string]bool) error {
	for _, r := range x.memory.shared(time.Now()) {
		if known[r.Key()] {
			continue
		}
		if err := put(ctx, bucket, r); err != nil {
			return err
		}
	}
	return nil
}

func put(ctx context.Context, bucket jetstream.KeyValue, r refusal) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	value, err := json.Marshal(r)
	if err == nil {
		_, err = bucket.Put(ctx, r.Key(), value)
	}
	if err != nil {
		return fmt.Errorf("share that %s is not opened: %w", r.Host, err)
	}
	return nil
}
