package indexer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

// maxRows bounds the rows of one transaction, and so its memory and how long
// others wait for it. One tape may have more.
const maxRows = 20_000

// incoming is a tape with the message it came in.
type incoming struct {
	traffic.Received
	msg jetstream.Msg
}

func (s *Service) handleCaptured(ctx, work context.Context, msgs []jetstream.Msg) {
	var together []incoming
	rows := 0
	flush := func() {
		if len(together) > 0 {
			s.index(ctx, work, together)
		}
		together, rows = nil, 0
	}
	for _, msg := range msgs {
		in, err := readTape(msg)
		if err == nil {
			err = gaveUp(msg)
		}
		if err != nil {
			s.bury(work, msg, err)
			continue
		}
		if service.Deliveries(msg) >= events.AloneAfter {
			s.index(ctx, work, []incoming{in})
			continue
		}
		n := len(in.Index.Entries)
		if rows+n > maxRows {
			flush()
		}
		together, rows = append(together, in), rows+n
	}
	flush()
}

// readTape reads what a message on captured.> carries, as far as the index
// needs it. Its errors are for ever.
func readTape(msg jetstream.Msg) (incoming, error) {
	e, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		return incoming{}, err
	}
	front, err := events.ParseFront(e.Data)
	if err != nil {
		return incoming{}, err
	}
	if front.Total != int64(len(e.Data)) {
		return incoming{}, fmt.Errorf("%w: truncated: %d bytes of %d", events.ErrTape, len(e.Data), front.Total)
	}
	if events.CapturedSubject(front.Header.Workload) != msg.Subject() {
		return incoming{}, fmt.Errorf("tape %s of service %q %w", front.TapeID(), front.Header.Workload.Service, errSubject)
	}
	if err := traffic.Check(front); err != nil {
		return incoming{}, err
	}
	return incoming{traffic.Received{Front: front, At: receivedAt(msg)}, msg}, nil
}

func receivedAt(msg jetstream.Msg) time.Time {
	if meta, err := msg.Metadata(); err == nil {
		return meta.Timestamp
	}
	return time.Now()
}

// index writes tapes in one transaction, then says so, then acks.
func (s *Service) index(ctx, work context.Context, list []incoming) {
	tapes, msgs := make([]traffic.Received, len(list)), make([]jetstream.Msg, len(list))
	for i, in := range list {
		tapes[i], msgs[i] = in.Received, in.msg
	}
	var stored []traffic.Stored
	began := time.Now()
	err := s.persist(ctx, work, func(work context.Context) (err error) {
		stored, err = s.store.Write(work, tapes, s.buryExchanges)
		return err
	})
	if err != nil {
		s.giveBack(ctx, err, msgs...)
		return
	}
	s.metrics.wrote(tapes, stored, time.Since(began))
	s.announce(work, list)
}

// announce publishes the hints and acks each tape whose hint has arrived: a
// redelivery finds the tape in the ledger and comes here again.
func (s *Service) announce(ctx context.Context, list []incoming) {
	acks := make([]jetstream.PubAckFuture, len(list))
	errs := make([]error, len(list))
	for i := range list {
		acks[i], errs[i] = s.publishHint(&list[i])
	}
	bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for i, in := range list {
		err := errs[i]
		if err == nil {
			err = published(bounded, acks[i])
		}
		if err != nil {
			err = fmt.Errorf("say that tape %s is indexed: %w", in.TapeID(), err)
			if service.Deliveries(in.msg) < events.AloneAfter {
				s.giveBack(ctx, err, in.msg)
				continue
			}
			// It is indexed: the missing hint must not make it a dead letter.
			s.log.Error("nobody is told", "error", err)
		}
		if err := in.msg.Ack(); err != nil {
			s.log.Warn("ack", "tape", in.TapeID(), "error", err) // it comes again and is found in the ledger
		}
	}
}

func (s *Service) publishHint(in *incoming) (jetstream.PubAckFuture, error) {
	subject := events.IndexedSubject(in.Header.Workload)
	id := in.TapeID().String() + ".indexed"
	e, err := events.NewEvent(subject, s.source, id, in.Header.Workload.Service, hint(in.Front))
	if err != nil {
		return nil, err
	}
	msg, err := events.Encode(subject, e)
	if err != nil {
		return nil, err
	}
	return s.js.PublishMsgAsync(msg)
}

func published(ctx context.Context, ack jetstream.PubAckFuture) error {
	select {
	case <-ack.Ok():
		return nil
	case err := <-ack.Err():
		return err
	case <-ctx.Done():
		return errors.New("no answer from NATS")
	}
}

// Headers of the dead letter of one exchange, whose data is its row in JSON.
const (
	deadTapeHeader    = "tapedeck-tape"
	deadOrdinalHeader = "tapedeck-ordinal" // of its entry in the tape's index
)

// buryExchanges sends what the database can't hold to the dead letters. The
// tape itself goes on, so each letter has the row alone; the archive has the
// exchange.
func (s *Service) buryExchanges(ctx context.Context, dead []traffic.Dead) error {
	for _, d := range dead {
		data, err := json.Marshal(d.Row)
		if err != nil {
			return fmt.Errorf("encode dead exchange %s: %w", d.Row.ID, err)
		}
		msg := &nats.Msg{Subject: events.DeadLetterSubject(events.StreamCaptured), Header: nats.Header{}, Data: data}
		msg.Header.Set(events.DeadReasonHeader, strings.Join(strings.Fields(d.Reason.Error()), " "))
		msg.Header.Set(events.DeadWorkerHeader, events.DurableIndexer)
		msg.Header.Set(deadTapeHeader, d.Row.Tape.String())
		msg.Header.Set(deadOrdinalHeader, strconv.Itoa(d.Ordinal))
		id := fmt.Sprintf("%s.%s.%d", events.StreamCaptured, d.Row.Tape, d.Ordinal)
		if _, err := s.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id)); err != nil {
			return fmt.Errorf("dead letter of exchange %s: %w", d.Row.ID, err)
		}
		s.log.Error("exchange can't be indexed", "exchange", d.Row.ID, "tape", d.Row.Tape, "error", d.Reason)
	}
	return nil
}
