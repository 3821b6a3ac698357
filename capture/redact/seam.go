package redact

import (
	"bytes"
	"slices"
	"strings"

	"tapedeck/events"
)

// Seams finds values that are split over consecutive messages of one side of a
// stream. It looks at each message together with the end of those before it,
// and remembers what to replace until the message is taken to be written: what
// is out can't be called back, and of a value that began there only the rest is
// replaced. The zero value is ready; one is for one stream.
type Seams struct {
	lanes  map[laneKey]*lane
	held   map[*events.Message]*seamed
	firsts [3]*seamed // of gRPC: they stand in the bodies as well
	begun  [3]bool
	turn   int
}

// seamed is a message that was looked at, and what is to be replaced in it.
type seamed struct {
	size  int
	edits []edit // in order
	marks marks
	out   bool
}

type edit struct {
	from, to int
	with     []byte
}

// LooksAcross says that values are looked for over the borders of messages.
func (e *Engine) LooksAcross(x *events.Exchange) bool {
	return e != nil && !e.shut && e.view(x).full
}

// Add looks at the next message of x. It is false when that failed: the
// exchange is not to be trusted to redaction then.
func (q *Seams) Add(e *Engine, x *events.Exchange, m *events.Message) (ok bool) {
	first := !q.begun[m.Side]
	q.begun[m.Side] = true
	if len(m.Data) == 0 || !e.LooksAcross(x) {
		return true
	}
	return e.guard(func() { q.add(e, x, m, first) })
}

func (q *Seams) add(e *Engine, x *events.Exchange, m *events.Message, first bool) {
	if q.held == nil {
		q.held, q.lanes = map[*events.Message]*seamed{}, map[laneKey]*lane{}
	}
	v := e.view(x)
	h := &seamed{size: len(m.Data)}
	h.marks.view = v
	q.held[m] = h
	if first && isGRPC(x) {
		q.firsts[m.Side] = h
	}
	q.turn++
	for _, l := range q.gather(v, h, m, e.partsOf(x, m)) {
		l.look(scope{view: v, marks: &h.marks, at: inMessage})
		l.trim()
	}
	if int64(len(m.Data)) < m.Size { // what is missing stands before the next one
		q.forget(m.Side)
	}
}

func (q *Seams) forget(side events.Side) {
	for key := range q.lanes {
		if key.side == side {
			delete(q.lanes, key)
		}
	}
}

// gather puts the parts of a message behind what their lanes have.
func (q *Seams) gather(v *view, h *seamed, m *events.Message, all []part) (touched []*lane) {
	for _, p := range all {
		key := laneKey{m.Side, p.path}
		l := q.lanes[key]
		if l == nil {
			q.room(m.Side)
			l = &lane{named: v.named(p.name, inJSON).class != None, field: p.field, grown: -1}
			q.lanes[key] = l
		}
		if l.turn != q.turn {
			l.turn, l.seam = q.turn, len(l.text)
			touched = append(touched, l)
		}
		l.add(h, p, m.Data[p.from:p.to])
	}
	return touched
}

// room forgets the lane that nothing has come on for longest.
func (q *Seams) room(side events.Side) {
	n, oldest := 0, laneKey{}
	for key, l := range q.lanes {
		if key.side != side {
			continue
		}
		if n++; n == 1 || l.turn < q.lanes[oldest].turn {
			oldest = key
		}
	}
	if n >= maxLanes {
		delete(q.lanes, oldest)
	}
}

// Take replaces in m what was found, and says where. m is out then.
func (q *Seams) Take(m *events.Message) []Mark {
	h := q.held[m]
	if h == nil {
		return nil
	}
	delete(q.held, m)
	h.out = true
	if len(h.edits) == 0 {
		return nil
	}
	data := splice(m.Data, h.edits, 0)
	m.Size += int64(len(data) - len(m.Data))
	m.Data = data
	return h.marks.list
}

// Bodies replaces the same in the bodies of a gRPC call, which hold the first
// message of each side behind its prefix.
func (q *Seams) Bodies(x *events.Exchange) {
	for side, h := range q.firsts {
		body := x.GetRequest().GetBody()
		if events.Side(side) == events.Side_RESPONSE {
			body = x.GetResponse().GetBody()
		}
		if h != nil && len(h.edits) > 0 && len(body.GetData()) >= grpcPrefix+h.size {
			body.Data = splice(body.Data, h.edits, grpcPrefix)
		}
	}
}

const grpcPrefix = 5

func isGRPC(x *events.Exchange) bool {
	return strings.HasPrefix(events.HeaderValue(x.GetRequest().GetHeaders(), "content-type"), "application/grpc")
}

// splice is data with the edits, whose places count from base on.
func splice(data []byte, edits []edit, base int) []byte {
	out := make([]byte, 0, len(data)+64)
	done := 0
	for _, e := range edits {
		out = append(append(out, data[done:base+e.from]...), e.with...)
		done = base + e.to
	}
	return append(out, data[done:]...)
}

// set replaces what lies within: a value that goes on is replaced again, as a
// whole. Of one that lies over another only the rest is.
func (h *seamed) set(e edit) {
	for _, o := range h.edits {
		switch {
		case o.to <= e.from || e.to <= o.from || e.from <= o.from && o.to <= e.to:
			continue
		case o.from <= e.from:
			e.from = min(o.to, e.to)
		default:
			e.to = o.from
		}
		e.with = bytes.Repeat([]byte{'x'}, e.to-e.from)
	}
	if e.from == e.to {
		return
	}
	h.edits = slices.DeleteFunc(h.edits, func(o edit) bool { return o.from < e.to && e.from < o.to })
	i, _ := slices.BinarySearchFunc(h.edits, e.from, func(o edit, from int) int { return o.from - from })
	h.edits = slices.Insert(h.edits, i, e)
}

// half stands for n bytes of a value that keep their length: letters of its
// hash that a second pass knows.
func (k *Key) half(c Class, value []byte, n int) []byte {
	sum := k.hash(c, value)
	var letters []byte
	for len(letters) < n {
		letters = appendLetters(letters, sum[:])
	}
	return k.sameLength(c, letters[:n])
}

// isHalf says that b comes from half.
func (k *Key) isHalf(b []byte) bool {
	return k.isSealed(b) || len(b) <= sealLength && len(bytes.Trim(b, "x")) == 0
}
