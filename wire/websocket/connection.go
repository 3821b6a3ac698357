package websocket

import (
	"encoding/binary"
	"errors"

	"tapedeck/events"
	"tapedeck/wire"
)

// Opcodes (RFC 6455, 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

var (
	errReserved  = errors.New("frame with a reserved bit or opcode")
	errMask      = errors.New("client frames must be masked, server frames must not")
	errControl   = errors.New("control frame that is long or in pieces")
	errLength    = errors.New("frame length is not written the short way")
	errFragments = errors.New("fragments out of order")
	errClosed    = errors.New("bytes behind a close frame")
	errMissing   = errors.New("bytes are missing from the copy")
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

// side is one direction's frames.
type side struct {
	which    events.Side
	deflate  bool
	inflater inflater

	head    [14]byte
	have    int
	need    int   // bytes of the head; 0 before its second byte
	remain  int64 // of the frame's payload
	masked  int   // bytes of the payload that were unmasked
	control *events.Message
	message *events.Message // under way
	packed  []byte          // of a compressed one
	isPack  bool
	cut     bool // the message has a hole: nothing behind it is kept
	closed  bool
}

func (s *side) fin() bool    { return s.head[0]&0x80 != 0 }
func (s *side) opcode() byte { return s.head[0] & 0x0f }
func (s *side) mask() []byte { return s.head[s.need-4 : s.need] }

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

// check looks at the two bytes that every frame begins with.
func (s *side) check() error {
	first, second := s.head[0], s.head[1]
	op := first & 0x0f
	control := op >= opClose
	packed := first&0x40 != 0
	switch {
	case first&0x30 != 0, packed && (!s.deflate || control || op == opContinuation):
		return errReserved
	case op > opBinary && op < opClose, op > opPong:
		return errReserved
	case (second&0x80 != 0) != (s.which == events.Side_REQUEST):
		return errMask
	case control && (!s.fin() || second&0x7f > 125):
		return errControl
	case !control && (op == opContinuation) != (s.message != nil):
		return errFragments
	}
	return nil
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

var types = map[byte]string{opText: TypeText, opBinary: TypeBinary, opClose: TypeClose, opPing: TypePing, opPong: TypePong}

// payload adds payload bytes to what they belong to, and returns how many.
func (s *side) payload(b []byte) (int, error) {
	switch {
	case s.control != nil:
		s.control.Size += int64(len(b))
		s.control.Data = s.unmask(s.control.Data, b, len(b))
	case s.isPack:
		room := min(len(b), maxPacked-len(s.packed))
		if s.packed = s.unmask(s.packed, b, room); room < len(b) {
			return room, errPacked
		}
	default:
		s.message.Size += int64(len(b))
		room := wire.MaxMessage - len(s.message.Data)
		if s.cut {
			room = 0
		}
		s.message.Data = s.unmask(s.message.Data, b, min(len(b), room))
	}
	return len(b), nil
}

// unmask appends the first n bytes of b, without their mask.
func (s *side) unmask(to, b []byte, n int) []byte {
	at := len(to)
	to = append(to, b[:n]...)
	if s.which == events.Side_REQUEST {
		mask := s.mask()
		for i := range to[at:] {
			to[at+i] ^= mask[(s.masked+i)&3]
		}
		s.masked = (s.masked + len(b)) & 3
	}
	return to
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
