package capture

import (
	"errors"
	"io"
	"net"
	"time"

	"tapedeck/events"
)

// relay copies the bytes of a connection both ways, unchanged, until both
// sides have ended: an end of one side is passed on as such (half-close), a
// reset as a reset.
func (s *session) relay(client, upstream duplex, t *tap) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.copy(upstream, client, t, events.Side_REQUEST)
	}()
	s.copy(client, upstream, t, events.Side_RESPONSE)
	<-done
	client.Close()
	upstream.Close()
}

// copy reads from one side and writes to the other. Each read is shown to the
// dissector before it is written on, so that a request is always seen before
// its answer.
func (s *session) copy(to, from duplex, t *tap, side events.Side) {
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
			s.readEnded(to, from, t, side, err)
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
func (s *session) readEnded(to, from duplex, t *tap, side events.Side, err error) {
	if errors.Is(err, io.EOF) {
		t.close(side, nil)
		passEnd(to, from)
		return
	}
	t.close(side, unlessOurs(err))
	reset(to)
	reset(from)
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
