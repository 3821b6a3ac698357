package capture

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/tcp"
)

const (
	dialTimeout = 30 * time.Second
	// lastWords is how long a client is listened to whose upstream can't be
	// reached: its request is recorded as one that failed.
	lastWords = 100 * time.Millisecond
)

// session is one client connection with its upstream connections.
type session struct {
	*Service
	route   route
	client  *net.TCPConn
	relayed [3]prometheus.Counter
	cancel  context.CancelFunc // ends dialling

	mu        sync.Mutex
	taps      []*tap
	upstreams []*net.TCPConn
	dialing   bool
	ending    atomic.Bool
}

// serve relays until the connection ends.
func (s *session) serve(ctx context.Context) {
	defer s.client.Close()
	if s.route.upstream == "" {
		s.proxy(ctx)
		return
	}
	t := s.tap(s.connection(time.Now(), s.route.upstream), "", s.protocols)
	upstream, err := s.dial(ctx, s.route.upstream)
	if err != nil {
		s.refuse(t, err)
		return
	}
	switch {
	case s.terms.certificate != nil && s.route.direction == events.Direction_INBOUND && !s.route.transparent:
		s.terminate(ctx, upstream, t)
	case s.route.secure:
		s.relaySecured(ctx, upstream, t)
	case s.terms.authority != nil && s.route.direction == events.Direction_OUTBOUND:
		s.open(ctx, s.route.upstream, upstream, t, nil)
	default:
		s.relay(s.client, upstream, t)
	}
}

// relaySecured adds TLS for a client that speaks none.
func (s *session) relaySecured(ctx context.Context, upstream *net.TCPConn, t *tap) {
	up, err := s.secure(ctx, upstream, []string{hostOf(s.route.upstream)}, nil)
	if err != nil {
		s.countRefused()
		upstream.Close()
		s.refuse(t, err)
		return
	}
	t.info.Tls = facts(up.ConnectionState())
	s.relay(s.client, up, t)
}

// connection is what is recorded of a connection to server.
func (s *session) connection(now time.Time, server string) *events.Connection {
	id := events.NewID(now)
	c := &events.Connection{Id: id[:], Client: s.client.RemoteAddr().String(), Server: s.recorder.redactor.At(time.Now()).Host(server), OpenedAt: now.UnixNano()}
	if s.route.direction == events.Direction_OUTBOUND && s.route.upstream != "" && !s.route.transparent {
		c.Listen = s.route.listen
	}
	return c
}

// tap begins the recording of a connection: its first bytes decide on the
// protocol. method is that of the endpoint when it is none of them.
func (s *session) tap(c *events.Connection, method string, protocols []wire.Protocol) *tap {
	peer := c.Client
	if s.route.direction == events.Direction_OUTBOUND {
		peer = c.Server
	}
	d := s.nextDissecting()
	t := &tap{
		dissecting: d, info: c, direction: s.route.direction, protocols: protocols,
		opaque: &tcp.Protocol{Method: method}, sink: &sink{recorder: s.recorder, dissecting: d, info: c, peer: peer},
	}
	t.last.Store(c.OpenedAt)
	s.mu.Lock()
	s.taps = append(s.taps, t)
	s.mu.Unlock()
	return t
}

func (s *session) dial(ctx context.Context, address string) (*net.TCPConn, error) {
	s.setDialing()
	d := net.Dialer{Timeout: dialTimeout, Control: markControl(s.cfg.Fwmark)}
	c, err := d.DialContext(ctx, "tcp", address)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialing = false
	if err != nil {
		s.countRefused()
		return nil, err
	}
	upstream := c.(*net.TCPConn)
	s.own.add(upstream)
	s.upstreams = append(s.upstreams, upstream)
	switch {
	case s.ending.Load(): // end came while it was dialled, and left the client to us
		upstream.Close()
		return nil, net.ErrClosed
	case s.route.transparent && s.own.holds(s.client):
		// It was dialled by us a moment ago, and accepted before that was noted.
		s.metrics.rejected.WithLabelValues("loop").Inc()
		upstream.Close()
		return nil, errOwn
	}
	return upstream, nil
}

func (s *session) setDialing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialing = true
}

// countRefused counts an upstream that can't be reached.
func (s *session) countRefused() {
	if !s.ending.Load() {
		s.metrics.refused.WithLabelValues(s.route.direction.Name()).Inc()
	}
}

// unlessEnding is nil when capture ends: it is us then who have given up, and
// the upstream has not failed.
func (s *session) unlessEnding(err error) error {
	if s.ending.Load() {
		return nil
	}
	return err
}

// forgetSockets ends the watch for connections of our own that come back.
func (s *session) forgetSockets() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.upstreams {
		s.own.remove(c)
	}
}

// refuse records a connection whose upstream can't be reached, and closes the
// client's as the upstream would have. A client that has left without a word
// has missed nothing.
func (s *session) refuse(t *tap, err error) {
	buf := getBuffer(smallBuffer)
	s.client.SetReadDeadline(time.Now().Add(lastWords))
	n, left := s.client.Read(buf.b)
	if n > 0 {
		t.data(events.Side_REQUEST, time.Now(), buf, n)
	}
	buf.release()
	if left != nil && !errors.Is(left, os.ErrDeadlineExceeded) {
		err = nil
	}
	t.close(events.Side_RESPONSE, s.unlessEnding(err))
	t.close(events.Side_REQUEST, nil)
	reset(s.client)
}

// quiet says that nothing is under way since before. While the upstream is
// dialled, a request may wait for it.
func (s *session) quiet(before time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.dialing && !slices.ContainsFunc(s.taps, func(t *tap) bool { return !t.quiet(before) })
}

// end closes all connections of the session; what is under way is cut. While
// the upstream is dialled, the client's is left to who dials: it may have sent
// something that nobody has seen yet.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending.Store(true)
	s.cancel()
	if !s.dialing {
		s.client.Close()
	}
	for _, c := range s.upstreams {
		c.Close()
	}
}

// show hands a copy of b to the dissector, for bytes that are not in a buffer
// of the relay.
func (s *session) show(t *tap, side events.Side, b []byte) {
	now := time.Now()
	for len(b) > 0 {
		buf := getBuffer(len(b))
		n := copy(buf.b, b)
		t.data(side, now, buf, n)
		buf.release()
		b = b[n:]
	}
}

// forget drops a tap whose connection has ended, so that a client that visits
// many hosts does not grow its session. Its last items may still be queued.
func (s *session) forget(t *tap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taps = slices.DeleteFunc(s.taps, func(other *tap) bool { return other == t })
}
