package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"tapedeck/events"
)

// The SOCKS5 protocol (RFC 1928) with user name and password (RFC 1929).
const (
	socksVersion  = 5
	socksNoAuth   = 0
	socksPassword = 2
	socksNoMethod = 0xff

	socksConnect = 1

	socksIPv4   = 1
	socksDomain = 3
	socksIPv6   = 4

	// handshakeTimeout is how long a client may take to say where it wants to
	// go; what it does afterwards is its own business.
	handshakeTimeout = 30 * time.Second
)

// socksReply is the answer to a request.
type socksReply byte

const (
	socksSucceeded socksReply = 0
	socksFailed    socksReply = 1
	socksNetwork   socksReply = 3 // unreachable
	socksHost      socksReply = 4 // unreachable
	socksRefused   socksReply = 5
	socksNoCommand socksReply = 7 // BIND, UDP ASSOCIATE
	socksNoAddress socksReply = 8 // an address type that is none
)

var (
	errSocksMethod   = errors.New("client offers no method of authentication that is taken")
	errSocksPassword = errors.New("user name or password is wrong")
	errSocksSyntax   = errors.New("not SOCKS5")
)

// socks is one SOCKS5 handshake. Its first byte, the version, is read already.
// It reads exactly what it needs: what the client sends behind stays in the
// connection, for the relay.
type socks struct {
	client net.Conn
	allow  func(user, password string) bool // nil: everybody, with or without a name
}

// greet agrees on a method and checks the client's credentials.
func (s *socks) greet() error {
	methods, err := s.field()
	if err != nil {
		return err
	}
	method := s.method(methods)
	if _, err := s.client.Write([]byte{socksVersion, method}); err != nil {
		return err
	}
	switch method {
	case socksNoMethod:
		return errSocksMethod
	case socksPassword:
		return s.authenticate()
	}
	return nil
}

func (s *socks) method(offered []byte) byte {
	best := byte(socksNoMethod)
	for _, m := range offered {
		if m == socksNoAuth && s.allow == nil {
			return m
		}
		if m == socksPassword {
			best = m
		}
	}
	return best
}

func (s *socks) authenticate() error {
	version, err := s.read(1)
	if err != nil {
		return err
	}
	if version[0] != 1 {
		return errSocksSyntax
	}
	user, err := s.field()
	if err != nil {
		return err
	}
	password, err := s.field()
	if err != nil {
		return err
	}
	status, refused := byte(0), error(nil)
	if s.allow != nil && !s.allow(string(user), string(password)) {
		status, refused = 1, errSocksPassword
	}
	_, err = s.client.Write([]byte{1, status})
	return errors.Join(refused, err)
}

// request reads where the client wants to go. A reply other than
// socksSucceeded is what it must be told instead.
func (s *socks) request() (authority string, reply socksReply, err error) {
	head, err := s.read(4)
	if err != nil {
		return "", 0, err
	}
	if head[0] != socksVersion {
		return "", socksFailed, nil
	}
	host, reply, err := s.host(head[3])
	if err != nil || reply != socksSucceeded {
		return "", reply, err
	}
	port, err := s.read(2)
	if err != nil {
		return "", 0, err
	}
	if head[1] != socksConnect {
		return "", socksNoCommand, nil
	}
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port)))), socksSucceeded, nil
}

func (s *socks) host(kind byte) (string, socksReply, error) {
	var raw []byte
	var err error
	switch kind {
	case socksIPv4:
		raw, err = s.read(4)
	case socksIPv6:
		raw, err = s.read(16)
	case socksDomain:
		if raw, err = s.field(); err == nil && !plainName(raw) {
			return "", socksFailed, nil
		}
		return string(raw), socksSucceeded, err
	default:
		return "", socksNoAddress, nil
	}
	if err != nil {
		return "", 0, err
	}
	ip, _ := netip.AddrFromSlice(raw)
	return ip.String(), socksSucceeded, nil
}

// plainName says that b can be a host's name, or an address written as one.
func plainName(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == '/' || c == '@' || c == '[' || c == ']' {
			return false
		}
	}
	return len(b) > 0
}

// field reads a length and as many bytes.
func (s *socks) field() ([]byte, error) {
	n, err := s.read(1)
	if err != nil {
		return nil, err
	}
	return s.read(int(n[0]))
}

func (s *socks) read(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(s.client, b)
	return b, err
}

// reply answers the request; bound is the address that the upstream sees.
func (s *socks) reply(r socksReply, bound net.Addr) error {
	b := []byte{socksVersion, byte(r), 0}
	address := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if tcp, ok := bound.(*net.TCPAddr); ok {
		address = tcp.AddrPort()
	}
	ip := address.Addr().Unmap()
	if ip.Is4() {
		b = append(b, socksIPv4)
	} else {
		b = append(b, socksIPv6)
	}
	b = append(b, ip.AsSlice()...)
	_, err := s.client.Write(binary.BigEndian.AppendUint16(b, address.Port()))
	return err
}

// socksFailure is what a client is told of a dial that failed.
func socksFailure(err error) socksReply {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return socksRefused
	case errors.Is(err, syscall.ENETUNREACH):
		return socksNetwork
	case errors.Is(err, syscall.EHOSTUNREACH), errors.As(err, &dns), errors.Is(err, os.ErrDeadlineExceeded):
		return socksHost
	case errors.As(err, &timeout) && timeout.Timeout():
		return socksHost
	}
	return socksFailed
}

// socks serves a client that speaks SOCKS5: a tunnel whose protocol its first
// bytes tell.
func (s *session) socks(ctx context.Context) {
	h := &socks{client: s.client, allow: s.credentials()}
	s.client.SetDeadline(time.Now().Add(handshakeTimeout))
	authority, err := h.serve()
	s.client.SetDeadline(time.Time{})
	if err != nil {
		s.metrics.rejected.WithLabelValues("socks").Inc()
		s.log.Debug("SOCKS handshake", "client", s.client.RemoteAddr(), "error", err)
		return
	}
	t := s.tap(s.connection(time.Now(), authority), "", s.protocols)
	upstream, err := s.dial(ctx, authority)
	if err != nil {
		t.close(events.Side_RESPONSE, s.unlessEnding(err))
		t.close(events.Side_REQUEST, nil)
		h.reply(socksFailure(err), nil)
		return
	}
	if err := h.reply(socksSucceeded, upstream.LocalAddr()); err != nil {
		t.close(events.Side_REQUEST, err)
		t.close(events.Side_RESPONSE, nil)
		upstream.Close()
		return
	}
	s.relayTunnel(ctx, authority, upstream, t, nil)
}

// serve is the handshake up to the request's reply, which it gives only when
// that is a refusal.
func (s *socks) serve() (authority string, err error) {
	if err := s.greet(); err != nil {
		return "", err
	}
	authority, reply, err := s.request()
	if err == nil && reply != socksSucceeded {
		err = errors.Join(errors.New("SOCKS request refused with "+strconv.Itoa(int(reply))), s.reply(reply, nil))
	}
	return authority, err
}
