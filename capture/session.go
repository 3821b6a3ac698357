package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/http1"
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
	c := &events.Connection{Id: id[:], Client: s.client.RemoteAddr().String(), Server: server, OpenedAt: now.UnixNano()}
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

// proxy serves a client that says itself where it wants to go. The first byte
// tells how: 5 is SOCKS5, everything else HTTP.
func (s *session) proxy(ctx context.Context) {
	first := make([]byte, 1)
	if _, err := s.client.Read(first); err != nil {
		return
	}
	if first[0] == socksVersion {
		s.socks(ctx)
		return
	}
	s.httpProxy(ctx, first)
}

// httpProxy is the HTTP proxy: tunnels are relayed and recorded as
// connections, requests are sent on over one connection a host.
func (s *session) httpProxy(ctx context.Context, early []byte) {
	p := &http1.Proxy{
		Early: early,
		Allow: s.credentials(),
		Dial: func(authority string) (net.Conn, error) {
			t := s.tap(s.connection(time.Now(), authority), "", s.protocols[:1])
			upstream, err := s.dial(ctx, authority)
			return &tapped{TCPConn: upstream, tap: t, session: s, failed: err}, err
		},
		Tunnel: func(authority string, early []byte) { s.tunnel(ctx, authority, early) },
	}
	p.Serve(s.client)
}

func (s *session) tunnel(ctx context.Context, authority string, early []byte) {
	t := s.tap(s.connection(time.Now(), authority), "CONNECT", s.protocols)
	upstream, err := s.dial(ctx, authority)
	if err != nil {
		t.close(events.Side_RESPONSE, s.unlessEnding(err))
		t.close(events.Side_REQUEST, nil)
		http1.WriteRefusal(s.client, 502, "can't connect to "+authority+": "+wire.Failure(err))
		return
	}
	if _, err := s.client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		t.close(events.Side_REQUEST, err)
		t.close(events.Side_RESPONSE, nil)
		upstream.Close()
		return
	}
	s.relayTunnel(ctx, authority, upstream, t, bytes.Clone(early))
}

// relayTunnel relays what a client asked the proxy to connect to; early was
// read from the client already.
func (s *session) relayTunnel(ctx context.Context, authority string, upstream *net.TCPConn, t *tap, early []byte) {
	if s.terms.authority == nil {
		s.pass(upstream, t, early)
		return
	}
	s.open(ctx, authority, upstream, t, early)
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

// tapped is an upstream connection of the proxy: what is written and read is
// shown to the dissector. When it could not be dialled, only writes work: they
// are what would have been sent.
type tapped struct {
	*net.TCPConn
	tap     *tap
	session *session
	failed  error
	once    sync.Once
	readEnd sync.Once
}

func (c *tapped) Write(b []byte) (int, error) {
	c.session.show(c.tap, events.Side_REQUEST, b)
	if c.failed != nil {
		return len(b), nil
	}
	n, err := c.TCPConn.Write(b)
	c.session.relayed[events.Side_REQUEST].Add(float64(n))
	return n, err
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if n > 0 {
		c.session.show(c.tap, events.Side_RESPONSE, b[:n])
		c.session.relayed[events.Side_RESPONSE].Add(float64(n))
	}
	if err != nil {
		c.readEnd.Do(func() { c.tap.close(events.Side_RESPONSE, unlessOurs(notEOF(err))) })
	}
	return n, err
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Close ends the recording with the connection. When the server has not ended,
// it is the client who has: its side is told first, as a relay sees it. To end
// an event stream so is its usual end, not a failure.
func (c *tapped) Close() error {
	var err error
	c.once.Do(func() {
		c.tap.close(events.Side_REQUEST, nil)
		c.readEnd.Do(func() { c.tap.close(events.Side_RESPONSE, c.session.unlessEnding(c.failed)) })
		c.session.forget(c.tap)
		if c.TCPConn != nil {
			c.session.own.remove(c.TCPConn)
			err = c.TCPConn.Close()
		}
	})
	return err
}

// forget drops a tap whose connection has ended, so that a client that visits
// many hosts does not grow its session. Its last items may still be queued.
func (s *session) forget(t *tap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taps = slices.DeleteFunc(s.taps, func(other *tap) bool { return other == t })
}
