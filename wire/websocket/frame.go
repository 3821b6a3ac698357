package websocket

import (
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
