package capture

import (
	"sync"
	"sync/atomic"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// maxDetect is how many bytes of a client are enough to know its protocol.
const maxDetect = 256

// tap is the copy of one connection's bytes on its way to a dissector. Its
// first part is called by the relay, its second by the dissecting goroutine.
type tap struct {
	dissecting *dissecting
	queued     atomic.Int64 // bytes
	last       atomic.Int64 // Unix ns of the last byte
	speaker    atomic.Int32 // who sent it
	losing     atomic.Bool  // a gap is not told yet
	losses     sync.Mutex
	gap        gap

	known, dead bool
	closed      [3]bool
	protocols   []wire.Protocol
	opaque      wire.Protocol // when it is none of them
	info        *events.Connection
	direction   events.Direction
	sink        *sink
	dissector   wire.Dissector
	first       []byte // of the client, while the protocol is unknown
	pieces      []piece
	blind       bool // the client's first bytes are missing
}

// gap is what is missing from the copy.
type gap struct {
	bytes [3]int64 // by side
	turns int      // times that the client began to send after the server had
}

// piece is a read that came before the protocol was known.
type piece struct {
	time time.Time
	n    int
}

// data hands over what side sent, in b[:n] of buf, which the caller goes on
// reading. It never waits unless the recording asks for it.
func (t *tap) data(side events.Side, now time.Time, buf *buffer, n int) {
	t.last.Store(now.UnixNano())
	turn := t.speaker.Swap(int32(side)) != int32(side)
	// While a gap is not told yet, what follows belongs to it, of both sides:
	// an answer must not be taken for that to another request.
	if t.losing.Load() {
		t.lose(side, n, turn)
		return
	}
	kept := buf.keep(n)
	if !t.dissecting.budget.take(t, int64(len(kept.b))) {
		kept.release()
		t.lose(side, n, turn)
		return
	}
	t.dissecting.push(item{tap: t, kind: isData, side: side, n: int32(n), buf: kept, time: now})
}

func (t *tap) lose(side events.Side, n int, turn bool) {
	t.losses.Lock()
	defer t.losses.Unlock()
	t.gap.bytes[side] += int64(n)
	if turn && side == events.Side_REQUEST {
		t.gap.turns++
	}
	if !t.losing.Swap(true) {
		t.dissecting.push(item{tap: t, kind: isGap})
	}
}

// lost takes the gap that is to be told.
func (t *tap) lost() gap {
	t.losses.Lock()
	defer t.losses.Unlock()
	g := t.gap
	t.gap = gap{}
	t.losing.Store(false)
	return g
}

// close says that side sends no more.
func (t *tap) close(side events.Side, err error) {
	t.dissecting.push(item{tap: t, kind: isClose, side: side, time: time.Now(), err: err})
}

// quiet says that nothing is under way since before.
func (t *tap) quiet(before time.Time) bool {
	return t.sink.open.Load() == 0 && t.queued.Load() == 0 && t.last.Load() < before.UnixNano()
}

func (t *tap) dissect(side events.Side, now time.Time, b []byte) {
	if t.dissector != nil {
		t.dissector.Data(side, now, b)
		return
	}
	if side == events.Side_RESPONSE { // the server speaks first
		if t.blind {
			return // it answers to what is missing
		}
		t.decide(t.detectServer(b))
		t.earlyEnds(now, events.Side_RESPONSE)
		t.dissector.Data(side, now, b)
		return
	}
	t.first = append(t.first, b...)
	t.pieces = append(t.pieces, piece{now, len(b)})
	if p := t.detect(); p != nil {
		t.decide(p)
		t.earlyEnds(now, events.Side_REQUEST)
	}
}

// earlyEnds tells of the side that ended before the protocol was known.
func (t *tap) earlyEnds(now time.Time, not events.Side) {
	for s, closed := range t.closed {
		if closed && events.Side(s) != not {
			t.dissector.Close(events.Side(s), now, nil)
		}
	}
}

// detect is nil as long as some protocol needs more bytes.
func (t *tap) detect() wire.Protocol {
	undecided := false
	for _, p := range t.protocols {
		switch p.Detect(t.first) {
		case wire.Yes:
			return p
		case wire.More:
			undecided = true
		}
	}
	if undecided && len(t.first) < maxDetect {
		return nil
	}
	return t.opaque
}

// detectServer is the protocol of a server that speaks first.
func (t *tap) detectServer(first []byte) wire.Protocol {
	for _, p := range t.protocols {
		if d, ok := p.(wire.ServerDetector); ok && d.DetectServer(first) == wire.Yes {
			return p
		}
	}
	return t.opaque
}

func (t *tap) decide(p wire.Protocol) {
	t.sink.protocol = p
	t.dissector = planted(p.NewDissector(t.info, t.direction, t.sink))
	first := t.first
	for _, piece := range t.pieces {
		t.dissector.Data(events.Side_REQUEST, piece.time, first[:piece.n])
		first = first[piece.n:]
	}
	t.first, t.pieces = nil, nil
}

// giveUp goes on with a connection of no known protocol, where the dissector
// has panicked. An opaque one knows nothing that could be wrong.
func (t *tap) giveUp() {
	if t.dead = t.sink.rest != nil || t.ended(); t.dead {
		return
	}
	t.sink.rest = t.opaque
	t.dissector = t.opaque.NewDissector(t.info, t.direction, t.sink)
	t.first, t.pieces = nil, nil
	t.earlyEnds(time.Now(), events.Side_SIDE_UNSPECIFIED)
}

// missing tells of a gap.
func (t *tap) missing(now time.Time, g gap) {
	if t.dissector == nil && g.bytes[events.Side_REQUEST] > 0 {
		// The beginning is missing: the next that the client sends may tell.
		t.blind, t.first, t.pieces = true, nil, nil
		for range g.turns {
			t.sink.Drop(t.sink.Begin(now), wire.DropPressure)
		}
		return
	}
	if t.dissector == nil {
		t.decide(t.opaque)
		t.earlyEnds(now, events.Side_RESPONSE)
	}
	for _, side := range []events.Side{events.Side_REQUEST, events.Side_RESPONSE} {
		if n := g.bytes[side]; n > 0 {
			t.dissector.Gap(side, n)
		}
	}
	if d, ok := t.dissector.(wire.TurnTaker); ok {
		d.Missed(now, g.turns)
	}
}

func (t *tap) closeSide(side events.Side, now time.Time, err error) {
	if t.dissector == nil {
		if !t.ended() && err == nil {
			return // the other side may still tell
		}
		t.decide(t.opaque)
		t.earlyEnds(now, side)
	}
	t.dissector.Close(side, now, err)
}

func (t *tap) ended() bool {
	return t.closed[events.Side_REQUEST] && t.closed[events.Side_RESPONSE]
}

// announce tells of what is open for more than a second.
func (t *tap) announce(now time.Time) {
	if d, ok := t.dissector.(wire.Ticker); ok {
		d.Tick(now)
	}
	t.sink.announce(now)
}
