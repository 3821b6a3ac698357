package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"tapedeck/events"
)

// poisonHeader numbers the messages that can never be handled.
const poisonHeader = "faults-poison"

// poisons are the messages that were sent and can never be handled.
type poisons struct {
	mu    sync.Mutex
	acked []bool // by number: whether the broker said that it has it
}

// poison publishes, where tapes are awaited, what is none.
func (s *stack) poison(ctx context.Context, _ time.Duration) error {
	for kind := range 5 {
		msg, err := poisonous(kind)
		if err != nil {
			return err
		}
		p := &s.poisons
		p.mu.Lock()
		n := len(p.acked)
		p.acked = append(p.acked, false)
		p.mu.Unlock()
		msg.Header.Set(poisonHeader, strconv.Itoa(n))
		bounded, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err = s.js.PublishMsg(bounded, msg)
		cancel()
		p.mu.Lock()
		p.acked[n] = err == nil // without an answer it may be there or not
		p.mu.Unlock()
	}
	return nil
}

// poisonous is a message of one of five kinds.
func poisonous(kind int) (*nats.Msg, error) {
	noise := make([]byte, 4<<10)
	rand.Read(noise)
	w := &events.Workload{Cluster: "faults", Service: "poison"}
	subject := events.CapturedSubject(w)
	if kind == 0 { // from somebody who knows nothing of us
		return &nats.Msg{Subject: subject, Header: nats.Header{}, Data: noise}, nil
	}
	b := events.NewBuilder(time.Now())
	id := events.NewID(time.Now())
	entry := &events.Entry{Id: id[:], Time: uint64(time.Now().UnixNano()), Path: "/poison"}
	if err := b.AddExchange(entry, &events.Endpoint{Direction: events.Direction_INBOUND}, &events.Exchange{Id: id[:]}); err != nil {
		return nil, err
	}
	source := events.NewID(time.Now())
	raw, err := b.Close(&events.Header{SourceId: source[:], Number: 1, Workload: w, ClosedAt: time.Now().UnixNano(), Counters: &events.Counters{}})
	if err != nil {
		return nil, err
	}
	switch kind {
	case 1: // says that it is a tape
		raw = noise
	case 2: // its front is damaged
		raw[len(raw)/3] ^= 0xff
	case 3: // cut off
		raw = raw[:len(raw)-1]
	case 4: // another service's
		subject = events.CapturedSubject(&events.Workload{Cluster: "faults", Service: "other"})
	}
	e, err := events.NewEvent(subject, "faults", id.String(), w.Service, raw)
	if err != nil {
		return nil, err
	}
	return events.Encode(subject, e)
}

// letters is how often each poison is among the dead letters; others are
// letters that nobody sent poison for.
func (s *stack) letters(ctx context.Context) (byPoison map[int]int, others []string, err error) {
	stream, err := s.js.Stream(ctx, events.StreamDead)
	if err != nil {
		return nil, nil, err
	}
	byPoison = map[int]int{}
	state := stream.CachedInfo().State
	for n := state.FirstSeq; state.Msgs > 0 && n <= state.LastSeq; n++ {
		msg, err := stream.GetMsg(ctx, n)
		if err != nil {
			return nil, nil, fmt.Errorf("read dead letter %d: %w", n, err)
		}
		number, err := strconv.Atoi(msg.Header.Get(poisonHeader))
		reason := msg.Header.Get(events.DeadReasonHeader)
		if err != nil || reason == "" {
			others = append(others, fmt.Sprintf("%s, by %s: %s", msg.Subject, msg.Header.Get(events.DeadWorkerHeader), reason))
			continue
		}
		byPoison[number]++
	}
	return byPoison, others, nil
}

// poisoned says which poisons are not once among the dead letters.
func poisoned(acked []bool, letters map[int]int) (found []string) {
	for n, sure := range acked {
		if got := letters[n]; got > 1 || got == 0 && sure {
			found = append(found, fmt.Sprintf("poison %d, of kind %d, is %d times among the dead letters", n, n%5, got))
		}
	}
	return found
}
