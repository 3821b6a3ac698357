// Package grpc is gRPC over HTTP/2 (the protocol "PROTOCOL-HTTP2" of the gRPC
// documentation): the dissecting side of a protocol. Its calls are streams of
// package http2, recognised by their content type.
//
//   - grpc.go: the protocol and its place on HTTP/2
//   - call.go, messages.go: the messages of a call
//   - status.go, describe.go: what the index needs to know
//   - signature.go: what mocks need to know
//
// The body of each side holds its first message as sent, 5 bytes of prefix
// included: all there is to a unary call. As soon as a side sends a second
// message the call is a stream, and all messages of both sides are written as
// segments, with the time of their first byte. Messages reads both forms.
package grpc

import (
	"strings"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/http2"
)

// Name is the protocol's name in endpoints.
const Name = "grpc"

// Protocol is gRPC.
type Protocol struct {
	Tags []string // names of metadata that become tags
}

var _ http2.Inner = (*Protocol)(nil)

// Name is "grpc".
func (*Protocol) Name() string { return Name }

// Detect never knows it by first bytes: they are HTTP/2.
func (*Protocol) Detect([]byte) wire.Match { return wire.No }

// NewDissector begins an HTTP/2 connection.
func (p *Protocol) NewDissector(c *events.Connection, direction events.Direction, sink wire.Sink) wire.Dissector {
	return (&http2.Protocol{Tags: p.Tags, Inner: []http2.Inner{p}}).NewDissector(c, direction, sink)
}

// Speaks looks at the content type: application/grpc, alone or with the
// messages' format behind a plus. (gRPC-Web has other trailers: it is plain
// HTTP here.)
func (*Protocol) Speaks(x *events.Exchange) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(events.HeaderValue(x.GetRequest().GetHeaders(), "content-type")), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// NewCall begins the messages of x.
func (*Protocol) NewCall(x *events.Exchange, sink wire.SegmentSink) http2.Call {
	c := &call{x: x, sink: sink}
	c.sides[events.Side_REQUEST].side = events.Side_REQUEST
	c.sides[events.Side_RESPONSE].side = events.Side_RESPONSE
	return c
}
