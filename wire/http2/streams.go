package http2

import (
	"time"

	"golang.org/x/net/http2"

	"tapedeck/events"
	"tapedeck/wire"
)

// exchange is one under way: a stream.
type exchange struct {
	*events.Exchange
	id       events.ID
	answer   *events.Response // room for one; nil: taken
	stream   uint32
	base     time.Time // of its first byte: all its times are this and the monotonic time since
	size     int       // bytes kept
	interim  int       // bytes kept of 1xx answers
	call     Call      // nil: plain HTTP
	held     int       // bytes kept by the call
	known    [3]bool   // heads, by side
	asked    bool      // request complete
	answered bool      // response complete
	unseen   bool      // its answer will not be seen, not from its beginning on
	opaque   bool      // a tunnel: bytes are counted only
	dropped  bool      // told to the sink: only the framing goes on
	ended    bool
}

func (x *exchange) nanos(t time.Time) int64 { return x.base.UnixNano() + int64(t.Sub(x.base)) }

// fail keeps the first reason.
func (x *exchange) fail(why string) {
	if x.Failure == "" {
		x.Failure = why
	}
}

// begin begins the exchange of a stream; nil when there is no room for it.
func (d *dissector) begin(stream uint32) *exchange {
	id := d.sink.Begin(d.now)
	ordinal := d.ordinal
	d.ordinal++
	if len(d.open) >= maxOpen || d.pending > maxHeads {
		d.sink.Drop(id, dropStreams)
		return nil
	}
	x := &exchange{id: id, stream: stream, base: d.now}
	x.Exchange, x.answer = wire.NewExchange(x.id[:], d.connection, ordinal, d.now.UnixNano())
	x.Direction, x.Protocol, x.Request.Version = d.direction, Name, Version
	if d.response.lost {
		x.unseen = true
		x.fail(d.noAnswer())
	}
	d.open[stream] = x
	return x
}

// noAnswer says why a request has none that could be seen.
func (d *dissector) noAnswer() string {
	if d.response.closed && !d.response.missed {
		return "no answer: " + wire.Failure(nil)
	}
	return wire.FailureGap + "the answer was not seen"
}

// answering makes room for the answer at its first byte.
func (d *dissector) answering(x *exchange) {
	if x.Response != nil {
		return
	}
	r := x.answer
	if r == nil { // an interim one took the room
		r = &events.Response{Body: &events.Body{}}
	}
	r.Version, r.FirstByte = Version, x.nanos(d.now)
	x.Response, x.answer = r, nil
}

func (d *dissector) requestHead(x *exchange, l *list, known bool) {
	r := x.Request
	switch {
	case x.asked: // nothing of it can follow, or only its answer was seen
	case !known:
		x.fail(wire.FailureGap + "the head of the request can't be decoded")
	case x.known[events.Side_REQUEST]:
		r.Trailers = l.fields()
		d.keeps(x, l.size)
	default:
		d.keeps(x, l.size)
		if err := l.request(r); err != nil {
			x.fail("malformed request: " + err.Error())
			return
		}
		x.known[events.Side_REQUEST] = true
		x.opaque = r.Method == "CONNECT"
		d.recognise(x)
		d.tell(x)
	}
}

// recognise finds the protocol that travels on the stream.
func (d *dissector) recognise(x *exchange) {
	for _, inner := range d.protocol.Inner {
		if inner.Speaks(x.Exchange) {
			x.Protocol = inner.Name()
			x.call = inner.NewCall(x.Exchange, d.segments)
			return
		}
	}
}

func (d *dissector) responseHead(x *exchange, l *list, known bool) {
	r := x.Response
	switch {
	case x.answered:
	case !known:
		x.fail(wire.FailureGap + "the head of the answer can't be decoded")
	case x.known[events.Side_RESPONSE]:
		r.Trailers = l.fields()
		d.keeps(x, l.size)
	default:
		d.keeps(x, l.size)
		if err := l.response(r); err != nil {
			x.fail("malformed response: " + err.Error())
			return
		}
		r.LastByte = x.nanos(d.now)
		if r.Status[0] == '1' {
			if x.interim += l.size; x.interim <= maxInterim {
				x.Interim = append(x.Interim, r)
			}
			x.Response = nil
			return
		}
		x.known[events.Side_RESPONSE] = true
		d.tell(x)
	}
}

