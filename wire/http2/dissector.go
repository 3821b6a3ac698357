package http2

import (
	"errors"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// Bounds of a connection that its peers could drive up.
const (
	maxOpen    = 1024     // exchanges under way
	maxPending = 4 << 20  // bytes kept of them; beyond it bodies go to the sink at once
	maxHeads   = 12 << 20 // bytes kept of them; beyond it nothing more begins
	maxInterim = 64 << 10 // bytes kept of an exchange's 1xx answers
)

// dropStreams: more was under way on one connection than is held.
const dropStreams = "streams"

var (
	errBlock  = errors.New("header block is longer than 256 KiB")
	errOrder  = errors.New("frame inside a header block, or its continuation outside of one")
	errStream = errors.New("frame on a stream that it can't be on")
)

// dissector finds the exchanges of one connection.
type dissector struct {
	protocol   *Protocol
	connection *events.Connection
	direction  events.Direction
	sink       wire.Sink
	heads      wire.HeadSink    // nil: does not want to know
	requested  wire.RequestSink // nil: does not want to know
	segments   wire.SegmentSink // nil: keeps none

	request, response half
	open              map[uint32]*exchange // by stream
	last              uint32               // stream that the client began last
	ordinal           uint32
	pending           int // bytes kept of open exchanges
	now               time.Time
	hidden            hidden
}

// half is one direction of the connection.
type half struct {
	side   events.Side
	parser parser
	heads  heads
	block  []byte // header block as far as it came
	head   header
	data   *exchange // of the DATA frame under way; nil: nobody's
	lost   bool      // the place in the bytes is lost
	resync bool      // a frame at the start of a read finds it again
	missed bool      // whole frames were, once
	begun  bool      // the first frame was as it must be, or that is known to be lost
	closed bool
}

// header is the header block under way.
type header struct {
	under  bool
	stream uint32
	end    bool      // of the stream
	x      *exchange // nil: nobody's
}

func newHalf(side events.Side) half {
	h := half{side: side, parser: parser{state: inHeader}}
	if side == events.Side_REQUEST {
		h.parser.state = inPreface
	}
	return h
}

func (d *dissector) half(side events.Side) *half {
	if side == events.Side_REQUEST {
		return &d.request
	}
	return &d.response
}

// Data are the next bytes of a side.
func (d *dissector) Data(side events.Side, t time.Time, b []byte) {
	d.now = t
	h := d.half(side)
	if h.lost && !d.find(h, b) {
		return
	}
	d.read(h, b)
}

// read takes frames apart. Without bytes it ends what is complete.
func (d *dissector) read(h *half, b []byte) {
	all := b
	for {
		n, f := h.parser.next(b)
		b = b[n:]
		var err error
		switch f {
		case gotFrame:
			err = d.beginFrame(h, h.parser.frame)
		case gotData:
			err = d.content(h, h.parser.data)
		case gotEnd:
			err = d.endFrame(h, h.parser.frame)
		case gotBad:
			err = h.parser.err
		case more:
			if len(b) == 0 {
				return
			}
		}
		switch {
		case err == errPreface && d.request.parser.state == inPreface:
			d.midway(h, all)
			return
		case err != nil:
			d.giveUp(h, err)
			return
		}
	}
}

func (d *dissector) beginFrame(h *half, f frame) error {
	if !h.begun && h.side == events.Side_RESPONSE && f.kind != isSettings {
		return errPreface
	}
	h.begun = true
	if h.head.under != (f.kind == isContinuation) || h.head.under && h.head.stream != f.stream {
		return errOrder
	}
	switch f.kind {
	case isHeaders:
		return d.beginHead(h, f)
	case isPushPromise:
		if h.side == events.Side_REQUEST || f.stream == 0 {
			return errStream
		}
		h.head = header{under: true, stream: f.stream}
	case isData:
		if f.stream == 0 {
			return errStream
		}
		h.data = d.open[f.stream]
	}
	return nil
}

func (d *dissector) beginHead(h *half, f frame) error {
	if f.stream == 0 || h.side == events.Side_REQUEST && f.stream%2 == 0 {
		return errStream
	}
	h.head = header{under: true, stream: f.stream, end: f.has(flagEndStream), x: d.open[f.stream]}
	if h.side == events.Side_RESPONSE {
		if h.head.x == nil && d.wasHidden(f.stream) {
			h.head.x = d.beginHidden(f.stream)
		}
		if x := h.head.x; x != nil {
			d.answering(x)
		}
		return nil
	}
	if f.stream > d.last { // else it has ended before
		d.last = f.stream
		d.hidden.seen(f.stream)
		h.head.x = d.begin(f.stream)
	}
	return nil
}

func (d *dissector) content(h *half, b []byte) error {
	f := h.parser.frame
	switch {
	case f.carriesHead():
		if len(h.block)+len(b) > maxBlock {
			return errBlock
		}
		h.block = append(h.block, b...)
	case f.kind == isData && h.data != nil && !h.data.ended:
		d.body(h.data, h.side, b)
	}
	return nil
}

func (d *dissector) endFrame(h *half, f frame) error {
	switch f.kind {
	case isHeaders, isPushPromise, isContinuation:
		if f.has(flagEndHeaders) {
			d.endHead(h)
		}
	case isData:
		x := h.data
		h.data = nil
		if x != nil && f.has(flagEndStream) {
			d.endSide(x, h.side)
		}
	case isReset:
		d.reset(h.side, f.stream, be32(h.parser.fixed[:4]))
	case isGoAway:
		d.goAway(h.side, be32(h.parser.fixed[:4])&streamMask, be32(h.parser.fixed[4:8]))
	}
	return nil
}

// endHead decodes a whole header block, and does with it what it is for.
func (d *dissector) endHead(h *half) {
	known := h.heads.decode(h.block)
	if h.block = h.block[:0]; cap(h.block) > usualHead {
		h.block = nil
	}
	head := h.head
	h.head = header{}
	x := head.x
	if x == nil || x.ended {
		return
	}
	if h.side == events.Side_REQUEST {
		d.requestHead(x, &h.heads.list, known)
	} else {
		d.responseHead(x, &h.heads.list, known)
	}
	if head.end {
		d.endSide(x, h.side)
	}
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// Tick writes segments that nothing follows.
func (d *dissector) Tick(t time.Time) {
	for _, x := range d.open {
		if x.call != nil && !x.dropped {
			x.call.Tick(x.nanos(t))
			d.held(x)
		}
	}
}
