package http1

import (
	"bytes"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/sse"
)

// answers reads what the server sends.
func (d *dissector) answers(t time.Time, b []byte) {
	for {
		e := d.answering()
		if e == nil {
			if len(b) > 0 && !d.lost {
				d.lose(wire.FailureGap+"an answer without a request", false)
			}
			return
		}
		if !d.response.begun() && e.Response == nil {
			e.Response = e.respond()
			e.Response.FirstByte = e.nanos(t)
		}
		n, f := d.response.next(b)
		b = b[n:]
		switch f {
		case gotHead:
			d.responseHead(e, t)
		case gotBody:
			d.keep(e, events.Side_RESPONSE, t, d.response.data)
		case gotEnd:
			d.answered(e, t)
		case gotBad:
			d.badResponse(e, d.response.err)
			return
		case more:
			if len(b) == 0 {
				return
			}
		}
		if d.opaque != nil {
			d.count(events.Side_RESPONSE, t, b)
			return
		}
		if d.response.state == inNothing || len(b) == 0 && !d.response.begun() {
			return
		}
	}
}

// respond begins an answer. There is room for one; more come behind interim ones.
func (e *exchange) respond() *events.Response {
	r := e.answer
	if r == nil {
		r = &events.Response{Body: &events.Body{}}
	}
	e.answer = nil
	return r
}

// answering is the exchange whose answer is read next.
func (d *dissector) answering() *exchange {
	for _, e := range d.open {
		if !e.answered {
			return e
		}
	}
	return nil
}

func (d *dissector) responseHead(e *exchange, t time.Time) {
	raw := len(d.response.head)
	h, err := parseHead(d.response.head, true, false)
	if err != nil {
		d.badResponse(e, err)
		return
	}
	r := e.Response
	r.Version, r.Status, r.Reason, r.Headers = intern(h.first), intern(h.second), intern(h.third), h.fields
	r.LastByte = e.nanos(t)
	e.size, d.pending = e.size+raw, d.pending+raw
	switch {
	case r.Status == "101", e.Request.Method == "CONNECT" && r.Status[0] == '2':
		d.tell(e)
		d.upgraded(e, t)
	case r.Status[0] == '1':
		if e.interim += raw; e.interim <= maxInterim {
			e.Interim = append(e.Interim, r)
		}
		e.Response = nil
		d.response.reset()
	default:
		kind, length := h.responseBody(e.Request.Method)
		if d.segments != nil && r.Status == "200" && sse.Is(r.Headers) {
			e.stream = sse.NewReader(wire.NewStream(e.Exchange, d.segments))
		}
		d.tell(e)
		d.response.frame(kind, length)
	}
}

func (d *dissector) answered(e *exchange, t time.Time) {
	e.Response.LastByte = e.nanos(t)
	e.Response.Trailers, _ = parseTrailers(d.response.trailers)
	e.answered = true
	d.response.reset()
	d.end(e)
	if !d.await || !e.upgrade {
		return
	}
	// The upgrade was refused: what the client sent meanwhile is HTTP.
	held := d.held
	d.await, d.held = false, nil
	d.requests(t, held)
}

// badResponse gives the server's side up, and with it all that waits for it.
func (d *dissector) badResponse(e *exchange, err error) {
	e.Failure = "malformed response: " + err.Error()
	d.lose(wire.FailureGap+"the bytes after a malformed response", false)
}

// lose gives the connection's bytes up: exchanges under way end as failed. By
// a gap in the copy (resync) they are dropped: whether they failed is unknown.
func (d *dissector) lose(why string, resync bool) {
	d.lost, d.resync = true, resync
	open := d.open
	d.open, d.reading, d.await, d.held, d.pending = nil, nil, false, nil, 0
	d.request.state, d.response.state = inNothing, inNothing
	for _, e := range open {
		switch {
		case e.dropped:
		case resync:
			d.sink.Drop(e.id, why)
		default:
			if e.Failure == "" {
				e.Failure = why
			}
			d.hand(e)
		}
	}
}

// Gap says that n bytes are missing from the copy. Inside a body of known
// length only its exchange is dropped: what comes after has its place.
func (d *dissector) Gap(side events.Side, n int64) {
	if d.opaque != nil {
		d.opaqueGap(side, n)
		return
	}
	p, e := &d.request, d.reading
	if side == events.Side_RESPONSE {
		p, e = &d.response, d.answering()
	}
	if e == nil || d.lost || p.state != inLength || n >= p.remain {
		d.lose(wire.DropPressure, true)
		return
	}
	p.remain -= n
	d.drop(e)
}

// Missed counts requests that lie whole in a gap. A client that does not wait
// for its answers may have sent more of them.
func (d *dissector) Missed(t time.Time, exchanges int) {
	if d.opaque != nil {
		return
	}
	for range exchanges {
		d.sink.Drop(d.sink.Begin(t), wire.DropPressure)
	}
}

func (d *dissector) drop(e *exchange) {
	if !e.dropped {
		e.dropped = true
		d.sink.Drop(e.id, wire.DropPressure)
	}
}

// findRequest looks for the place again after a gap: clients that wait for
// each answer send a request in a read of its own.
func (d *dissector) findRequest(side events.Side, b []byte) bool {
	if !d.resync || side != events.Side_REQUEST || !startsRequest(b) {
		return false
	}
	d.request.reset()
	d.response.reset()
	d.lost, d.skipping = false, true
	return true
}

// findAnswer skips what is left of answers to requests that were lost.
func (d *dissector) findAnswer(side events.Side, b []byte) bool {
	if side == events.Side_REQUEST {
		return true
	}
	if !bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return false
	}
	d.skipping = false
	return true
}

func startsRequest(b []byte) bool {
	line, _, ok := bytes.Cut(b, []byte("\n"))
	return ok && (&Protocol{}).Detect(b) == wire.Yes && bytes.Contains(line, []byte(" HTTP/1."))
}

// Close says that a side sends no more.
func (d *dissector) Close(side events.Side, t time.Time, err error) {
	if d.closed[side] {
		return
	}
	d.closed[side] = true
	if d.opaque != nil {
		d.closeOpaque(t, err)
		return
	}
	if side == events.Side_REQUEST {
		d.closeRequests(err)
	} else {
		d.closeAnswers(t, err)
	}
	if d.closed[events.Side_RESPONSE] {
		d.endAll()
	}
}

func (d *dissector) closeRequests(err error) {
	if e := d.reading; e != nil {
		e.Failure = "request cut off: " + wire.Failure(err)
		e.asked, d.reading = true, nil
		d.end(e)
	}
}

func (d *dissector) closeAnswers(t time.Time, err error) {
	if e := d.answering(); e != nil && e.Response != nil {
		left := e.stream != nil && d.closed[events.Side_REQUEST] // the usual end of an event stream: its reader goes
		if d.response.state == inUntilClose && err == nil || left {
			d.answered(e, t)
		} else {
			e.Failure = "response cut off: " + wire.Failure(err)
			e.answered = true
			d.end(e)
		}
	}
	for _, e := range d.open {
		if !e.answered && e.Failure == "" {
			e.Failure = "no answer: " + wire.Failure(err)
		}
	}
}

// endAll ends what no answer can come for any more. An upload that goes on
// after its answer ends with the client's side.
func (d *dissector) endAll() {
	for _, e := range append([]*exchange(nil), d.open...) {
		if e.asked || d.closed[events.Side_REQUEST] {
			e.asked, e.answered = true, true
			d.end(e)
		}
	}
}