func (d *dissector) tell(x *exchange) {
	if d.heads != nil && !x.dropped {
		d.heads.Head(x.Exchange)
	}
}

// keeps counts n bytes more that an exchange holds.
func (d *dissector) keeps(x *exchange, n int) {
	x.size += n
	d.pending += n
}

// held counts what its call holds.
func (d *dissector) held(x *exchange) {
	now := x.call.Held()
	d.keeps(x, now-x.held)
	x.held = now
}

func (d *dissector) body(x *exchange, side events.Side, b []byte) {
	body := x.body(side)
	switch {
	case x.dropped || body == nil || x.complete(side):
	case x.opaque || !x.known[side]:
		body.Size += int64(len(b))
	case x.call == nil:
		d.keep(x, side, b)
	default:
		x.call.Data(side, x.nanos(d.now), b, func(b []byte) { d.keep(x, side, b) })
		if d.held(x); d.pending > maxPending {
			x.call.Flush()
			d.held(x)
		}
	}
}

func (x *exchange) complete(side events.Side) bool {
	return side == events.Side_REQUEST && x.asked || side == events.Side_RESPONSE && x.answered
}

func (x *exchange) body(side events.Side) *events.Body {
	if side == events.Side_REQUEST {
		return x.Request.Body
	}
	return x.Response.GetBody()
}

// keep adds body bytes: the first 256 KiB to the exchange, the rest to the
// sink. When the connection holds too much, the rest begins at once.
func (d *dissector) keep(x *exchange, side events.Side, b []byte) {
	body := x.body(side)
	whole := body.Kept == body.Size && len(body.Parts) == 0
	body.Size += int64(len(b))
	inline := min(events.BodyInline-len(body.Data), maxPending-d.pending, len(b))
	if inline > 0 && whole {
		body.Data = append(body.Data, b[:inline]...)
		body.Kept += int64(inline)
		d.keeps(x, inline)
		b = b[inline:]
	}
	if len(b) == 0 {
		return
	}
	ref := d.sink.Body(x.id, side, body.Size-int64(len(b)), b)
	if ref == nil {
		return
	}
	body.Kept += int64(len(b))
	if n := len(body.Parts); n == 0 || body.Parts[n-1] != ref { // the sink may gather several calls into one part
		body.Parts = append(body.Parts, ref)
	}
}

// endSide is reached when a side has sent all of its stream.
func (d *dissector) endSide(x *exchange, side events.Side) {
	now := x.nanos(d.now)
	switch {
	case x.ended || x.complete(side):
		return
	case side == events.Side_REQUEST:
		x.Request.LastByte, x.asked = now, true
		if d.requested != nil && !x.dropped && x.known[side] {
			d.requested.Asked(x.Exchange)
		}
	case x.Response == nil: // it ended with a 1xx
		x.fail("malformed response: no head but 1xx")
		x.answered = true
	default:
		x.Response.LastByte, x.answered = now, true
	}
	if x.asked && (x.answered || x.unseen) {
		d.end(x)
	}
}

// reset ends a stream before its time. A server that has answered in full may
// say so to end an upload (RFC 9113, 8.1).
func (d *dissector) reset(side events.Side, stream, code uint32) {
	x := d.open[stream]
	if x == nil {
		return
	}
	by := "client"
	if side == events.Side_RESPONSE {
		by = "server"
	}
	if !x.answered || side == events.Side_REQUEST && !x.asked {
		x.fail("reset by " + by + ": " + http2.ErrCode(code).String())
	}
	d.end(x)
}

// goAway ends what the server says it has not looked at.
func (d *dissector) goAway(side events.Side, last, code uint32) {
	if side == events.Side_REQUEST {
		return // it speaks of pushed streams
	}
	for _, x := range d.ordered() {
		if x.stream > last {
			x.fail("not processed by server: " + http2.ErrCode(code).String())
			d.end(x)
		}
	}
}

// end hands an exchange over.
func (d *dissector) end(x *exchange) {
	if x.ended {
		return
	}
	x.ended = true
	delete(d.open, x.stream)
	if x.call != nil && !x.dropped {
		x.call.Flush()
	}
	d.pending -= x.size
	if x.dropped {
		return
	}
	if x.Response != nil && x.Response.Status == "" { // its head is not known
		x.Response = nil
	}
	d.sink.End(x.Exchange)
}
