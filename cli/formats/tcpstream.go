package formats

import (
	"bytes"
	"slices"
)

const (
	maxEarly  = 512     // segments of one side that came before their turn
	maxJump   = 1 << 30 // of sequence numbers; beyond it, it is another connection
	maxOfSide = 4 << 20 // bytes that came before their turn
)

// stream puts the segments of one side of a TCP connection in order (RFC 9293,
// 3.4). What the other side acknowledges has arrived there: if it is not in the
// file by then it never will be, and is told as a gap at that moment, so that
// both sides stay in step.
type stream struct {
	data func(b []byte)
	gap  func(n int64)

	begun bool
	next  uint32 // sequence number of the next byte
	early []segment
	held  int
	fin   bool
	end   uint32 // sequence number of the FIN
}

type segment struct {
	seq uint32
	b   []byte
}

// after is how far a sequence number is behind another, round the corner.
func after(a, b uint32) int64 { return int64(int32(a - b)) }

// begin says where the side's first byte is, if nobody did before.
func (s *stream) begin(seq uint32) {
	if !s.begun {
		s.begun, s.next = true, seq
	}
}

// segment takes the bytes of one packet.
func (s *stream) segment(seq uint32, b []byte) {
	s.begin(seq)
	switch d := after(seq, s.next); {
	case len(b) == 0 || d > maxJump || d < -maxJump:
	case d > 0:
		s.keep(segment{seq, bytes.Clone(b)})
	default:
		s.deliver(segment{seq, b})
		s.drain()
	}
}

// finish notes the FIN behind the last byte.
func (s *stream) finish(seq uint32) { s.fin, s.end = true, seq }

// finished says that all before the FIN was delivered or is a gap.
func (s *stream) finished() bool { return s.fin && after(s.next, s.end) >= 0 }

func (s *stream) deliver(g segment) {
	if known := -after(g.seq, s.next); known > 0 { // sent again
		if known >= int64(len(g.b)) {
			return
		}
		g.b = g.b[known:]
	}
	s.next += uint32(len(g.b))
	s.data(g.b)
}

func (s *stream) drain() {
	for len(s.early) > 0 && after(s.early[0].seq, s.next) <= 0 {
		g := s.early[0]
		s.early = s.early[1:]
		s.held -= len(g.b)
		s.deliver(g)
	}
}

func (s *stream) keep(g segment) {
	i, _ := slices.BinarySearchFunc(s.early, g, func(a, b segment) int { return int(after(a.seq, b.seq)) })
	s.early = slices.Insert(s.early, i, g)
	s.held += len(g.b)
	for len(s.early) > maxEarly || s.held > maxOfSide {
		s.skip(s.early[0].seq)
	}
}

// skip gives up what is missing before seq.
func (s *stream) skip(seq uint32) {
	if n := after(seq, s.next); n > 0 {
		s.next = seq
		s.gap(n)
	}
	s.drain()
}

// acknowledged says that the other side has all before ack.
func (s *stream) acknowledged(ack uint32) {
	s.begin(ack)
	for d := after(ack, s.next); d > 0 && d <= maxJump; d = after(ack, s.next) {
		if len(s.early) > 0 && after(s.early[0].seq, ack) < 0 {
			s.skip(s.early[0].seq)
			continue
		}
		if d == 1 { // a number behind all bytes is that of a FIN
			return
		}
		s.skip(ack)
	}
}

// flush gives up all that is missing.
func (s *stream) flush() {
	for len(s.early) > 0 {
		s.skip(s.early[0].seq)
	}
}
