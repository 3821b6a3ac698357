package capture

import (
	"bytes"
	"hash"
	"sync"

	"tapedeck/capture/redact"
	"tapedeck/events"
)

const (
	partSize = 256 << 10
	maxParts = 8192 // of a body: 2 GiB; their places must fit into the exchange
)

// longBody is a body longer than its inline part: redacted as it comes,
// gathered into parts, and written before its exchange.
type longBody struct {
	sink   *sink
	id     []byte
	side   events.Side
	redact *redact.Body // nil: as it is
	mac    hash.Hash    // of the original; nil without a key
	key    string       // its id
	limit  int64        // bytes of the original that are kept
	seen   int64        // bytes of the original
	taken  int64        // of them, so far, that are kept
	kept   int64        // bytes after redaction
	stored int64        // of them, in parts
	inline []byte       // the first BodyInline of these
	part   []byte       // the part that is being gathered
	parts  []*events.RecordRef
}

var parts = sync.Pool{New: func() any { b := make([]byte, 0, partSize); return &b }}

// beginLong begins with the inline part, which the dissector has kept whole.
func (s *sink) beginLong(u *underway, side events.Side) *longBody {
	body, e := bodyOf(u.x, side), s.engine(u)
	b := &longBody{sink: s, id: u.x.Id, side: side, limit: s.recorder.limit(), mac: e.MAC(), key: e.KeyID(), redact: e.Body(u.x, side, body.Data)}
	b.write(body.Data)
	return b
}

func (b *longBody) write(p []byte) {
	if b.mac != nil {
		b.mac.Write(p)
	}
	b.seen += int64(len(p))
	p = p[:min(int64(len(p)), b.limit-b.taken)]
	if len(p) == 0 {
		return
	}
	b.taken += int64(len(p))
	if b.redact == nil {
		b.keep(p)
		return
	}
	b.sink.scratch = b.redact.Write(b.sink.scratch[:0], p)
	b.keep(b.sink.scratch)
}

// keep takes redacted bytes: inline first, then parts.
func (b *longBody) keep(p []byte) {
	b.kept += int64(len(p))
	if n := min(len(p), events.BodyInline-len(b.inline)); n > 0 {
		b.inline = append(b.inline, p[:n]...)
		p = p[n:]
	}
	for len(p) > 0 {
		if b.part == nil {
			b.part = (*parts.Get().(*[]byte))[:0]
		}
		n := min(len(p), partSize-len(b.part))
		b.part = append(b.part, p[:n]...)
		p = p[n:]
		if len(b.part) == partSize {
			b.flush()
		}
	}
}

func (b *longBody) flush() {
	if len(b.part) == 0 {
		return
	}
	n := int64(len(b.part))
	part := &events.Part{ExchangeId: b.id, Side: b.side, Offset: int64(len(b.inline)) + b.stored, Data: b.part}
	if ref := b.sink.recorder.addPart(part, b.key); ref != nil {
		b.parts = append(b.parts, ref)
		b.stored += n
	} else {
		b.kept -= n
		b.limit = b.taken // a hole: nothing behind it is kept
	}
	if len(b.parts) == maxParts {
		b.limit = b.taken
	}
	b.discard()
}

// discard gives the part's memory back.
func (b *longBody) discard() {
	if b == nil || b.part == nil {
		return
	}
	part := b.part
	b.part = nil
	parts.Put(&part)
}

// end writes what is left and fills the exchange's body.
func (b *longBody) end(body *events.Body) {
	cut := int64(0)
	if b.redact != nil {
		rest := b.redact.Close(nil)
		if b.redact.Coding() != "" { // unpacked it may be larger than is kept
			cut = max(0, int64(len(rest))-b.sink.recorder.limit())
		}
		if cut == 0 && b.taken < b.seen {
			cut = int64(len(rest) - len(b.redact.UntilCut(rest)))
		}
		b.keep(rest[:int64(len(rest))-cut])
	}
	b.flush()
	body.Data, body.Parts = b.inline, b.parts
	// What came otherwise (the later messages of a stream) counts as it did.
	body.Kept += b.kept - b.seen
	if b.redact.Failed() { // its length is that of the original, and never reached
		body.Size = max(body.Size, body.Kept+1)
	} else {
		body.Size += b.kept + cut - b.taken
	}
	changed := b.redact != nil && b.redact.Changed()
	if b.mac != nil && (changed || body.Kept < body.Size) {
		body.Hmac = b.mac.Sum(nil)
	}
}

// endBodies redacts the bodies of x, cuts them to the limit and marks places.
func (s *sink) endBodies(u *underway, x *events.Exchange) {
	e := s.engine(u)
	s.endBody(e, u.bodies[events.Side_REQUEST], x, events.Side_REQUEST)
	if x.Response != nil {
		s.endBody(e, u.bodies[events.Side_RESPONSE], x, events.Side_RESPONSE)
	} else {
		u.bodies[events.Side_RESPONSE].discard()
	}
}

func (s *sink) endBody(e *redact.Engine, long *longBody, x *events.Exchange, side events.Side) {
	body := bodyOf(x, side)
	if body == nil {
		return
	}
	if long != nil {
		long.end(body)
		long.redact.Mark(x, side)
		return
	}
	original := body.Data
	r := e.Body(x, side, original)
	if r != nil {
		s.scratch = r.Close(r.Write(s.scratch[:0], original))
		switch {
		case r.Failed():
			body.Data, body.Kept, body.Parts = nil, 0, nil
			r.Mark(x, side)
		case r.Changed():
			s.replace(e, x, side, body)
			r.Mark(x, side)
		}
	}
	limit := s.recorder.limit()
	if int64(len(body.Data)) > limit {
		body.Data, body.Kept, body.Parts = body.Data[:limit], limit, nil
	}
	if changed := r != nil && r.Changed(); changed || body.Kept < body.Size && len(original) > 0 {
		body.Hmac = sum(e, original)
	}
}

// replace puts the redacted body (in scratch) into the exchange. Tokens are
// longer than most values: what no longer fits inline becomes a part.
func (s *sink) replace(e *redact.Engine, x *events.Exchange, side events.Side, body *events.Body) {
	grown := int64(len(s.scratch) - len(body.Data))
	body.Size, body.Kept = body.Size+grown, body.Kept+grown
	if cut := int64(len(s.scratch)) - s.recorder.limit(); cut > 0 {
		s.scratch, body.Kept = s.scratch[:s.recorder.limit()], body.Kept-cut
	}
	if len(s.scratch) <= events.BodyInline {
		body.Data = bytes.Clone(s.scratch)
		return
	}
	rest := &longBody{sink: s, id: x.Id, side: side, key: e.KeyID()}
	rest.keep(s.scratch)
	rest.flush()
	body.Data, body.Parts, body.Kept = rest.inline, rest.parts, rest.kept
	s.scratch = nil // large
}

func sum(e *redact.Engine, original []byte) []byte {
	mac := e.MAC()
	if mac == nil {
		return nil
	}
	mac.Write(original)
	return mac.Sum(nil)
}
