package grpc

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

const prefixSize = 5 // flag, length

// Bounds of what a call writes.
const (
	maxMessage  = 256 << 10 // kept of one message in a segment
	maxSegment  = 256 << 10 // a segment is written when its messages are as long
	maxSegments = 8192      // of a call: their places must fit into the exchange
	slower      = 1024      // after so many segments the next ones carry a second more each
	overhead    = 160       // of a message that is held
)

// call finds the messages of one call.
type call struct {
	x       *events.Exchange
	sink    wire.SegmentSink // nil: nobody keeps segments
	sides   [3]splitter
	stream  bool // some side has sent more than one message
	segment *events.Segment
	held    int      // bytes of the segment
	kept    [3]int64 // of them, by side, those that are in no body
	number  uint32   // of the segment
}

// splitter finds the messages of one side.
type splitter struct {
	side    events.Side
	number  int // messages begun before this
	prefix  [prefixSize]byte
	have    int
	remain  int64
	message *events.Message // under way; of the first one without its data
	first   *events.Message // complete; nil once it is in a segment
}

// Data are body bytes of a side. The first message, and all when nobody keeps
// segments, go to keep.
func (c *call) Data(side events.Side, t int64, b []byte, keep func(b []byte)) {
	if c.sink == nil {
		keep(b)
		return
	}
	s := &c.sides[side]
	for len(b) > 0 {
		n := c.next(s, t, b)
		if s.number == 0 {
			keep(b[:n])
		} else {
			c.body(side).Size += int64(n)
		}
		b = b[n:]
		if s.have == prefixSize && s.remain == 0 {
			c.complete(s, t)
		}
	}
}

func (c *call) body(side events.Side) *events.Body {
	if side == events.Side_REQUEST {
		return c.x.Request.Body
	}
	return c.x.Response.GetBody()
}

// next takes bytes of one prefix or one message, and returns how many.
func (c *call) next(s *splitter, t int64, b []byte) int {
	if s.have < prefixSize {
		if s.have == 0 {
			c.begin(s, t)
		}
		n := copy(s.prefix[s.have:], b)
		if s.have += n; s.have == prefixSize {
			s.remain = int64(binary.BigEndian.Uint32(s.prefix[1:]))
			s.message.Size = s.remain
			s.message.Type = messageType(s.prefix[0], c.encoding(s.side))
		}
		return n
	}
	n := int(min(int64(len(b)), s.remain))
	s.remain -= int64(n)
	if room := maxMessage - len(s.message.Data); s.number > 0 && room > 0 {
		s.message.Data = append(s.message.Data, b[:min(n, room)]...)
	}
	return n
}

// begin begins a message; the second one of a side makes a stream.
func (c *call) begin(s *splitter, t int64) {
	s.message = &events.Message{Side: s.side, Time: t}
	if s.number == 0 || c.stream {
		return
	}
	c.stream = true
	firsts := []*splitter{&c.sides[events.Side_REQUEST], &c.sides[events.Side_RESPONSE]}
	slices.SortStableFunc(firsts, func(a, b *splitter) int { return cmp.Compare(a.first.GetTime(), b.first.GetTime()) })
	for _, f := range firsts {
		if f.first != nil {
			c.addFirst(f, t)
		}
	}
}

// complete is reached when a message is whole.
func (c *call) complete(s *splitter, t int64) {
	m := s.message
	s.number++
	s.message, s.have = nil, 0
	if s.number > 1 {
		c.add(m, t)
		c.kept[s.side] += prefixSize + int64(len(m.Data))
		return
	}
	if s.first = m; c.stream {
		c.addFirst(s, t)
	}
}

// addFirst copies the first message of a side from its body.
func (c *call) addFirst(s *splitter, t int64) {
	m := s.first
	s.first = nil
	if data := c.body(s.side).Data; len(data) > prefixSize {
		m.Data = bytes.Clone(data[prefixSize:min(len(data), prefixSize+maxMessage)])
	}
	c.add(m, t)
}

func (c *call) add(m *events.Message, t int64) {
	c.Tick(t)
	if c.segment != nil && c.held+len(m.Data) > maxSegment {
		c.Flush()
	}
	if c.segment == nil {
		c.segment = &events.Segment{ExchangeId: c.x.Id, Number: c.number}
	}
	c.segment.Messages = append(c.segment.Messages, m)
	c.held += len(m.Data) + overhead
}

// Tick writes a segment that is a second old.
func (c *call) Tick(t int64) {
	if c.segment != nil && t-c.segment.Messages[0].Time >= int64(time.Second)*int64(1+c.number/slower) {
		c.Flush()
	}
}

// Flush writes the complete messages.
func (c *call) Flush() {
	if c.segment == nil {
		return
	}
	segment, kept := c.segment, c.kept
	c.segment, c.held, c.kept = nil, 0, [3]int64{}
	if c.number == maxSegments {
		return
	}
	ref := c.sink.Segment(events.ID(c.x.Id), segment)
	if ref == nil {
		return
	}
	c.number++
	c.x.Segments = append(c.x.Segments, ref)
	for side, n := range kept {
		if body := c.body(events.Side(side)); body != nil {
			body.Kept += n
		}
	}
}

// Held is how many bytes wait to be written.
func (c *call) Held() int {
	n := c.held
	for _, s := range c.sides {
		n += len(s.message.GetData())
	}
	return n
}
