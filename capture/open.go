package capture

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"tapedeck/events"
)

// Why a TLS connection is relayed as it is, although others are opened.
const (
	passListed      = "listed"             // --passthrough
	passPinned      = "pinned"             // the client trusts other certificates only
	passCertificate = "client-certificate" // the server asks for the client's
	passUnverified  = "unverified"         // the server's can't be verified: the client may judge
	passProtocol    = "protocol"           // nothing that the client offers can be dissected
	passClient      = "client"             // too old for a certificate of ours, or no TLS after all
	passHandshake   = "handshake"          // the server refuses ours: the client's may please it
)

// opening is one attempt to open the TLS of a client. Until the upstream has
// shaken hands with us the client is not answered: whatever stands against it,
// what the client has sent goes to the upstream as it is, and the client sees
// what it would have seen without us.
//
//	client ── hello ──▶ held ── handshake ──▶ upstream
//	   ◀── handshake with a leaf of our CA ──┘   verified, ALPN chosen
type opening struct {
	*session
	ctx       context.Context
	authority string
	tap       *tap
	tcp       *net.TCPConn // to the upstream
	link      *link
	who       visitor
	secured   *secured // the upstream, when all is well
	spent     bool     // tcp carried a handshake of ours
	reason    string   // why not
}

// visitor is a client's software at a server.
type visitor struct {
	host   string // name:port
	client string // fingerprint
}

var errPass = errors.New("relayed as it is")

// open relays a connection and opens TLS on it. early was read from the
// client already.
func (s *session) open(ctx context.Context, authority string, upstream *net.TCPConn, t *tap, early []byte) {
	o := &opening{session: s, ctx: ctx, authority: authority, tap: t, tcp: upstream, link: &link{TCPConn: s.client, unread: early, held: true}}
	if first, ok := clientBegins(ctx, o.link, upstream); !ok || first != tlsHandshake {
		s.pass(upstream, t, early)
		return
	}
	c := tls.Server(o.link, &tls.Config{GetConfigForClient: o.config})
	s.client.SetDeadline(time.Now().Add(handshakePatience))
	err := c.Handshake()
	s.client.SetDeadline(time.Time{})
	switch {
	case o.secured == nil:
		o.passOn()
	case err != nil:
		o.refused(err)
	default:
		o.relayOpened(&secured{c, o.link})
	}
}

// tlsHandshake is the first byte of TLS (RFC 8446, 5.1).
const tlsHandshake = 22

// config is called with the client's hello.
func (o *opening) config(h *tls.ClientHelloInfo) (*tls.Config, error) {
	name := lowerName(h.ServerName)
	if name == "" {
		name = lowerName(hostOf(o.authority))
	}
	o.who = visitor{net.JoinHostPort(name, portOf(o.authority)), fingerprint(h)}
	terms, now := &o.terms, time.Now()
	if o.reason = terms.passthrough.reason(o.who, o.authority, now); o.reason != "" {
		return nil, errPass
	}
	protocols := terms.offer(h.SupportedProtos)
	if len(protocols) == 0 && len(h.SupportedProtos) > 0 {
		o.reason = passProtocol
		return nil, errPass
	}
	leaf, err := terms.authority.Leaf(name, now)
	if err != nil || h.SupportsCertificate(leaf) != nil {
		o.reason = passClient
		return nil, errPass
	}
	if err := o.secureUpstream(name, protocols, slices.Max(h.SupportedVersions)); err != nil {
		return nil, errPass
	}
	o.link.release()
	o.client.SetDeadline(time.Now().Add(handshakePatience))
	state := o.secured.ConnectionState()
	return &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: chosen(state.NegotiatedProtocol), MaxVersion: state.Version, SessionTicketsDisabled: true}, nil
}

// secureUpstream shakes hands in the client's stead.
func (o *opening) secureUpstream(name string, protocols []string, version uint16) (err error) {
	o.spent = true
	o.client.SetDeadline(time.Time{})
	o.secured, err = o.secure(o.ctx, o.tcp, []string{name}, func(c *tls.Config) {
		c.NextProtos = protocols
		if version == tls.VersionTLS12 { // others may be values that only test us (RFC 8701)
			c.MaxVersion = version
		}
		c.Renegotiation = tls.RenegotiateOnceAsClient // some servers ask for a certificate when they know the path
		c.GetClientCertificate = o.asked
	})
	if err == nil {
		return nil
	}
	o.reason = passHandshake
	var unverified *tls.CertificateVerificationError
	switch now := time.Now(); {
	case errors.Is(err, errAsksForCertificate):
		o.reason = passCertificate
	case errors.As(err, &unverified):
		o.reason = passUnverified
		if o.terms.passthrough.forNow(o.who.host, o.reason, now) {
			o.log.Warn("the certificate of an upstream can't be verified: its connections are relayed as they are; --upstream-ca FILE names more roots", "host", o.recorder.redactor.At(time.Now()).Host(o.who.host), "error", err)
		}
	}
	return err
}

