package http1

import (
	"time"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/websocket"
)

// upgraded: from here on the connection is not HTTP; its bytes are counted as
// those of this exchange, or read as its messages; it ends with the connection.
func (d *dissector) upgraded(e *exchange, t time.Time) {
	d.opaque = e
	for _, other := range d.open { // nobody asked for the switch: these were bytes of the other protocol, or are lost
		if other != e {
			other.Failure = wire.FailureGap + "the connection speaks another protocol"
			d.hand(other)
		}
	}
	if d.segments != nil && websocket.Is(e.Exchange) {
		e.Protocol = websocket.Name
		e.stream = websocket.NewConnection(e.Exchange, wire.NewStream(e.Exchange, d.segments))
	}
	held := d.held
	d.open, d.reading, d.held, d.await = []*exchange{e}, nil, nil, false
	d.count(events.Side_REQUEST, t, held)
}

func (d *dissector) count(side events.Side, t time.Time, b []byte) {
	e := d.opaque
	if len(b) == 0 {
		return
	}
	now := e.nanos(t)
	if side == events.Side_REQUEST {
		e.Request.LastByte = now
	} else {
		e.Response.LastByte = now
	}
	if e.stream != nil {
		e.stream.Data(side, now, b)
		return
	}
	e.body(side).Size += int64(len(b))
}

func (d *dissector) opaqueGap(side events.Side, n int64) {
	if e := d.opaque; e.stream != nil {
		e.stream.Gap(side, n)
	} else {
		e.body(side).Size += n
	}
}

func (d *dissector) closeOpaque(t time.Time, err error) {
	e := d.opaque
	if err != nil {
		e.err = err
	}
	if err != nil && e.Failure == "" && e.stream == nil { // a stream says itself how it ended
		e.Failure = wire.Failure(err)
	}
	if d.closed[events.Side_REQUEST] && d.closed[events.Side_RESPONSE] {
		e.asked, e.answered = true, true
		if e.stream != nil {
			e.Response.LastByte = max(e.Response.LastByte, e.nanos(t))
		}
		d.end(e)
	}
}

// Tick writes what streams hold for a second.
func (d *dissector) Tick(t time.Time) {
	for _, e := range d.open {
		if e.stream != nil && !e.dropped {
			e.stream.Tick(e.nanos(t))
		}
	}
}
