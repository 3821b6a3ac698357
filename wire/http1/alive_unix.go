//go:build unix

package http1

import (
	"crypto/tls"
	"net"
	"syscall"
)

// alive says that an idle connection has not been closed by the other side: a
// look at what waits to be read, which should be nothing.
func alive(c net.Conn) bool {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		alive = n < 0 && err == syscall.EAGAIN
		return true
	})
	return alive && err == nil
}