var errAsksForCertificate = errors.New("the server asks for a client certificate")

// asked is called when the upstream wants to see a certificate of the client:
// in its handshake, or in a second one, when it is too late for this
// connection.
func (o *opening) asked(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if !o.link.held {
		o.metrics.caused.WithLabelValues(passCertificate).Inc()
	}
	o.remember(visitor{host: o.who.host}, passCertificate, time.Now())
	return nil, errAsksForCertificate
}

// passOn relays the connection as it is, after the hello was looked at.
func (o *opening) passOn() {
	if o.reason == "" {
		o.reason = passClient
	}
	o.metrics.passedThrough.WithLabelValues(o.reason).Inc()
	upstream := o.tcp
	if o.spent {
		upstream.Close()
		var err error
		if upstream, err = o.dial(o.ctx, o.authority); err != nil {
			o.show(o.tap, events.Side_REQUEST, o.link.untouched())
			o.tap.close(events.Side_RESPONSE, o.unlessEnding(err))
			o.tap.close(events.Side_REQUEST, nil)
			reset(o.client)
			return
		}
	}
	o.pass(upstream, o.tap, o.link.untouched())
}

// pass relays a connection as it is; early was read from the client already.
func (s *session) pass(upstream *net.TCPConn, t *tap, early []byte) {
	if len(early) > 0 {
		s.show(t, events.Side_REQUEST, early)
		upstream.Write(early) // a failure shows in the relay
	}
	s.relay(s.client, upstream, t)
}

// relayOpened relays what is in the TLS of both sides.
func (o *opening) relayOpened(client *secured) {
	o.metrics.opened.Inc()
	state := o.secured.ConnectionState()
	state.ServerName = hostOf(o.who.host)
	o.tap.info.Tls = facts(state)
	began, before := time.Now(), o.tap.last.Load()
	o.relay(client, o.secured, o.tap)
	switch {
	case o.tap.last.Load() != before:
		o.terms.passthrough.works(o.who)
	case time.Since(began) < o.terms.passthrough.soon && !o.ending.Load():
		o.silent()
	}
}

// refused is a client that does not go on after it has seen our certificate.
func (o *opening) refused(err error) {
	switch { // first of all: the client may try again at once
	case o.ending.Load():
	case isRefusal(err):
		o.metrics.caused.WithLabelValues(passPinned).Inc()
		o.remember(o.who, passPinned, time.Now())
	default:
		o.silent()
	}
	o.tap.info.Tls = &events.TLS{ServerName: hostOf(o.who.host)}
	o.tap.close(events.Side_REQUEST, o.unlessEnding(fmt.Errorf("the client refuses our certificate: %w", err)))
	o.tap.close(events.Side_RESPONSE, nil)
	o.client.Close()
	o.tcp.Close()
}

// silent is a client that went away without a word when it had seen our
// certificate. Node does so when it does not trust it, and browsers that
// connected in advance: only the third in a row, of a client that never used a
// connection to this host, is taken for a refusal.
func (o *opening) silent() {
	if o.terms.passthrough.silent(o.who) {
		o.metrics.caused.WithLabelValues("silent").Inc()
		o.remember(o.who, passPinned, time.Now())
	}
}

func (o *opening) remember(who visitor, reason string, now time.Time) {
	o.log.Info("TLS is not opened from now on", "host", o.recorder.redactor.At(time.Now()).Host(who.host), "client", who.client, "reason", reason)
	if err := o.terms.passthrough.remember(who, reason, now); err != nil {
		o.log.Warn("what is not opened is forgotten at the next start", "error", err)
	}
}

// isRefusal says that a client ended a handshake because of our certificate
// (RFC 8446, 6.2). Its alerts have no exported type; their texts are tested.
func isRefusal(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" {
		return false
	}
	return slices.Contains([]string{"bad certificate", "unsupported certificate", "unknown certificate", "unknown certificate authority", "access denied"},
		strings.TrimPrefix(op.Err.Error(), "tls: "))
}

// fingerprint tells the software of clients apart: one may trust our CA where
// another is pinned. Values that clients draw at random (RFC 8701) are left out.
func fingerprint(h *tls.ClientHelloInfo) string {
	sum := sha256.New()
	put := func(v uint16) {
		if v&0x0f0f != 0x0a0a {
			sum.Write(binary.BigEndian.AppendUint16(nil, v))
		}
	}
	for _, v := range h.CipherSuites {
		put(v)
	}
	for _, v := range h.SupportedVersions {
		put(v)
	}
	for _, v := range h.SupportedCurves {
		put(uint16(v))
	}
	for _, v := range h.SignatureSchemes {
		put(uint16(v))
	}
	fmt.Fprintf(sum, "%q", h.SupportedProtos)
	return hex.EncodeToString(sum.Sum(nil)[:6])
}
