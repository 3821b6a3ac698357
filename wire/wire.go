// Package wire knows protocols; nothing else does. There is one folder a
// protocol below it, and capture, scenariogen, replayer and mocksrv are built
// on the interfaces here: adding a protocol is adding a folder and a line in
// the list that main hands to the services.
//
// A protocol has five jobs: dissect relayed bytes into exchanges, describe an
// exchange (endpoint, status, path), give it a canonical signature for mocks,
// send a recorded request (client side) and answer one (server side).
package wire

import (
	"context"
	"net"
	"time"

	"tapedeck/events"
)

// Match is what the first bytes of a connection say about its protocol.
type Match int

// The matches.
const (
	No   Match = iota
	More       // too few bytes to tell
	Yes
)

// Protocol is one folder of wire.
type Protocol interface {
	// Name is the protocol as endpoints name it: "http".
	Name() string
	// Detect looks at the first bytes that the client sent.
	Detect(first []byte) Match
	// NewDissector begins a connection. The dissector tells sink what it finds.
	NewDissector(c *events.Connection, d events.Direction, sink Sink) Dissector
	// Describe says what the index needs to know of an exchange. It is a pure
	// function, called on redacted exchanges only.
	Describe(x *events.Exchange) Description
	// Signature is the canonical form of the request, equal for requests that
	// a recorded answer fits.
	Signature(x *events.Exchange) Signature
}

// Dissector reads a copy of the bytes of one connection. It is called from one
// goroutine, keeps no slice that it was given, never blocks and holds bounded
// memory whatever it is fed. However the bytes are split, it finds the same
// exchanges.
type Dissector interface {
	// Data are the next bytes that side sent; t is when they were read.
	Data(side events.Side, t time.Time, b []byte)
	// Gap says that n bytes of that side are missing from the copy.
	Gap(side events.Side, n int64)
	// Close says that side sends no more; err is nil for an orderly end.
	Close(side events.Side, t time.Time, err error)
}

// TurnTaker is a Dissector of a protocol whose client begins an exchange when
// the server has spoken. Missed is called after Gap and says how often that
// was in the missing bytes: those exchanges have begun, and are dropped.
type TurnTaker interface {
	Missed(t time.Time, exchanges int)
}

// Sink receives what a dissector finds, in the order it finds it.
type Sink interface {
	// Begin is called at the first byte of an exchange and makes its id.
	Begin(t time.Time) events.ID
	// Body carries the body bytes from offset on that lie beyond
	// events.BodyInline. b is valid during the call only. It returns where
	// they were written, nil when they were not kept.
	Body(id events.ID, side events.Side, offset int64, b []byte) *events.RecordRef
	// End is called once for each Begin. The exchange belongs to the sink.
	End(x *events.Exchange)
	// Drop ends a Begin without an exchange; reason is one of a few words.
	Drop(id events.ID, reason string)
}

// SegmentSink is a Sink that keeps the messages of streams. Segment is called
// for an exchange between its Begin and its End, with numbers from 0 on; the
// segment belongs to the sink. It returns where it was written, nil when it
// was not kept. To a Sink that is none, messages are bytes of a body.
type SegmentSink interface {
	Segment(id events.ID, s *events.Segment) *events.RecordRef
}

// Ticker is a Dissector that has something to write when nothing comes: call
// Tick about once a second, as the other methods from the same goroutine.
type Ticker interface {
	Tick(t time.Time)
}

// ServerDetector is a Protocol whose server may speak first: DetectServer
// looks at the first bytes that the server sent, before any of the client's.
type ServerDetector interface {
	DetectServer(first []byte) Match
}

// Description is what the index needs to know of an exchange beyond its times
// and sizes.
type Description struct {
	Endpoint *events.Endpoint // Template is the shape template
	Path     string           // without the query
	Status   string
	Class    events.StatusClass
	Session  events.SessionID // zero: by connection
	Trace    events.TraceID
	Span     events.SpanID // of this exchange, as the caller named it
	Parent   events.SpanID
	ReplayID string
	Tags     []*events.Tag
}

// Signature identifies requests that one recorded answer fits, from strict to
// loose.
type Signature struct {
	Exact [32]byte // method, path, query and body as they are
	Shape [32]byte // with volatile values (times, ids, tokens) replaced by their class
	Route [32]byte // method and path template (of GraphQL, with the operation) only
}

// Client sends recorded requests to a target, over connections of its own.
type Client interface {
	// Do sends the request of x and returns the exchange as it went: a
	// request that got no complete answer is an exchange with a Failure, not
	// an error. Bodies are whole (Body.Data).
	Do(ctx context.Context, x *events.Exchange) (*events.Exchange, error)
	Close() error
}

// Answer makes the response to a request; nil closes the connection.
type Answer func(ctx context.Context, request *events.Exchange) *events.Response

// Server serves answers on a listener until ctx is done, then drains.
type Server interface {
	Serve(ctx context.Context, l net.Listener, answer Answer) error
}
