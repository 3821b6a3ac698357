package tcp

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
)

// maxHello bounds what is kept of a client's first bytes: hellos have some
// hundred bytes, or two thousand with a key for after quantum computers.
const maxHello = 16 << 10

// maxLooks bounds the work for a hello in many records.
const maxLooks = 32

// hello gathers the first bytes of a client until they are a ClientHello (RFC
// 8446, 4.1.2), which names the server that a closed TLS connection goes to.
type hello struct {
	first []byte
	looks int
	done  bool
}

// add looks at the next bytes; name is "" as long as there is none.
func (h *hello) add(b []byte) (name string, ok bool) {
	const handshake = 22
	if h.done || len(b) == 0 {
		return "", false
	}
	if len(h.first) == 0 && b[0] != handshake {
		h.done = true
		return "", false
	}
	h.first = append(h.first, b[:min(len(b), maxHello-len(h.first))]...)
	if len(h.first) < 5 || len(h.first) < 5+int(binary.BigEndian.Uint16(h.first[3:])) && len(h.first) < maxHello {
		return "", false // the record is not whole
	}
	h.looks++
	name, ok, more := serverName(h.first)
	if !more || len(h.first) == maxHello || h.looks == maxLooks {
		h.done, h.first = true, nil
	}
	return name, ok
}

// serverName reads a ClientHello; more says that first is its beginning.
func serverName(first []byte) (name string, ok, more bool) {
	c := &bytesConn{in: bytes.NewReader(first)}
	err := tls.Server(c, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name, ok = h.ServerName, true
		return nil, errStop
	}}).Handshake()
	return name, ok, !ok && c.ended && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))
}

var errStop = errors.New("seen enough")

// bytesConn is a connection of which only the bytes so far are there.
type bytesConn struct {
	in    *bytes.Reader
	ended bool
}

func (c *bytesConn) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.ended = c.ended || err != nil
	return n, err
}

func (*bytesConn) Write(b []byte) (int, error)      { return len(b), nil }
func (*bytesConn) Close() error                     { return nil }
func (*bytesConn) LocalAddr() net.Addr              { return nil }
func (*bytesConn) RemoteAddr() net.Addr             { return nil }
func (*bytesConn) SetDeadline(time.Time) error      { return nil }
func (*bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (*bytesConn) SetWriteDeadline(time.Time) error { return nil }
