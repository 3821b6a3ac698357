package indexer

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
)

// handleArchived notes where tapes lie.
func (s *Service) handleArchived(ctx, work context.Context, msgs []jetstream.Msg) {
	var places []events.Archived
	var good []jetstream.Msg
	for _, msg := range msgs {
		place, err := readArchived(msg)
		if err == nil {
			err = gaveUp(msg)
		}
		if err != nil {
			s.bury(work, msg, err)
			continue
		}
		places, good = append(places, place), append(good, msg)
	}
	err := s.persist(ctx, work, func(work context.Context) error { return s.store.Archived(work, places) })
	s.finish(ctx, err, good)
}

// finish acks what is in the database, or gives it back.
func (s *Service) finish(ctx context.Context, err error, msgs []jetstream.Msg) {
	if err != nil {
		s.giveBack(ctx, err, msgs...)
		return
	}
	for _, m := range msgs {
		if err := m.Ack(); err != nil {
			s.log.Warn("ack", "subject", m.Subject(), "error", err) // it comes again; doing it twice changes nothing
		}
	}
}

func readArchived(msg jetstream.Msg) (events.Archived, error) {
	v, err := readData[events.Archived](msg)
	if err != nil {
		return v, err
	}
	w := events.Workload{Cluster: v.Cluster, Namespace: v.Namespace, Service: v.Service.Service}
	if events.ArchivedSubject(&w) != msg.Subject() {
		return v, fmt.Errorf("object %s of service %q %w", v.Object, w.Service, errSubject)
	}
	if v.Object == "" {
		return v, fmt.Errorf("%w: archived without an object", events.ErrEvent)
	}
	for _, t := range v.Tapes {
		if t.ID.IsZero() || t.Offset < 0 || t.Length <= 0 {
			return v, fmt.Errorf("%w: tape %s lies at %d with %d bytes", events.ErrEvent, t.ID, t.Offset, t.Length)
		}
	}
	return v, nil
}

func readData[T any](msg jetstream.Msg) (T, error) {
	e, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		var none T
		return none, err
	}
	return events.DecodeData[T](e)
}
