package capture

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"tapedeck/events"
)

// relay copies the bytes of a connection both ways, unchanged, until both
// sides have ended: an end of one side is passed on as such (half-close), a
// reset as a reset.
func (s *session) relay(client, upstream duplex, t *tap) {
	done := make(chan struct{})
	var ends passed
	go func() {
		defer close(done)
		s.copy(upstream, client, t, events.Side_REQUEST, &ends)
	}()
	s.copy(client, upstream, t, events.Side_RESPONSE, &ends)
	<-done
	client.Close()
	upstream.Close()
}

// passed says, by the side that ended, whether its end was passed on.
type passed [3]atomic.Bool

// copy reads from one side and writes to the other. Each read is shown to the
// dissector before it is written on, so that a request is always seen before
// its answer.
func (s *session) copy(to, from duplex, t *tap, side events.Side, ends *passed) {
	size := smallBuffer
	relayed := s.relayed[side]
	r := newReader(from)
	for {
		buf, n, err := r.read(size)
		if n > 0 {
			t.data(side, time.Now(), buf, n)
			if _, werr := to.Write(buf.b[:n]); werr != nil {
				buf.release()
				t.close(side, unlessOurs(werr))
				s.writeFailed(to, from, side)
				return
			}
			relayed.Add(float64(n))
		}
		full := n == size
		buf.release()
		if err != nil {
			s.readEnded(to, from, t, side, ends, err)
			return
		}
		size = nextSize(size, full, n)
	}
}

// nextSize is large after a read that filled its buffer and small again after
// one that would have fitted into a small one.
func nextSize(size int, full bool, n int) int {
	switch {
	case full:
		return largeBuffer
	case n <= smallBuffer/2:
		return smallBuffer
	}
	return size
}

// readEnded passes the end of one side on.
func (s *session) readEnded(to, from duplex, t *tap, side events.Side, ends *passed, err error) {
	if errors.Is(err, io.EOF) && wasReset(from) && !ends[other(side)].Load() {
		err = syscall.ECONNRESET
	}
	if errors.Is(err, io.EOF) {
		t.close(side, nil)
		ends[side].Store(true)
		passEnd(to, from)
		return
	}
	t.close(side, unlessOurs(err))
	reset(to)
	reset(from)
}

func other(side events.Side) events.Side {
	return events.Side_REQUEST + events.Side_RESPONSE - side
}

// wasReset is true for a connection whose read said EOF although its peer has
// reset it: the kernel tells of a reset once, and a write of the other
// direction may have been first to hear it. It is true as well when both sides
// have sent their ends. TLS tells a cut apart by itself.
func wasReset(c duplex) bool {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	gone := true // closed by the other direction, for a reset
	if raw, err := tcp.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			_, err := syscall.Getpeername(int(fd))
			gone = errors.Is(err, syscall.ENOTCONN)
		})
	}
	return gone
}

// unlessOurs is nil for a connection that we have closed ourselves, at the end
// or for the other side's failure: it has not failed.
func unlessOurs(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// writeFailed: nobody reads any more. A server that is gone may have left an
// answer, which the other direction still brings; a client that is gone leaves
// nothing to do.
func (s *session) writeFailed(to, from duplex, side events.Side) {
	if side == events.Side_RESPONSE {
		reset(to)
		reset(from)
	}
}

// reset closes with RST instead of FIN.
func reset(c duplex) {
	tcp := tcpOf(c)
	tcp.SetLinger(0)
	tcp.Close()
}
