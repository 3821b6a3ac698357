package capture

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"tapedeck/capture/redact"
	"tapedeck/events"
	"tapedeck/wire"
)

const (
	// reopenAfter is how often a stream that goes on is announced again.
	reopenAfter = 10 * time.Second
	// maxSegment bounds the messages of a segment after redaction, so that it
	// fits into a tape of its own.
	maxSegment = 768 << 10
)

// messages is what the sink knows of a stream.
type messages struct {
	newest   *events.RecordRef // segment
	number   uint32            // of it
	shown    *events.RecordRef // the newest segment that an open entry leads to
	openTape events.ID         // of the newest open entry
	openedAt time.Time         // when one with a segment was written; zero: none
	marks    []redact.Mark     // of what was redacted
	size     [3]int64          // what redaction added to the bodies' sizes
	kept     [3]int64          // and, with the bound, to what is kept of them
	broken   bool              // redaction failed: the exchange keeps its metadata
	seams    redact.Seams      // finds what is split over messages
	held     *heldSegment      // nil: none
}

// holdFor is how long a segment waits for the messages behind it: those of the
// next second, in a segment that is as long as it is.
func holdFor(number uint32) time.Duration {
	return time.Second + time.Second<<(number/wire.SlowerSegments)
}

// heldSegment waits for the next one: until then a value may go on that has
// begun in it. It has the place that is filled in when it is written.
type heldSegment struct {
	*events.Segment
	place *events.RecordRef
	since time.Time
}

// Segment takes messages. They are redacted and written when those behind them
// have been looked at as well: with the next segment, two seconds later (holdFor), or at
// the exchange's end. An exchange that is open for more than a second gets an open
// entry that points at its segment, and another every ten seconds; from there
// all others are found backwards.
func (s *sink) Segment(id events.ID, g *events.Segment) *events.RecordRef {
	u := s.find(id)
	if u == nil || u.x == nil {
		return nil
	}
	if u.messages == nil {
		u.messages = &messages{}
	}
	m := u.messages
	now := time.Now()
	e := s.recorder.redactor.At(now) // of the time: a stream may outlive many keys
	m.look(e, u.x, g.Messages)
	s.release(u, now)
	m.held = &heldSegment{g, &events.RecordRef{}, now}
	place := m.held.place
	if !e.LooksAcross(u.x) {
		s.release(u, now)
	}
	return place
}

// look looks for what is split over messages.
func (m *messages) look(e *redact.Engine, x *events.Exchange, all []*events.Message) {
	for _, next := range all {
		m.broken = !m.seams.Add(e, x, next) || m.broken
	}
}

// release writes the segment that waits.
func (s *sink) release(u *underway, now time.Time) {
	m := u.messages
	if m == nil || m.held == nil {
		return
	}
	h := m.held
	m.held = nil
	var sent [3]int64
	for _, next := range h.Messages {
		sent[next.Side] += int64(len(next.Data))
	}
	e := s.recorder.redactor.At(now)
	size, kept := s.redactMessages(e, u, h.Messages)
	h.Previous = m.newest
	ref := s.write(e, u, h.Segment, now)
	for side := range m.size {
		m.size[side] += size[side]
		if ref != nil {
			m.kept[side] += kept[side]
		} else {
			m.kept[side] -= sent[side]
		}
	}
	if ref != nil {
		proto.Merge(h.place, ref)
	}
}

// places are those of segments that are written; with the end of the exchange
// all of them are.
func (s *sink) places(u *underway, x *events.Exchange) {
	if u.messages == nil {
		return
	}
	s.release(u, time.Now())
	u.messages.seams.Bodies(x)
	x.Segments = slices.DeleteFunc(x.Segments, func(place *events.RecordRef) bool { return len(place.TapeId) == 0 })
}

// lead writes a segment without messages for an open entry to point at: the
// stream has fallen silent behind the last one that was.
func (s *sink) lead(u *underway, now time.Time) {
	if m := u.messages; m.due(u, now) {
		s.write(s.recorder.redactor.At(now), u, &events.Segment{ExchangeId: u.x.Id, Number: m.number, Previous: m.newest}, now)
	}
}

// due says whether the next segment gets an open entry.
func (m *messages) due(u *underway, now time.Time) bool {
	return now.Sub(u.begun) >= openAfter && (m.openedAt.IsZero() || now.Sub(m.openedAt) >= reopenAfter)
}

// write writes a segment, with an open entry when one is due.
func (s *sink) write(e *redact.Engine, u *underway, g *events.Segment, now time.Time) *events.RecordRef {
	m := u.messages
	var open *openEntry
	if m.due(u, now) {
		entry, endpoint := s.openEntry(e, u, now)
		open = &openEntry{entry, endpoint, m.openTape}
	}
	ref, opened := s.recorder.addSegment(g, open, e.KeyID())
	if ref == nil {
		return nil
	}
	if len(g.Messages) > 0 {
		m.newest, m.number = ref, g.Number
	}
	if opened {
		u.announced, m.shown, m.openedAt, m.openTape = true, m.newest, now, events.ID(ref.TapeId)
	}
	return ref
}

// redactMessages redacts messages in place and cuts them to the bounds. It
// returns by how much that changed the sizes of both sides, and what is kept.
func (s *sink) redactMessages(e *redact.Engine, u *underway, all []*events.Message) (size, kept [3]int64) {
	room := int64(maxSegment)
	for _, m := range all {
		before := int64(len(m.Data))
		split := u.messages.seams.Take(m)
		whole := int64(len(m.Data))
		data, marks := e.Message(u.x, m)
		for _, found := range append(split, marks...) {
			u.messages.mark(m.Side, found)
		}
		size[m.Side] += int64(len(data)) - before
		m.Size += int64(len(data)) - whole
		m.Data = data[:min(int64(len(data)), s.recorder.limit(), room)]
		room -= int64(len(m.Data))
		kept[m.Side] += int64(len(m.Data)) - before
	}
	return size, kept
}

// mark notes where something was redacted; marks of an exchange are few.
func (m *messages) mark(side events.Side, found redact.Mark) {
	if found.Action == events.MetadataOnly {
		m.broken = true
		return
	}
	found.Place = sideName(side) + ".message." + found.Place
	if len(m.marks) < redact.MaxMarks && !slices.Contains(m.marks, found) {
		m.marks = append(m.marks, found)
	}
}

func sideName(side events.Side) string {
	if side == events.Side_REQUEST {
		return "request"
	}
	return "response"
}

// end writes what redaction changed into the exchange.
func (m *messages) end(x *events.Exchange) {
	if m == nil {
		return
	}
	for _, found := range m.marks {
		redact.Add(x, found)
	}
	if m.broken {
		redact.KeepMetadata(x)
	}
	bodies := [3]*events.Body{events.Side_REQUEST: x.Request.GetBody(), events.Side_RESPONSE: x.Response.GetBody()}
	for side, b := range bodies {
		if b != nil {
			b.Size += m.size[side]
			b.Kept = max(0, b.Kept+m.kept[side])
		}
	}
}
