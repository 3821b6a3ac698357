package http2

import (
	"cmp"
	"slices"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// hidden are the streams whose beginning lies in bytes that were not seen:
// those behind floor, and before ceiling once that is known.
type hidden struct {
	any            bool
	floor, ceiling uint32 // streams; ceiling 0: not known
	dropped        bool   // by a gap: we have seen the connection's beginning
	answered       int    // of them, by what was seen
}

// seen is told of each stream that is seen to begin.
func (h *hidden) seen(stream uint32) {
	if h.any && h.ceiling == 0 {
		h.ceiling = stream
	}
}

// unseen is how many of them nothing was seen of. Clients number streams with
// every other number (RFC 9113, 5.1.1); of one that leaves some out, or of the
// last ones before the end, it is not known.
func (h *hidden) unseen() int {
	if !h.dropped || h.ceiling == 0 {
		return 0
	}
	first := uint32(1)
	if h.floor > 0 {
		first = h.floor + 2
	}
	return max(0, (int(h.ceiling)-int(first))/2-h.answered)
}

func (d *dissector) wasHidden(stream uint32) bool {
	h := d.hidden
	return h.any && stream%2 == 1 && stream > h.floor && (h.ceiling == 0 || stream < h.ceiling)
}

// beginHidden begins an exchange at its answer.
func (d *dissector) beginHidden(stream uint32) *exchange {
	d.hidden.answered++
	x := d.begin(stream)
	if x != nil {
		x.asked = true
		x.fail(wire.FailureGap + "the request was not seen")
	}
	return x
}

// dropUnseen counts the streams that lie whole in a gap.
func (d *dissector) dropUnseen() {
	for range min(d.hidden.unseen(), maxUnseen) {
		d.sink.Drop(d.sink.Begin(d.now), wire.DropPressure)
	}
	d.hidden = hidden{}
}

// maxUnseen bounds what a client can make us count by a leap in its numbers.
const maxUnseen = 100_000

// midway: a side did not begin as a connection does, so that this is the
// middle of one. b are the bytes of this read of h.
func (d *dissector) midway(h *half, b []byte) {
	d.lose(&d.request, true)
	d.lose(&d.response, true)
	if d.find(h, b) {
		d.read(h, b)
	}
}

// find looks for the place again at the start of a read.
func (d *dissector) find(h *half, b []byte) bool {
	if !h.resync || !framed(b) {
		return false
	}
	h.parser.restart()
	h.lost = false // what is under way has failed, or is dropped
	return true
}

// Gap says that n bytes are missing from the copy. Inside a body only its
// exchange is dropped, and frames that say nothing of exchanges are not missed.
func (d *dissector) Gap(side events.Side, n int64) {
	h := d.half(side)
	if h.lost {
		return
	}
	if h.parser.skip(n) {
		if h.parser.frame.kind == isData && h.data != nil {
			d.drop(h.data)
		}
		d.read(h, nil)
		return
	}
	d.lose(h, true)
	d.hidden.dropped = d.hidden.dropped || side == events.Side_REQUEST
	for _, x := range d.ordered() {
		d.drop(x)
		d.end(x)
	}
}

func (d *dissector) drop(x *exchange) {
	if !x.dropped && !x.ended {
		x.dropped = true
		d.sink.Drop(x.id, wire.DropPressure)
	}
}

// lose gives the bytes of a side up, for good unless a gap is to blame.
func (d *dissector) lose(h *half, resync bool) {
	h.lost, h.resync, h.begun = true, resync, true
	h.missed = h.missed || resync
	h.block, h.head, h.data = nil, header{}, nil
	h.heads.lose()
	if h.side == events.Side_REQUEST && resync {
		d.dropUnseen()
		d.hidden = hidden{any: true, floor: d.last}
	}
}

// giveUp ends what is under way on a connection whose bytes make no sense.
func (d *dissector) giveUp(h *half, err error) {
	d.lose(h, false)
	for _, x := range d.ordered() {
		x.fail(wire.FailureGap + "malformed frames: " + err.Error())
		d.end(x)
	}
}

// ordered are the open exchanges in the order of their streams.
func (d *dissector) ordered() []*exchange {
	all := make([]*exchange, 0, len(d.open))
	for _, x := range d.open {
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b *exchange) int { return cmp.Compare(a.stream, b.stream) })
	return all
}

// Close says that a side sends no more.
func (d *dissector) Close(side events.Side, t time.Time, err error) {
	h := d.half(side)
	if h.closed {
		return
	}
	d.now, h.closed = t, true
	if d.request.closed && d.response.closed {
		d.dropUnseen()
	}
	if !h.lost {
		h.lost, h.resync = true, false
	}
	why := wire.Failure(err)
	for _, x := range d.ordered() {
		if side == events.Side_REQUEST {
			d.closeRequest(x, why)
		} else {
			d.closeAnswer(x, why)
		}
	}
}

func (d *dissector) closeRequest(x *exchange, why string) {
	if !x.asked {
		if d.request.missed {
			why = wire.FailureGap + "the end of the request was not seen"
		} else {
			why = "request cut off: " + why
		}
		x.fail(why)
		x.asked = true
	}
	if x.answered || x.unseen || d.response.closed {
		d.end(x)
	}
}

// closeAnswer ends what no answer can come for any more. An upload that goes
// on after its answer ends with the client's side.
func (d *dissector) closeAnswer(x *exchange, why string) {
	switch {
	case x.answered:
	case d.response.missed: // it may lie in what is missing, or behind a place that was found wrongly
		x.fail(wire.FailureGap + "the end of the answer was not seen")
	case x.known[events.Side_RESPONSE]:
		x.fail("response cut off: " + why)
	default:
		x.fail("no answer: " + why)
	}
	x.answered = true
	if x.asked || d.request.closed {
		d.end(x)
	}
}
