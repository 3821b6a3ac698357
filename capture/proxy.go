package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

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
	sendEnd sync.Once
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

// CloseWrite passes on that the client sends no more.
func (c *tapped) CloseWrite() error {
	c.sendEnd.Do(func() { c.tap.close(events.Side_REQUEST, nil) })
	return c.TCPConn.CloseWrite()
}

// Close ends the recording with the connection. When the server has not ended,
// it is the client who has: its side is told first, as a relay sees it. To end
// an event stream so is its usual end, not a failure.
func (c *tapped) Close() error {
	var err error
	c.once.Do(func() {
		c.sendEnd.Do(func() { c.tap.close(events.Side_REQUEST, nil) })
		c.readEnd.Do(func() { c.tap.close(events.Side_RESPONSE, c.session.unlessEnding(c.failed)) })
		c.session.forget(c.tap)
		if c.TCPConn != nil {
			c.session.own.remove(c.TCPConn)
			err = c.TCPConn.Close()
		}
	})
	return err
}
