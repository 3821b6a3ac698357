package capture

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"time"

	"tapedeck/events"
)

// duplex is a connection whose sides end apart: TCP, or TLS on it.
type duplex interface {
	net.Conn
	CloseWrite() error
}

// link is a TCP connection below TLS. While it is held, what is read is kept
// and nothing is written: as long as nobody has answered the client, its
// connection can still be relayed as it is.
type link struct {
	*net.TCPConn
	unread []byte // was read before the link was made
	held   bool
	kept   []byte
	ended  bool // by TCP's FIN, whatever TLS said before
}

func (l *link) Read(b []byte) (int, error) {
	n, err := 0, error(nil)
	if len(l.unread) > 0 {
		n = copy(b, l.unread)
		l.unread = l.unread[n:]
	} else {
		n, err = l.TCPConn.Read(b)
	}
	if l.held {
		l.kept = append(l.kept, b[:n]...)
	}
	if err == io.EOF {
		l.ended = true
	}
	return n, err
}

func (l *link) Write(b []byte) (int, error) {
	if l.held {
		return len(b), nil
	}
	return l.TCPConn.Write(b)
}

// release begins to answer.
func (l *link) release() { l.held, l.kept = false, nil }

// untouched is what the client has sent, as long as the link is held.
func (l *link) untouched() []byte { return append(l.kept, l.unread...) }

// secured is TLS on a link.
type secured struct {
	*tls.Conn
	link *link
}

// CloseWrite passes an end on as TLS's own.
func (c *secured) CloseWrite() error { return c.Conn.CloseWrite() }

// tcpOf is the TCP connection below c.
func tcpOf(c duplex) *net.TCPConn {
	if s, ok := c.(*secured); ok {
		return s.link.TCPConn
	}
	return c.(*net.TCPConn)
}

// passEnd tells to that from sends no more, in the way from said it: by
// close_notify, by TCP's FIN, or by one after the other.
func passEnd(to, from duplex) {
	f, ok := from.(*secured)
	if !ok {
		to.CloseWrite()
		if t, ok := to.(*secured); ok {
			t.link.CloseWrite()
		}
		return
	}
	if !f.link.ended {
		to.CloseWrite()
		io.Copy(io.Discard, f.link.TCPConn) // until FIN; TLS ignores what comes behind close_notify
	}
	tcpOf(to).CloseWrite()
}

// facts are what is recorded of a TLS connection.
func facts(s tls.ConnectionState) *events.TLS {
	return &events.TLS{Version: tls.VersionName(s.Version), Cipher: tls.CipherSuiteName(s.CipherSuite), ServerName: s.ServerName, Alpn: s.NegotiatedProtocol}
}

// clientBegins waits until one side has sent something or ended, and returns
// the first byte that the client sent. It is false when the server spoke
// first or the client ended. Nothing is read from either.
func clientBegins(ctx context.Context, client *link, upstream *net.TCPConn) (first byte, ok bool) {
	if len(client.unread) > 0 {
		return client.unread[0], true
	}
	stop := context.AfterFunc(ctx, func() { client.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		peek(upstream)
		client.SetReadDeadline(time.Unix(1, 0))
	}()
	first, ok = peek(client.TCPConn)
	upstream.SetReadDeadline(time.Unix(1, 0))
	<-done
	client.SetReadDeadline(time.Time{})
	upstream.SetReadDeadline(time.Time{})
	return first, ok
}

// peek waits for the first byte of c and leaves it there.
func peek(c *net.TCPConn) (first byte, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	var b [1]byte
	n := 0
	err = raw.Read(func(fd uintptr) bool {
		n, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err != syscall.EAGAIN && err != syscall.EINTR
	})
	return b[0], n > 0
}
