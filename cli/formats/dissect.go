package formats

import (
	"bytes"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/tcp"
)

const maxDetect = 256 // bytes of a client are enough to know its protocol

// dissection shows the bytes of one connection to the dissector of their
// protocol and gathers the exchanges it finds.
type dissection struct {
	Options
	connection *events.Connection
	direction  events.Direction
	midway     bool // its beginning was not seen
	dissector  wire.Dissector
	opaque     bool
	first      []byte // of the client, while the protocol is unknown
	pieces     []piece
	closed     [3]bool
	cut        string // why it ended early, for the exchanges that end by it

	open  map[events.ID]*kept
	found []*events.Exchange
	size  int // bytes shown since nothing was open
}

type piece struct {
	time time.Time
	n    int
}

// kept is what lies beyond the inline part of the bodies of an exchange.
type kept struct{ rest [3][]byte }

var (
	_ wire.Sink     = (*dissection)(nil)
	_ wire.HeadSink = (*dissection)(nil)
)

func newDissection(c *events.Connection, d events.Direction, o Options) *dissection {
	return &dissection{Options: o, connection: c, direction: d, open: map[events.ID]*kept{}}
}

// ended takes the exchanges that were found since the last call.
func (d *dissection) ended() []*events.Exchange {
	found := d.found
	d.found = nil
	return found
}

func (d *dissection) data(side events.Side, t time.Time, b []byte) {
	if d.size += len(b); len(d.open) == 0 {
		d.size = len(b)
	}
	if d.dissector != nil {
		d.dissector.Data(side, t, b)
		return
	}
	if side == events.Side_RESPONSE {
		if d.midway { // the end of an answer whose request was not seen
			return
		}
		d.decide(&tcp.Protocol{}) // the server speaks first
		d.dissector.Data(side, t, b)
		return
	}
	if d.midway {
		d.detectMidway(t, b)
		return
	}
	d.first = append(d.first, b...)
	d.pieces = append(d.pieces, piece{t, len(b)})
	d.detect()
}

// detectMidway looks for bytes that could be the beginning of a request. The
// dissector hears of the gap before them, and looks for its place itself.
func (d *dissection) detectMidway(t time.Time, b []byte) {
	for _, p := range d.Protocols {
		if p.Detect(b) == wire.Yes {
			d.decide(p)
			d.dissector.Gap(events.Side_REQUEST, 1)
			d.dissector.Data(events.Side_REQUEST, t, b)
			return
		}
	}
}

func (d *dissection) detect() {
	undecided := false
	for _, p := range d.Protocols {
		switch p.Detect(d.first) {
		case wire.Yes:
			d.decide(p)
			return
		case wire.More:
			undecided = true
		}
	}
	if !undecided || len(d.first) >= maxDetect {
		d.decide(&tcp.Protocol{})
	}
}

func (d *dissection) decide(p wire.Protocol) {
	_, d.opaque = p.(*tcp.Protocol)
	d.dissector = p.NewDissector(d.connection, d.direction, d)
	first := d.first
	for _, piece := range d.pieces {
		d.dissector.Data(events.Side_REQUEST, piece.time, first[:piece.n])
		first = first[piece.n:]
	}
	d.first, d.pieces = nil, nil
}

var zeros [64 << 10]byte

// gap says that n bytes of a side are not in the file.
func (d *dissection) gap(side events.Side, t time.Time, n int64) {
	switch {
	case d.dissector == nil:
		d.midway, d.first, d.pieces = true, nil, nil
	case d.opaque: // only counts, and its gaps have the time of now
		for ; n > 0; n -= int64(len(zeros)) {
			d.dissector.Data(side, t, zeros[:min(n, int64(len(zeros)))])
		}
	default:
		d.dissector.Gap(side, n)
	}
}

func (d *dissection) close(side events.Side, t time.Time, err error) {
	if d.closed[side] {
		return
	}
	d.closed[side] = true
	if d.dissector == nil {
		if d.midway || len(d.first) == 0 || !d.closed[events.Side_REQUEST] || !d.closed[events.Side_RESPONSE] {
			return
		}
		d.decide(&tcp.Protocol{})
		d.dissector.Close(otherSide(side), t, nil)
	}
	d.dissector.Close(side, t, err)
}

// end closes both sides of what the file does not show to the end.
func (d *dissection) end(t time.Time, why string) {
	d.cut = why
	d.close(events.Side_RESPONSE, t, errCut)
	d.close(events.Side_REQUEST, t, errCut)
}

type cutError struct{}

func (cutError) Error() string { return "not recorded to its end" }

var errCut = cutError{}

func otherSide(s events.Side) events.Side {
	return events.Side_REQUEST + events.Side_RESPONSE - s
}

// Begin, Head, Body, End and Drop are what the dissector tells.

func (d *dissection) Begin(t time.Time) events.ID {
	id := events.NewID(t)
	d.open[id] = &kept{}
	return id
}

func (d *dissection) Head(*events.Exchange) {}

var keptHere = &events.RecordRef{}

func (d *dissection) Body(id events.ID, side events.Side, offset int64, b []byte) *events.RecordRef {
	k := d.open[id]
	if k == nil || offset != events.BodyInline+int64(len(k.rest[side])) {
		return nil // behind what was not kept
	}
	b = b[:max(0, min(int64(len(b)), d.MaxBody-offset))]
	if len(b) == 0 {
		return nil
	}
	k.rest[side] = append(k.rest[side], b...)
	return keptHere
}

func (d *dissection) End(x *events.Exchange) {
	k := d.open[events.ID(x.Id)]
	if k == nil {
		return
	}
	delete(d.open, events.ID(x.Id))
	d.join(x.Request.Body, k.rest[events.Side_REQUEST])
	d.join(x.Response.GetBody(), k.rest[events.Side_RESPONSE])
	if d.cut != "" && strings.Contains(x.Failure, errCut.Error()) {
		x.Failure = wire.FailureGap + d.cut
	} else if d.cut != "" && d.opaque && x.Failure == "" {
		x.Failure = wire.FailureGap + d.cut
	}
	d.found = append(d.found, x)
}

func (d *dissection) join(b *events.Body, rest []byte) {
	if b == nil {
		return
	}
	if len(rest) > 0 {
		b.Data = append(bytes.Clone(b.Data), rest...)
	}
	b.Data = b.Data[:min(int64(len(b.Data)), d.MaxBody)]
	b.Parts, b.Kept = nil, int64(len(b.Data))
}

func (d *dissection) Drop(id events.ID, reason string) {
	if _, open := d.open[id]; !open {
		return
	}
	delete(d.open, id)
	if reason == wire.DropPressure { // of a copy that fell behind; here, of the file
		reason = "gap"
	}
	d.Lost(reason)
}
