package http1

import (
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// Bounds of a connection that a client could drive up.
const (
	maxPipelined = 256     // requests without an answer
	maxPending   = 4 << 20 // bytes kept of them
	maxHeld      = 64 << 10
	maxInterim   = 64 << 10 // bytes kept of an exchange's 1xx answers
	maxPresize   = 16 << 10
)

// dissector finds the exchanges of one connection. Requests are numbered as
// they come and answers belong to them in that order.
type dissector struct {
	connection *events.Connection
	direction  events.Direction
	sink       wire.Sink
	heads      wire.HeadSink    // nil: does not want to know
	requested  wire.RequestSink // nil: does not want to know
	segments   wire.SegmentSink // nil: messages are bytes

	request, response parser
	open              []*exchange // without a complete request and answer; the first is answered next
	reading           *exchange   // whose request is under way
	ordinal           uint32
	host              string // of the last request
	pending           int    // bytes kept of open exchanges
	closed            [3]bool
	opaque            *exchange // upgraded: what follows is its bytes
	lost              bool      // the place in the bytes is lost
	resync            bool      // lost by a gap: a request at the start of a read finds it again
	skipping          bool      // found again: answers begin with the next read that looks like one
	await             bool      // an upgrade or CONNECT was asked for: only its answer says what follows
	held              []byte    // of the client, meanwhile
}

// exchange is one under way.
type exchange struct {
	*events.Exchange
	answer   *events.Response // room for one; nil: taken
	id       events.ID
	base     time.Time // of its first byte: all its times are this and the monotonic time since
	size     int       // bytes kept
	interim  int       // bytes kept of 1xx answers
	asked    bool      // request complete
	answered bool      // response complete
	dropped  bool      // told to the sink: only the framing goes on
	upgrade  bool
	stream   stream // nil: none
	err      error  // of the connection, for the stream
}

// stream reads the messages in a body, or behind an upgrade.
type stream interface {
	Data(side events.Side, now int64, b []byte)
	Gap(side events.Side, n int64)
	Tick(now int64)
	Close(now int64, err error)
}

func (e *exchange) nanos(t time.Time) int64 { return e.base.UnixNano() + int64(t.Sub(e.base)) }

// Data are the next bytes of a side.
func (d *dissector) Data(side events.Side, t time.Time, b []byte) {
	switch {
	case len(b) == 0:
	case d.opaque != nil:
		d.count(side, t, b)
	case d.lost && !d.findRequest(side, b), d.skipping && !d.findAnswer(side, b):
	case side == events.Side_RESPONSE:
		d.answers(t, b)
	case d.await:
		d.hold(b)
	default:
		d.requests(t, b)
	}
}

// requests reads what the client sends.
func (d *dissector) requests(t time.Time, b []byte) {
	for d.request.state != inNothing {
		if d.reading == nil {
			if d.await {
				d.hold(b)
				return
			}
			if b = skipBlankLines(b); len(b) == 0 {
				return
			}
			if d.begin(t); d.lost {
				return
			}
		}
		n, f := d.request.next(b)
		b = b[n:]
		switch f {
		case gotHead:
			d.requestHead()
		case gotBody:
			d.keep(d.reading, events.Side_REQUEST, t, d.request.data)
		case gotEnd:
			d.asked(t)
		case gotBad:
			d.badRequest(d.request.err)
		case more:
			if len(b) == 0 {
				return
			}
		}
	}
}

// skipBlankLines drops empty lines before a request (RFC 9112, 2.2).
func skipBlankLines(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

func (d *dissector) begin(t time.Time) {
	e := &exchange{base: t, id: d.sink.Begin(t)}
	e.Exchange, e.answer = wire.NewExchange(e.id[:], d.connection, d.ordinal, t.UnixNano())
	e.Direction, e.Protocol = d.direction, Name
	d.ordinal++
	d.open, d.reading = append(d.open, e), e
	if len(d.open) > maxPipelined || d.pending > maxPending {
		d.lose(wire.FailureGap+"too many requests without an answer", false)
	}
}

func (d *dissector) requestHead() {
	e := d.reading
	raw := len(d.request.head)
	h, err := parseHead(d.request.head, false, false)
	r := e.Request
	r.Method, r.Version = intern(h.first), intern(h.third)
	r.Target = text(h.second)
	r.Scheme = "http"
	if d.connection.Tls != nil {
		r.Scheme = "https"
	}
	if string(h.host) != d.host { // nearly always that of the request before
		d.host = text(h.host)
	}
	r.Host, r.Headers = d.host, h.fields
	e.size += raw
	d.pending += raw
	kind, length := noBody, int64(0)
	if err == nil {
		kind, length, err = h.requestBody()
	}
	if err != nil {
		d.badRequest(err)
		return
	}
	e.upgrade = h.upgrade || r.Method == "CONNECT"
	d.tell(e)
	d.request.frame(kind, length)
}

func (d *dissector) parser(side events.Side) *parser {
	if side == events.Side_REQUEST {
		return &d.request
	}
	return &d.response
}

func (d *dissector) tell(e *exchange) {
	if d.heads != nil && !e.dropped {
		d.heads.Head(e.Exchange)
	}
}

func (d *dissector) asked(t time.Time) {
	e := d.reading
	e.Request.LastByte = e.nanos(t)
	e.Request.Trailers, _ = parseTrailers(d.request.trailers)
	e.asked, d.reading = true, nil
	d.await = e.upgrade && !e.answered
	if d.requested != nil && !e.dropped {
		d.requested.Asked(e.Exchange)
	}
	d.end(e)
}

// badRequest gives the client's side up; the answers to what was understood,
// and the one to this, may still come.
func (d *dissector) badRequest(err error) {
	d.request.state = inNothing
	e := d.reading
	if e == nil {
		return
	}
	e.Failure = "malformed request: " + err.Error()
	e.asked, d.reading = true, nil
	d.end(e)
}

// keep adds body bytes: the first 256 KiB to the exchange, the rest to the sink.
func (d *dissector) keep(e *exchange, side events.Side, t time.Time, b []byte) {
	if e.dropped {
		return
	}
	if e.stream != nil && side == events.Side_RESPONSE {
		e.Response.LastByte = e.nanos(t)
		e.stream.Data(side, e.Response.LastByte, b)
		return
	}
	body := e.body(side)
	body.Size += int64(len(b))
	if inline := events.BodyInline - len(body.Data); inline > 0 {
		n := min(inline, len(b))
		if body.Data == nil {
			// What is known to follow spares the growth. It is only a claim, so
			// more than a little is believed as it comes.
			body.Data = make([]byte, 0, n+int(min(d.parser(side).remain, maxPresize)))
		}
		body.Data = append(body.Data, b[:n]...)
		body.Kept += int64(n)
		e.size, d.pending = e.size+n, d.pending+n
		b = b[n:]
	}
	if len(b) == 0 {
		return
	}
	ref := d.sink.Body(e.id, side, body.Size-int64(len(b)), b)
	if ref == nil {
		return
	}
	body.Kept += int64(len(b))
	if n := len(body.Parts); n == 0 || body.Parts[n-1] != ref { // the sink may gather several calls into one part
		body.Parts = append(body.Parts, ref)
	}
}

func (e *exchange) body(side events.Side) *events.Body {
	if side == events.Side_REQUEST {
		return e.Request.Body
	}
	return e.Response.Body
}

// hold keeps what the client sends until the answer to its upgrade is known.
func (d *dissector) hold(b []byte) {
	if len(d.held)+len(b) > maxHeld {
		d.lose(wire.FailureGap+"more than 64 KiB sent before the answer to an upgrade", false)
		return
	}
	d.held = append(d.held, b...)
}

// end hands over an exchange whose both sides are complete.
func (d *dissector) end(e *exchange) {
	if !e.asked || !e.answered {
		return
	}
	for i := range d.open {
		if d.open[i] == e {
			d.open = append(d.open[:i], d.open[i+1:]...)
			break
		}
	}
	d.pending -= e.size
	d.hand(e)
}

func (d *dissector) hand(e *exchange) {
	if e.dropped {
		return
	}
	if e.stream != nil {
		e.stream.Close(e.Response.LastByte, e.err)
	}
	if e.Response != nil && e.Response.Status == "" { // not even its head came
		e.Response = nil
	}
	d.sink.End(e.Exchange)
}
