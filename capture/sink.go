package capture

import (
	"bytes"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"tapedeck/capture/cause"
	"tapedeck/capture/redact"
	"tapedeck/events"
	"tapedeck/wire"
)

// openAfter is how long an exchange is open before it is announced.
const openAfter = time.Second

// sink takes what the dissector of one connection finds, redacts it and hands
// it to the recorder. All but open is of the dissecting goroutine.
type sink struct {
	recorder   *recorder
	dissecting *dissecting // nil: there are no others
	protocol   wire.Protocol
	rest       wire.Protocol // of what follows a panic of protocol's dissector; nil: there was none
	info       *events.Connection
	peer       string
	open       atomic.Int32 // exchanges under way
	under      []*underway
	scratch    []byte
	// anonymous is the session of exchanges that name none; nil: not needed yet.
	anonymous []byte
}

var (
	_ wire.Sink        = (*sink)(nil)
	_ wire.HeadSink    = (*sink)(nil)
	_ wire.RequestSink = (*sink)(nil)
	_ wire.SegmentSink = (*sink)(nil)
)

// underway is an exchange that has begun and not ended.
type underway struct {
	id        events.ID
	begun     time.Time
	x         *events.Exchange // nil before its head is known
	redactor  *redact.Engine   // of all of it but messages; nil: not needed yet, or off
	bodies    [3]*longBody
	announced bool
	messages  *messages      // nil before the first segment
	inbound   *cause.Inbound // nil: it causes nothing
	link      cause.Link     // of an outbound exchange, once it was looked for
	looked    bool
}

// Begin makes the id of an exchange at its first byte.
func (s *sink) Begin(t time.Time) events.ID {
	u := &underway{id: events.NewID(t), begun: t}
	s.recorder.begun.Add(1)
	s.open.Add(1)
	s.under = append(s.under, u)
	return u.id
}

// Head remembers the exchange: long bodies and announcements look at its head.
func (s *sink) Head(x *events.Exchange) {
	if u := s.find(events.ID(x.Id)); u != nil {
		u.x = x
		s.recorder.mayCause(u)
	}
}

func (s *sink) find(id events.ID) *underway {
	for _, u := range s.under {
		if u.id == id {
			return u
		}
	}
	return nil
}

func (s *sink) take(id events.ID) *underway {
	for i, u := range s.under {
		if u.id == id {
			s.under = append(s.under[:i], s.under[i+1:]...)
			s.open.Add(-1)
			s.recorder.causedAll(u)
			return u
		}
	}
	return nil
}

// Body takes what is beyond a body's inline part. The recorder gathers it into
// parts after redaction, so what it returns only says that it is kept.
func (s *sink) Body(id events.ID, side events.Side, _ int64, b []byte) *events.RecordRef {
	u := s.find(id)
	if u == nil || u.x == nil {
		return nil
	}
	if u.bodies[side] == nil {
		u.bodies[side] = s.beginLong(u, side)
	}
	u.bodies[side].write(b)
	return keptLater
}

// keptLater stands for parts whose places End writes.
var keptLater = &events.RecordRef{}

// End redacts, describes and records an exchange.
func (s *sink) End(x *events.Exchange) {
	u := s.take(events.ID(x.Id))
	if u == nil || s.dissecting.setAside(s, u, x) {
		return
	}
	s.finish(u, x)
}

func (s *sink) finish(u *underway, x *events.Exchange) {
	s.recorder.findCause(u, x)
	s.places(u, x)
	sent, received := x.Request.GetBody().GetSize(), x.Response.GetBody().GetSize() // before redaction makes others of them
	s.endBodies(u, x)
	u.messages.end(x)
	s.engine(u).Head(x)
	entry, endpoint := s.entry(x)
	entry.RequestBytes, entry.ResponseBytes = sent, received
	markCause(u, entry, endpoint)
	if x.Response == nil {
		entry.DurationUs = max(entry.DurationUs, time.Since(u.begun).Microseconds())
	}
	s.recorder.add(entry, endpoint, x)
}

// engine is what redacts u from the first of its bytes that is kept: a key that
// turns meanwhile is for the next exchange.
func (s *sink) engine(u *underway) *redact.Engine {
	if u.redactor == nil {
		u.redactor = s.recorder.redactor.At(time.Now())
	}
	return u.redactor
}

// Drop ends an exchange that can't be recorded.
func (s *sink) Drop(id events.ID, reason string) {
	u := s.take(id)
	if u == nil {
		return
	}
	for _, b := range u.bodies {
		b.discard()
	}
	s.recorder.drop(reason, 1)
}

func (s *sink) dropAll(reason string) {
	for len(s.under) > 0 {
		s.Drop(s.under[0].id, reason)
	}
}

// announce writes an open entry for what is under way for more than a second:
// once, and of a stream again after segments that no open entry leads to.
func (s *sink) announce(now time.Time) {
	for _, u := range s.under {
		if m := u.messages; m != nil && m.held != nil && now.Sub(m.held.since) >= holdFor(m.held.Number) {
			s.release(u, now)
		}
		switch m := u.messages; {
		case u.x == nil || now.Sub(u.begun) < openAfter:
		case m == nil && !u.announced:
			e := s.recorder.redactor.At(now)
			entry, endpoint := s.openEntry(e, u, now)
			u.announced, u.messages = true, &messages{openTape: s.recorder.addOpen(entry, endpoint, e.KeyID())}
		case m != nil && m.newest != m.shown:
			s.lead(u, now)
		}
	}
}

