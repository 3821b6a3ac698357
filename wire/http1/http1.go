// Package http1 is HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112): all five jobs
// of a protocol.
//
//   - parser.go, head.go: an incremental parser of messages, which keeps no
//     byte longer than it must and does not care how they were split
//   - dissector.go, answers.go, upgrade.go: the relayed bytes of a connection as
//     exchanges; WebSocket and event streams as messages, read by packages
//     websocket and sse
//   - proxy.go: a forward proxy, the one place with a parser in the path
//   - describe.go, signature.go: what index and mocks need to know
//   - client.go, server.go: sending recorded requests and answering them
package http1

import (
	"bytes"

	"tapedeck/events"
	"tapedeck/wire"
)

// Name is the protocol's name in endpoints.
const Name = "http"

// Protocol is HTTP/1.x.
type Protocol struct {
	Tags      []string       // names of headers that become tags
	Templates wire.Templater // nil: the shape of a path is all there is
}

var _ wire.Protocol = (*Protocol)(nil)

// Name is "http".
func (*Protocol) Name() string { return Name }

const maxMethod = 32

// Detect looks for a method and a space: any method, since there are more
// than a list could hold. What speaks HTTP/2 begins with "PRI * HTTP/2".
func (*Protocol) Detect(first []byte) wire.Match {
	first = bytes.TrimLeft(first, "\r\n")
	method, target, ok := bytes.Cut(first, []byte(" "))
	if len(method) > maxMethod {
		return wire.No
	}
	for _, c := range method {
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return wire.No
		}
	}
	switch {
	case !ok:
		return wire.More
	case len(method) == 0:
		return wire.No
	case string(method) == "PRI":
		return detectPreface(target)
	case len(target) == 0:
		return wire.More
	case target[0] <= ' ' || target[0] >= 0x7f:
		return wire.No
	}
	return wire.Yes
}

func detectPreface(target []byte) wire.Match {
	const rest = "* HTTP/2"
	n := min(len(target), len(rest))
	switch {
	case string(target[:n]) != rest[:n]:
		return wire.Yes // a method of that name
	case n < len(rest):
		return wire.More
	}
	return wire.No
}

// NewDissector begins a connection.
func (*Protocol) NewDissector(c *events.Connection, direction events.Direction, sink wire.Sink) wire.Dissector {
	d := &dissector{connection: c, direction: direction, sink: sink}
	d.heads, _ = sink.(wire.HeadSink)
	d.requested, _ = sink.(wire.RequestSink)
	d.segments, _ = sink.(wire.SegmentSink)
	return d
}
