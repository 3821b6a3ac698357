package capture

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"tapedeck/events"
)

// handshakePatience is how long a client may take for its part of a handshake.
const handshakePatience = 10 * time.Second

// terminate relays a connection to the service: its TLS ends here, with the
// service's certificate, and goes on to an upstream that speaks it as well.
func (s *session) terminate(ctx context.Context, upstream *net.TCPConn, t *tap) {
	l := &link{TCPConn: s.client, held: true}
	var to duplex = upstream
	var failed error
	c := tls.Server(l, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		config := &tls.Config{GetCertificate: s.terms.certificate.get, SessionTicketsDisabled: true, NextProtos: plainProtocols(h.SupportedProtos)}
		if s.route.secure {
			up, err := s.secureFor(ctx, upstream, h)
			if failed = err; err != nil {
				return nil, err
			}
			to, config.NextProtos = up, chosen(up.ConnectionState().NegotiatedProtocol)
		}
		l.release()
		return config, nil
	}})
	s.client.SetDeadline(time.Now().Add(handshakePatience))
	err := c.Handshake()
	s.client.SetDeadline(time.Time{})
	if err != nil {
		s.endUnopened(t, upstream, err, failed)
		return
	}
	t.info.Tls = facts(c.ConnectionState())
	s.relay(&secured{c, l}, to, t)
}

// secureFor speaks TLS to the upstream in the words of a client. Its
// certificate is for the name that the client asks for, or for the name that
// it is configured by.
func (s *session) secureFor(ctx context.Context, upstream *net.TCPConn, h *tls.ClientHelloInfo) (*secured, error) {
	names := []string{hostOf(s.route.upstream)}
	if h.ServerName != "" && h.ServerName != names[0] {
		names = []string{h.ServerName, names[0]}
	}
	protocols := s.terms.offer(h.SupportedProtos)
	if len(protocols) == 0 {
		protocols = h.SupportedProtos // relayed, if not understood
	}
	return s.secure(ctx, upstream, names, func(c *tls.Config) { c.NextProtos = protocols })
}

// plainProtocols is what a service without TLS can be taken to speak: HTTP/1,
// or HTTP/2 for a client that speaks nothing else.
func plainProtocols(asked []string) []string {
	for _, p := range []string{"http/1.1", "h2"} {
		if slices.Contains(asked, p) {
			return []string{p}
		}
	}
	return nil
}

// endUnopened ends a connection whose handshake failed: on the client's side,
// or on the upstream's (failed).
func (s *session) endUnopened(t *tap, upstream *net.TCPConn, err, failed error) {
	if failed != nil {
		s.countRefused()
		t.close(events.Side_RESPONSE, s.unlessEnding(failed))
		t.close(events.Side_REQUEST, nil)
		reset(s.client)
		upstream.Close()
		return
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) { // a look whether we listen
		err = nil
	}
	t.close(events.Side_REQUEST, err)
	t.close(events.Side_RESPONSE, nil)
	s.client.Close()
	upstream.Close()
}
