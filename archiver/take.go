package archiver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/service"
)

// putsAtOnce is how many tapes are written at a time.
const putsAtOnce = 8

// maxToken is how long a name may be as a folder.
const maxToken = 200

// item is a tape with the message that brought it.
type item struct {
	msg  jetstream.Msg
	tape *events.Tape
}

// handle archives the tapes of messages, or puts them into open reels. It
// returns how many failed for a reason that may pass.
func (s *Service) handle(ctx context.Context, msgs []jetstream.Msg) int {
	defer service.KeepAlive(ctx, msgs...)()
	var failed atomic.Int64
	var group errgroup.Group
	group.SetLimit(putsAtOnce)
	for _, msg := range msgs {
		tape, err := read(msg)
		if err != nil {
			s.bury(ctx, msg, err)
			continue
		}
		it := item{msg, tape}
		// A tape that others failed with is tried for itself.
		if s.reels != nil && service.Deliveries(msg) < events.AloneAfter {
			if err := s.reels.add(ctx, it); err != nil {
				s.retry(it, err)
				failed.Add(1)
			}
			continue
		}
		group.Go(func() error {
			if !s.storeAlone(ctx, it) {
				failed.Add(1)
			}
			return nil
		})
	}
	group.Wait()
	return int(failed.Load())
}

// read reads and verifies the tape of a message. An error is for ever.
func read(msg jetstream.Msg) (*events.Tape, error) {
	e, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return nil, err
	}
	if e.ContentType != events.TapeContentType {
		return nil, fmt.Errorf("%w: content type %q, want %s", events.ErrEvent, e.ContentType, events.TapeContentType)
	}
	t, err := events.ParseTape(e.Data)
	if err != nil {
		return nil, err
	}
	for i := range t.Index.Blocks {
		if _, err := t.Block(uint32(i)); err != nil {
			return nil, err
		}
	}
	w := t.Header.Workload
	if want := events.CapturedSubject(w); msg.Subject() != want {
		return nil, fmt.Errorf("%w: a tape of %s on %s", events.ErrTape, want, msg.Subject())
	}
	for _, name := range strings.Split(msg.Subject(), ".") {
		if len(name) > maxToken {
			return nil, fmt.Errorf("%w: name %.40s… has more than %d characters", events.ErrTape, name, maxToken)
		}
	}
	return t, nil
}

// storeAlone archives a tape as an object of its own.
func (s *Service) storeAlone(ctx context.Context, it item) bool {
	begin := time.Now()
	archived, err := s.archive.PutTape(ctx, it.tape)
	s.observe(begin, kindTape, len(it.tape.Bytes()), err)
	if errors.Is(err, tapes.ErrDifferent) {
		s.bury(ctx, it.msg, err)
		return true
	}
	if err == nil {
		err = s.announce(ctx, archived)
	}
	if err != nil {
		s.retry(it, err)
		return false
	}
	s.acknowledge(it)
	return true
}

// reelAttempts is how often a reel is tried before its tapes are given back.
const reelAttempts = 5

// storeReel archives tapes of one namespace as one object.
func (s *Service) storeReel(ctx context.Context, items []item) {
	msgs := make([]jetstream.Msg, len(items))
	for i, it := range items {
		msgs[i] = it.msg
	}
	defer service.KeepAlive(ctx, msgs...)()
	var reel *tapes.Reel
	var err error
	for attempt := uint64(0); ; attempt++ {
		begin := time.Now()
		var archived []events.Archived
		if reel == nil {
			reel, err = s.newReel(ctx, begin, items)
		}
		if err == nil {
			archived, err = s.archive.PutReel(ctx, reel)
		}
		s.observe(begin, kindReel, reel.Size(), err)
		if err == nil {
			err = s.announce(ctx, archived...)
			break
		}
		if attempt+1 == reelAttempts || !service.Sleep(ctx, service.Backoff(attempt)) {
			break
		}
		s.log.Warn("archive is failing, trying again", "error", err)
		err = nil
	}
	for _, it := range items {
		if err != nil {
			s.retry(it, err)
			continue
		}
		s.acknowledge(it)
	}
}

// newReel makes a reel of what is to be kept of tapes.
func (s *Service) newReel(ctx context.Context, now time.Time, items []item) (*tapes.Reel, error) {
	kept := make([]*events.Tape, len(items))
	for i, it := range items {
		var err error
		if kept[i], err = s.archive.Kept(ctx, it.tape); err != nil {
			return nil, err
		}
	}
	return tapes.NewReel(now, kept)
}

// announce says where tapes lie.
func (s *Service) announce(ctx context.Context, archived ...events.Archived) error {
	for _, a := range archived {
		w := &events.Workload{Cluster: a.Cluster, Namespace: a.Namespace, Service: a.Service.Service}
		subject := events.ArchivedSubject(w)
		// The same object is announced by the same id.
		e, err := events.NewEvent(subject, "/tapedeck/archiver", a.Object+"#"+events.Token(w.Service), w.Service, a)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, publishTimeout)
		err = events.Publish(ctx, s.js, subject, e)
		cancel()
		if err != nil {
			return fmt.Errorf("announce %s: %w", a.Object, err)
		}
	}
	return nil
}

const publishTimeout = 10 * time.Second

func (s *Service) acknowledge(it item) {
	s.metrics.archived.Inc()
	if err := it.msg.Ack(); err != nil { // delivered again, it is in the archive already
		s.log.Warn("ack", "tape", it.tape.TapeID(), "error", err)
	}
}

// retry gives a tape back, to come again later.
func (s *Service) retry(it item, err error) {
	n := service.Deliveries(it.msg)
	s.metrics.retried.Inc()
	s.log.Warn("tape is not archived, it will be tried again", "tape", it.tape.TapeID(), "delivery", n, "error", err)
	if err := it.msg.NakWithDelay(service.Backoff(n - 1)); err != nil { // comes again after the AckWait
		s.log.Warn("give back", "tape", it.tape.TapeID(), "error", err)
	}
}

// bury puts a message that can never be archived on the dead letters.
func (s *Service) bury(ctx context.Context, msg jetstream.Msg, reason error) {
	err := events.DeadLetter(ctx, s.js, msg, reason)
	if err == nil {
		s.metrics.dead.Inc()
		s.log.Error("dead letter", "subject", msg.Subject(), "reason", reason)
		return
	}
	s.log.Error("dead letter", "subject", msg.Subject(), "reason", reason, "error", err)
	msg.NakWithDelay(service.Backoff(service.Deliveries(msg))) // comes again after the AckWait else
}

func (s *Service) observe(begin time.Time, kind string, size int, err error) {
	if err != nil {
		s.failing.Store(&err)
		s.metrics.failures.WithLabelValues(kind).Inc()
		return
	}
	s.failing.Store(nil)
	s.metrics.seconds.WithLabelValues(kind).Observe(time.Since(begin).Seconds())
	s.metrics.bytes.WithLabelValues(kind).Add(float64(size))
}
