// Package tcp is the protocol of last resort: a connection that is recorded as
// one exchange with its byte counts and none of its bytes; of TLS with the
// name of the server. Everything that no other protocol recognises is recorded
// so, TLS that is not opened above all.
package tcp

import (
	"crypto/sha256"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// Name is the protocol's name in endpoints.
const Name = "tcp"

// Protocol is an opaque connection.
type Protocol struct {
	Method string // of the endpoint: "CONNECT" for a tunnel, "" otherwise
}

var _ wire.Protocol = (*Protocol)(nil)

// Name is "tcp".
func (*Protocol) Name() string { return Name }

// Detect takes everything.
func (*Protocol) Detect([]byte) wire.Match { return wire.Yes }

// NewDissector begins a connection.
func (p *Protocol) NewDissector(c *events.Connection, direction events.Direction, sink wire.Sink) wire.Dissector {
	return &dissector{method: p.Method, connection: c, direction: direction, sink: sink}
}

type dissector struct {
	method     string
	connection *events.Connection
	direction  events.Direction
	sink       wire.Sink
	x          *events.Exchange // nil before the first byte
	base       time.Time
	hello      hello
	closed     [3]bool
	done       bool
}

func (d *dissector) begin(t time.Time) {
	id := d.sink.Begin(t)
	d.base = t
	d.x = &events.Exchange{
		Id: id[:], Direction: d.direction, Protocol: Name, Connection: d.connection,
		Request: &events.Request{Method: d.method, Scheme: Name, Host: d.connection.Server, FirstByte: t.UnixNano(), LastByte: t.UnixNano(), Body: &events.Body{}},
	}
	if h, ok := d.sink.(wire.HeadSink); ok {
		h.Head(d.x)
	}
}

// Data counts, and looks for the name of a server in TLS.
func (d *dissector) Data(side events.Side, t time.Time, b []byte) {
	if side == events.Side_REQUEST && !d.hello.done {
		if name, ok := d.hello.add(b); ok && d.connection.Tls == nil {
			d.connection.Tls = &events.TLS{ServerName: name}
		}
	}
	d.count(side, t, int64(len(b)))
}

// Gap counts as well: nothing is kept of the bytes anyway.
func (d *dissector) Gap(side events.Side, n int64) {
	d.hello.done = true
	d.count(side, time.Now(), n)
}

func (d *dissector) count(side events.Side, t time.Time, n int64) {
	if d.done {
		return
	}
	if d.x == nil {
		d.begin(t)
	}
	now := d.base.UnixNano() + int64(t.Sub(d.base))
	if side == events.Side_REQUEST {
		d.x.Request.Body.Size += n
		d.x.Request.LastByte = now
		return
	}
	if d.x.Response == nil {
		d.x.Response = &events.Response{FirstByte: now, Body: &events.Body{}}
	}
	d.x.Response.Body.Size += n
	d.x.Response.LastByte = now
}

// Close ends the exchange when both sides are closed. A connection without a
// byte is no exchange, unless it failed. A reset behind an orderly end of the
// other side is no failure: who says goodbye in TLS and goes resets the goodbye
// that comes back.
func (d *dissector) Close(side events.Side, t time.Time, err error) {
	if d.closed[side] || d.done {
		return
	}
	d.closed[side] = true
	if d.closed[events.Side_REQUEST] && d.closed[events.Side_RESPONSE] {
		err = nil
	}
	if d.x == nil && err != nil {
		d.begin(t)
	}
	if d.x == nil {
		return
	}
	if err != nil && d.x.Failure == "" {
		d.x.Failure = wire.Failure(err)
	}
	if d.closed[events.Side_REQUEST] && d.closed[events.Side_RESPONSE] {
		d.done = true
		d.sink.End(d.x)
	}
}

// Describe says what the index needs to know.
func (*Protocol) Describe(x *events.Exchange) wire.Description {
	d := wire.Description{
		Endpoint: &events.Endpoint{Direction: x.Direction, Protocol: Name, Host: strings.ToLower(x.GetConnection().GetServer()), Method: x.GetRequest().GetMethod()},
		Class:    events.StatusClass_OK,
	}
	if x.Failure != "" {
		d.Class = events.StatusClass_FAILED
	}
	return d
}

// Signature is the same for all connections of a method: there are no bytes to
// tell them apart.
func (*Protocol) Signature(x *events.Exchange) wire.Signature {
	sum := sha256.Sum256([]byte(Name + "\x00" + x.GetRequest().GetMethod()))
	return wire.Signature{Exact: sum, Shape: sum, Route: sum}
}
