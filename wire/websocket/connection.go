package websocket

import (
	"encoding/binary"

	"tapedeck/events"
	"tapedeck/wire"
)

// Connection reads the frames of both sides of an upgraded connection. It
// holds at most one message a side.
type Connection struct {
	x      *events.Exchange
	stream *wire.Stream
	sides  [3]*side
	opaque bool
	code   int // of the first close frame
	by     events.Side
}

// NewConnection begins behind the answer that switches to WebSocket.
func NewConnection(x *events.Exchange, stream *wire.Stream) *Connection {
	agreed := negotiated(x.GetResponse().GetHeaders())
	c := &Connection{x: x, stream: stream, code: codeCut}
	for _, which := range []events.Side{events.Side_REQUEST, events.Side_RESPONSE} {
		c.sides[which] = &side{which: which, deflate: agreed.on, inflater: inflater{forget: agreed.forget[which]}}
	}
	return c
}

// Data are the next bytes of a side, read at Unix nanosecond now.
func (c *Connection) Data(which events.Side, now int64, b []byte) {
	s := c.sides[which]
	for len(b) > 0 && !c.opaque {
		n, err := c.step(s, now, b)
		if err != nil {
			c.lose(err, now)
			b = b[n:]
			break
		}
		b = b[n:]
	}
	c.stream.Count(which, int64(len(b)))
}

// lose gives up: what is under way is kept as far as it came.
func (c *Connection) lose(err error, now int64) {
	c.cut(now)
	c.opaque = true
	if c.x.Failure == "" {
		c.x.Failure = wire.FailureGap + err.Error()
	}
	for _, s := range c.sides[1:] {
		s.message, s.packed, s.inflater.window = nil, nil, nil
	}
}

// step takes bytes of one head or one payload, and returns how many.
func (c *Connection) step(s *side, now int64, b []byte) (int, error) {
	if s.need == 0 || s.have < s.need {
		return c.headBytes(s, now, b)
	}
	n, err := s.payload(b[:min(s.remain, int64(len(b)))])
	if err != nil {
		return n, err
	}
	if s.remain -= int64(n); s.remain == 0 {
		return n, c.endFrame(s, now)
	}
	return n, nil
}

// headBytes gathers a head and looks at it when it is whole.
func (c *Connection) headBytes(s *side, now int64, b []byte) (int, error) {
	if s.closed {
		return 0, errClosed
	}
	n := copy(s.head[s.have:max(s.need, 2)], b)
	s.have += n
	if s.need == 0 && s.have == 2 {
		if err := s.check(); err != nil {
			return n, err
		}
		s.need = 2
		switch s.head[1] & 0x7f {
		case 126:
			s.need = 4
		case 127:
			s.need = 10
		}
		if s.which == events.Side_REQUEST {
			s.need += 4
		}
	}
	if s.need == 0 || s.have < s.need {
		return n, nil
	}
	return n, c.begin(s, now)
}

// begin reads the length; a frame without a payload is whole at once.
func (c *Connection) begin(s *side, now int64) error {
	switch length := s.head[1] & 0x7f; length {
	case 126:
		s.remain = int64(binary.BigEndian.Uint16(s.head[2:]))
		if s.remain < 126 {
			return errLength
		}
	case 127:
		n := binary.BigEndian.Uint64(s.head[2:])
		if n>>63 != 0 || n < 1<<16 {
			return errLength
		}
		s.remain = int64(n)
	default:
		s.remain = int64(length)
	}
	s.masked = 0
	switch op := s.opcode(); {
	case op >= opClose:
		s.control = &events.Message{Side: s.which, Time: now, Type: types[op]}
	case op != opContinuation:
		s.message = &events.Message{Side: s.which, Time: now, Type: types[op]}
		s.isPack, s.packed, s.cut = s.head[0]&0x40 != 0, nil, false
	}
	if s.remain == 0 {
		return c.endFrame(s, now)
	}
	return nil
}

// endFrame is reached when a frame is whole.
func (c *Connection) endFrame(s *side, now int64) error {
	s.have, s.need = 0, 0
	if m := s.control; m != nil {
		s.control = nil
		c.noteClose(s, m)
		c.stream.Add(m, now)
		return nil
	}
	if !s.fin() {
		return nil
	}
	m := s.message
	if s.isPack {
		var err error
		if m.Data, m.Size, err = s.inflater.unpack(s.packed); err != nil {
			return err
		}
	}
	s.message, s.packed = nil, nil
	c.stream.Add(m, now)
	return nil
}

func (c *Connection) noteClose(s *side, m *events.Message) {
	if m.Type != TypeClose {
		return
	}
	s.closed = true
	if c.code == codeCut {
		c.code, c.by = CloseCode(m.Data), s.which
	}
}

// Gap says that n bytes of a side are missing. Inside of a payload that is not
// compressed its message is cut; anywhere else the place is lost.
func (c *Connection) Gap(which events.Side, n int64) {
	s := c.sides[which]
	if c.opaque {
		c.stream.Count(which, n)
		return
	}
	if s.control != nil || s.message == nil || s.isPack || s.have < s.need || s.need == 0 || n >= s.remain {
		c.lose(errMissing, c.x.GetResponse().GetLastByte())
		c.stream.Count(which, n)
		return
	}
	s.remain -= n
	s.masked = (s.masked + int(n&3)) & 3
	s.message.Size += n
	s.cut = true
}

// Tick is called about once a second.
func (c *Connection) Tick(now int64) { c.stream.Tick(now) }

// Close ends the stream when both sides have ended; err is why the connection
// did.
func (c *Connection) Close(now int64, err error) {
	c.cut(now)
	c.stream.Flush()
	if c.x.Failure == "" {
		c.x.Failure = failure(c.code, c.by, err)
	}
}

// cut keeps what came of messages that are not whole; of a compressed one only
// the count of its bytes.
func (c *Connection) cut(now int64) {
	for _, s := range c.sides[1:] {
		m := s.message
		switch {
		case m == nil:
			continue
		case s.isPack:
			m.Size = int64(len(s.packed))
		}
		s.message, s.packed = nil, nil
		if m.Size > 0 {
			c.stream.Add(m, now)
		}
	}
}