// openEntry is the index entry of an exchange that has not ended.
func (s *sink) openEntry(e *redact.Engine, u *underway, now time.Time) (*events.Entry, *events.Endpoint) {
	s.recorder.findCause(u, u.x)
	x := headOf(u.x)
	e.Head(x)
	entry, endpoint := s.entry(x)
	markCause(u, entry, endpoint)
	entry.DurationUs = now.Sub(u.begun).Microseconds()
	entry.Class, entry.Flags = events.StatusClass_STATUS_CLASS_UNSPECIFIED, entry.Flags&^uint32(events.Flag_TRUNCATED)
	return entry, endpoint
}

// headOf copies an exchange under way without its bodies.
func headOf(x *events.Exchange) *events.Exchange {
	h := &events.Exchange{Id: x.Id, Direction: x.Direction, Protocol: x.Protocol, Connection: x.Connection}
	r := x.Request
	h.Request = &events.Request{Method: r.Method, Scheme: r.Scheme, Host: r.Host, Target: r.Target, Version: r.Version,
		Headers: copyFields(r.Headers), FirstByte: r.FirstByte, LastByte: r.LastByte, Body: &events.Body{Size: r.Body.GetSize()}}
	if a := x.Response; a != nil && a.Status != "" {
		h.Response = &events.Response{Status: a.Status, Version: a.Version, Headers: copyFields(a.Headers), FirstByte: a.FirstByte, LastByte: a.LastByte, Body: &events.Body{Size: a.Body.GetSize()}}
	}
	return h
}

// copyFields copies the fields but not their values, which are never written to.
func copyFields(fields []*events.Field) []*events.Field {
	out := make([]*events.Field, len(fields))
	for i, f := range fields {
		out[i] = &events.Field{Name: f.Name, Value: f.Value}
	}
	return out
}

// entry is the index entry of a redacted exchange.
func (s *sink) entry(x *events.Exchange) (*events.Entry, *events.Endpoint) {
	p := s.protocol
	if s.rest != nil && x.Protocol == s.rest.Name() {
		p = s.rest
	}
	d := p.Describe(x)
	if t := d.Endpoint.GetTemplate(); t != "" && x.Request != nil && x.OnlyMetadata() {
		d.Path, x.Request.Target = t, t
	}
	e := &events.Entry{
		Id: x.Id, Time: uint64(x.Request.FirstByte), Peer: s.peer, Path: d.Path, Status: d.Status, Class: d.Class,
		RequestBytes: x.Request.Body.GetSize(), ResponseBytes: x.Response.GetBody().GetSize(),
		Session: s.session(d.Session), Connection: s.info.Id, ReplayId: d.ReplayID, Tags: d.Tags, Flags: flags(x),
	}
	if d.Trace != (events.TraceID{}) {
		e.TraceId = bytes.Clone(d.Trace[:])
	}
	if d.Span != (events.SpanID{}) {
		e.SpanId = bytes.Clone(d.Span[:])
	}
	if d.Parent != (events.SpanID{}) {
		e.ParentSpanId = bytes.Clone(d.Parent[:])
	}
	end := x.Request.LastByte
	if r := x.Response; r != nil {
		e.TtfbUs = (r.FirstByte - x.Request.FirstByte) / 1000
		end = r.LastByte
	}
	e.DurationUs = max(0, end-x.Request.FirstByte) / 1000
	return e, s.recorder.endpoints.bound(d.Endpoint)
}

// session is the one that an exchange names, or its connection's.
func (s *sink) session(named events.SessionID) []byte {
	if named != (events.SessionID{}) {
		return bytes.Clone(named[:])
	}
	if s.anonymous == nil {
		id := wire.ConnectionSession(events.ID(s.info.Id))
		s.anonymous = id[:]
	}
	return s.anonymous
}

func flags(x *events.Exchange) uint32 {
	var f events.Flag
	for _, b := range []*events.Body{x.Request.GetBody(), x.Response.GetBody()} {
		if b != nil && b.Kept < b.Size {
			f |= events.Flag_TRUNCATED
		}
	}
	if len(x.Redactions) > 0 {
		f |= events.Flag_REDACTED
	}
	if wire.HasGap(x) {
		f |= events.Flag_GAP
	}
	return uint32(f)
}

// tooLarge says that a record would not fit into a message to NATS, whatever
// it compresses to: its heads grew in redaction.
func tooLarge(x *events.Exchange) bool {
	rough := len(x.Request.GetTarget()) + 32*len(x.Segments)
	for _, fields := range [][]*events.Field{x.Request.GetHeaders(), x.Request.GetTrailers(), x.Response.GetHeaders(), x.Response.GetTrailers()} {
		for _, f := range fields {
			rough += len(f.Name) + len(f.Value) + 8
		}
	}
	return rough > 128<<10 && proto.Size(x) > maxRecord // with bodies of 256 KiB it needs more than that to come near
}
