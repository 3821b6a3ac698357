package wire

import (
	"time"

	"tapedeck/events"
)

// Bounds of a stream that somebody else could drive up.
const (
	// MaxMessage is how much is kept of one message.
	MaxMessage = 512 << 10
	// SlowerSegments is after how many each of the next ones carries twice the
	// time.
	SlowerSegments = 1024

	fullSegment     = 256 << 10 // bytes at which a segment is written
	messageOverhead = 160       // of a message that is held
	maxSegments     = 8192      // of an exchange: their places must fit into it
)

// Stream gathers the messages of an exchange into segments of a second each,
// and counts them in the bodies: Size is what was sent, Kept what is in
// segments. A stream that has gone on for 17 minutes gets segments of two
// seconds, and so on: three days of it fit into its exchange.
type Stream struct {
	x       *events.Exchange
	sink    SegmentSink
	segment *events.Segment
	since   int64    // when its first message was complete
	held    int      // bytes of it
	kept    [3]int64 // of them, by side
	number  uint32
}

// NewStream begins the stream of x, whose sink it tells.
func NewStream(x *events.Exchange, sink SegmentSink) *Stream { return &Stream{x: x, sink: sink} }

// Add adds a message that is complete at Unix nanosecond now.
func (s *Stream) Add(m *events.Message, now int64) {
	s.Count(m.Side, m.Size)
	s.Tick(now)
	if s.segment != nil && s.held+len(m.Data) > fullSegment {
		s.Flush()
	}
	if s.number == maxSegments {
		return
	}
	if s.segment == nil {
		s.segment, s.since = &events.Segment{ExchangeId: s.x.Id, Number: s.number}, now
	}
	s.segment.Messages = append(s.segment.Messages, m)
	s.held += len(m.Data) + messageOverhead
	s.kept[m.Side] += int64(len(m.Data))
}

// Count counts bytes of a side that are in no message.
func (s *Stream) Count(side events.Side, n int64) {
	if body := s.body(side); body != nil {
		body.Size += n
	}
}

func (s *Stream) body(side events.Side) *events.Body {
	if side == events.Side_REQUEST {
		return s.x.GetRequest().GetBody()
	}
	return s.x.GetResponse().GetBody()
}

// Tick writes a segment that is old enough.
func (s *Stream) Tick(now int64) {
	if s.segment != nil && now-s.since >= int64(time.Second)<<(s.number/SlowerSegments) {
		s.Flush()
	}
}

// Flush writes the messages that are held.
func (s *Stream) Flush() {
	if s.segment == nil {
		return
	}
	segment, kept := s.segment, s.kept
	s.segment, s.held, s.kept = nil, 0, [3]int64{}
	ref := s.sink.Segment(events.ID(s.x.Id), segment)
	if ref == nil {
		return
	}
	s.number++
	s.x.Segments = append(s.x.Segments, ref)
	for side, n := range kept {
		if n > 0 {
			s.body(events.Side(side)).Kept += n
		}
	}
}
