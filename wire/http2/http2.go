// Package http2 is HTTP/2 (RFC 9113), with and without TLS below it: the
// dissecting side of a protocol. Its exchanges are HTTP exchanges as those of
// package http1 are, so that a service that speaks both has one endpoint for
// one thing; only Request.Version tells them apart.
//
//   - frames.go: an incremental splitter of frames, which holds no payload
//   - heads.go: header blocks (HPACK, RFC 7541) as heads
//   - dissector.go, streams.go: the relayed bytes of a connection as exchanges
//   - loss.go: what is left to know when bytes are missing
//
// What travels on its streams and has a meaning of its own (gRPC) is an Inner
// protocol, given to Protocol by who makes it.
//
// Pushed streams are not recorded: nobody asked for them, and browsers and
// libraries have given them up. A connection that is seen from its middle on,
// or with a hole, has lost the compression state of its headers: an exchange
// whose head cannot be known for sure is recorded with a failure that begins
// with wire.FailureGap, never with a guess.
package http2

import (
	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// Name is the protocol's name in endpoints: the same for all of HTTP.
const Name = http1.Name

// Version is Request.Version and Response.Version of its exchanges.
const Version = "HTTP/2.0"

// preface is what a client sends first (RFC 9113, 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Protocol is HTTP/2.
type Protocol struct {
	Tags      []string       // names of headers that become tags
	Templates wire.Templater // as in http1.Protocol
	Inner     []Inner        // protocols that travel on its streams
}

// Inner is a protocol whose exchanges are HTTP/2 streams.
type Inner interface {
	wire.Protocol
	// Speaks says by the head of the request that x is one of its exchanges.
	Speaks(x *events.Exchange) bool
	// NewCall begins x, whose head is known. sink is nil when nobody keeps
	// segments: then all bytes belong into the bodies.
	NewCall(x *events.Exchange, sink wire.SegmentSink) Call
}

// Call reads the bodies of one exchange of an Inner protocol. Times are Unix
// nanoseconds. It counts the bytes that it puts into segments in the size of
// their body itself.
type Call interface {
	// Data are body bytes; those that belong into the body go to keep.
	Data(side events.Side, t int64, b []byte, keep func(b []byte))
	// Tick writes what has waited long enough.
	Tick(t int64)
	// Flush writes all that is complete.
	Flush()
	// Held is how many bytes it holds.
	Held() int
}

var (
	_ wire.Protocol       = (*Protocol)(nil)
	_ wire.ServerDetector = (*Protocol)(nil)
	_ wire.Ticker         = (*dissector)(nil)
)

// Name is "http".
func (*Protocol) Name() string { return Name }

// Detect looks for the preface.
func (*Protocol) Detect(first []byte) wire.Match {
	n := min(len(first), len(preface))
	switch {
	case string(first[:n]) != preface[:n]:
		return wire.No
	case n < len(preface):
		return wire.More
	}
	return wire.Yes
}

// maxFirstSettings bounds a server's first SETTINGS: some ten settings are
// defined, each takes 6 bytes.
const maxFirstSettings = 6 * 32

// DetectServer looks for SETTINGS, the first frame of a server, which many
// send before they have read a byte (RFC 9113, 3.4).
func (*Protocol) DetectServer(first []byte) wire.Match {
	if len(first) < headerSize {
		return wire.More
	}
	f := readFrame([headerSize]byte(first))
	if f.kind != isSettings || f.flags != 0 || f.stream != 0 || f.length%6 != 0 || f.length > maxFirstSettings {
		return wire.No
	}
	return wire.Yes
}

// NewDissector begins a connection.
func (p *Protocol) NewDissector(c *events.Connection, direction events.Direction, sink wire.Sink) wire.Dissector {
	d := &dissector{protocol: p, connection: c, direction: direction, sink: sink, open: map[uint32]*exchange{}}
	d.heads, _ = sink.(wire.HeadSink)
	d.requested, _ = sink.(wire.RequestSink)
	d.segments, _ = sink.(wire.SegmentSink)
	d.request = newHalf(events.Side_REQUEST)
	d.response = newHalf(events.Side_RESPONSE)
	return d
}

// Describe says what the index needs to know of an exchange.
func (p *Protocol) Describe(x *events.Exchange) wire.Description {
	if inner := p.inner(x); inner != nil {
		return inner.Describe(x)
	}
	return (&http1.Protocol{Tags: p.Tags, Templates: p.Templates}).Describe(x)
}

// Signature is the same for a request whichever version carries it.
func (p *Protocol) Signature(x *events.Exchange) wire.Signature {
	if inner := p.inner(x); inner != nil {
		return inner.Signature(x)
	}
	return (&http1.Protocol{}).Signature(x)
}

// inner is the protocol that a dissected exchange says it is of.
func (p *Protocol) inner(x *events.Exchange) Inner {
	for _, i := range p.Inner {
		if x.Protocol == i.Name() {
			return i
		}
	}
	return nil
}
