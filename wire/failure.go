package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"tapedeck/events"
)

// Words for Exchange.Failure and Sink.Drop.
const (
	// FailureGap begins the failure of an exchange whose bytes could not be
	// followed: what was relayed is not all here.
	FailureGap = "gap: "
	// DropPressure: the copy fell behind its bound.
	DropPressure = "pressure"
)

// HeadSink is a Sink that wants to know an exchange before it ends. Head is
// called when the head of its request is known and again with the head of its
// response. x is the exchange under way: the sink may read it, during its own
// calls from the dissector's goroutine only.
type HeadSink interface {
	Head(x *events.Exchange)
}

// RequestSink is a Sink that wants to know when a request is complete, before
// anything answers it. It may read x like HeadSink.
type RequestSink interface {
	Asked(x *events.Exchange)
}

// Failure names the error that ended a connection in a few plain words.
func Failure(err error) string {
	var dns *net.DNSError
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return "connection closed"
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return "reset by peer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &dns):
		return "unknown host"
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err):
		return "timeout"
	case errors.Is(err, net.ErrClosed):
		return "connection closed"
	}
	return clip(err.Error(), 200)
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// HasGap says that bytes of the exchange were relayed that are not recorded.
func HasGap(x *events.Exchange) bool {
	return strings.HasPrefix(x.Failure, FailureGap) || strings.HasPrefix(x.Failure, "malformed")
}
