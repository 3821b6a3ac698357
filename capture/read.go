package capture

import (
	"io"
	"net"
	"os"
	"syscall"
)

// reader reads what one side of a connection sends. A buffer is taken only when
// there is something to read: a connection that waits holds none. TLS has to
// read on to know, and holds its buffer meanwhile.
type reader struct {
	from duplex
	raw  syscall.RawConn // nil: TLS

	// Of one read; fields so that it needs no closure of its own.
	attempt func(fd uintptr) (done bool)
	size    int
	buf     *buffer
	n       int
	err     error
}

func newReader(from duplex) *reader {
	r := &reader{from: from}
	if tcp, ok := from.(*net.TCPConn); ok {
		r.raw, _ = tcp.SyscallConn() // fails for no connection that was open once
		r.attempt = r.readNow
	}
	return r
}

// read waits for bytes and returns them in a buffer of size, which the caller
// releases. As with io.Reader there may be bytes and an error.
func (r *reader) read(size int) (*buffer, int, error) {
	if r.raw == nil {
		buf := getBuffer(size)
		n, err := r.from.Read(buf.b)
		return buf, n, err
	}
	r.size, r.buf, r.n, r.err = size, nil, 0, nil
	err := r.raw.Read(r.attempt)
	buf := r.buf
	r.buf = nil
	switch {
	case err != nil: // closed, or behind its deadline
		return buf, 0, err
	case r.err != nil:
		return buf, 0, &net.OpError{Op: "read", Net: "tcp", Source: r.from.LocalAddr(), Addr: r.from.RemoteAddr(), Err: os.NewSyscallError("read", r.err)}
	case r.n == 0:
		return buf, 0, io.EOF
	}
	return buf, r.n, nil
}

// readNow reads what is there; it is not done when there is nothing yet.
func (r *reader) readNow(fd uintptr) (done bool) {
	r.buf = getBuffer(r.size)
	for {
		r.n, r.err = syscall.Read(int(fd), r.buf.b)
		switch r.err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			r.buf.release()
			r.buf = nil
			return false
		}
		r.n = max(r.n, 0)
		return true
	}
}
