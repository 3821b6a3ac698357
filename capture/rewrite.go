package capture

import (
	"bytes"
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"tapedeck/capture/redact"
	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/grpc"
	"tapedeck/wire/http1"
	"tapedeck/wire/tcp"
)

// ReadBody reads what was kept of a body of x, parts included.
type ReadBody func(ctx context.Context, w *events.Workload, x *events.Exchange, b *events.Body) ([]byte, error)

// Rewriter redacts tapes that were written before. A tape keeps its id, times,
// counts and the ids in it: what it makes belongs into another archive. All
// tapes are to be looked at (Look) before the first is rewritten, and come in
// the order of their times: a message says in its exchange how it is to be
// read, and that comes last. It is not safe for concurrent use.
type Rewriter struct {
	engines   *redact.Offline
	body      ReadBody
	protocols map[string]wire.Protocol
	streams   map[events.ID]*underway
	moved     map[recordPlace]*events.RecordRef // segments
	exchanges int
}

type recordPlace struct {
	tape            events.ID
	block, position uint32
}

// NewRewriter makes one for the tapes of one archive.
func NewRewriter(engines *redact.Offline, body ReadBody) *Rewriter {
	r := &Rewriter{engines: engines, body: body, protocols: map[string]wire.Protocol{}, streams: map[events.ID]*underway{}, moved: map[recordPlace]*events.RecordRef{}}
	for _, p := range []wire.Protocol{&http1.Protocol{}, &grpc.Protocol{}, &tcp.Protocol{}} {
		r.protocols[p.Name()] = p
	}
	return r
}

// Exchanges is how many were rewritten.
func (r *Rewriter) Exchanges() int { return r.exchanges }

// Look remembers the heads of the streams in t.
func (r *Rewriter) Look(t *events.Tape) error {
	for record, err := range t.Records() {
		if err != nil {
			return fmt.Errorf("read tape %s: %w", t.TapeID(), err)
		}
		x := record.GetExchange()
		if len(x.GetSegments()) == 0 {
			continue
		}
		head := headOf(x)
		head.Redactions = x.Redactions
		r.streams[events.ID(x.Id)] = &underway{x: head, messages: &messages{}}
	}
	return nil
}

// rewriting is one tape.
type rewriting struct {
	*Rewriter
	from   *events.Tape
	to     *events.Builder
	engine *redact.Engine
}

// Tape is t redacted.
func (r *Rewriter) Tape(ctx context.Context, t *events.Tape) ([]byte, error) {
	h := proto.CloneOf(t.Header)
	e, err := r.engines.Engine(h.RedactionKeyId, h.Workload)
	if err != nil {
		return nil, fmt.Errorf("tape %s: %w", t.TapeID(), err)
	}
	w := &rewriting{r, t, events.Rebuild(t.TapeID()), e}
	if err := w.records(ctx); err != nil {
		return nil, fmt.Errorf("tape %s: %w", t.TapeID(), err)
	}
	w.opens()
	if !w.to.Empty() {
		h.RedactionKeyId = e.KeyID()
	}
	return w.to.Close(h)
}

// records come in their order; parts come with their exchanges.
func (w *rewriting) records(ctx context.Context) error {
	entries := map[[2]uint32]*events.Entry{}
	for _, e := range w.from.Index.Entries {
		if e.Kind == events.Kind_EXCHANGE {
			entries[[2]uint32{e.Block, e.Position}] = e
		}
	}
	for p, err := range w.from.Placed() {
		if err != nil {
			return err
		}
		if g := p.GetSegment(); g != nil {
			err = w.segment(g, recordPlace{w.from.TapeID(), p.Block, p.Position})
		} else if x := p.GetExchange(); x != nil {
			entry := entries[[2]uint32{p.Block, p.Position}]
			if entry == nil {
				continue // nothing leads to it
			}
			err = w.exchange(ctx, entry, x)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// segment redacts messages. Where it lies now is remembered for those that
// point at it.
func (w *rewriting) segment(g *events.Segment, at recordPlace) error {
	u := w.streams[events.ID(g.ExchangeId)]
	if u == nil { // of a stream that has not ended, or whose end is elsewhere
		u = &underway{x: &events.Exchange{Id: g.ExchangeId}, messages: &messages{}}
		w.streams[events.ID(g.ExchangeId)] = u
	}
	u.messages.look(w.engine, u.x, g.Messages)
	size, kept := (&sink{recorder: &recorder{}}).redactMessages(w.engine, u, g.Messages)
	for side := range size {
		u.messages.size[side] += size[side]
		u.messages.kept[side] += kept[side]
	}
	g.Previous = w.now(g.Previous)
	ref, err := w.to.AddSegment(g)
	w.moved[at] = ref
	return err
}

// now is where a segment lies now. One that is in no tape at hand stays where
// it was.
func (r *Rewriter) now(ref *events.RecordRef) *events.RecordRef {
	if tape, err := events.IDFrom(ref.GetTapeId()); err == nil {
		if moved := r.moved[recordPlace{tape, ref.Block, ref.Position}]; moved != nil {
			return moved
		}
	}
	return ref
}

func (w *rewriting) exchange(ctx context.Context, entry *events.Entry, x *events.Exchange) error {
	for _, b := range []*events.Body{x.GetRequest().GetBody(), x.GetResponse().GetBody()} {
		if b == nil {
			continue
		}
		data, err := w.body(ctx, w.from.Header.Workload, x, b)
		if err != nil {
			return err
		}
		b.Data, b.Parts = data, nil
	}
	for i, ref := range x.Segments {
		x.Segments[i] = w.now(ref)
	}
	before := &events.Exchange{}
	if x.Request != nil {
		before = headOf(x)
	}
	if u := w.streams[events.ID(x.Id)]; u != nil {
		u.messages.seams.Bodies(x)
		u.messages.end(x)
	}
	w.engine.Exchange(x)
	if err := w.parts(x); err != nil {
		return err
	}
	w.exchanges++
	endpoint := w.describe(entry, before, x)
	return w.to.AddExchange(entry, endpoint, x)
}

// parts takes out of the bodies what is beyond their inline part.
func (w *rewriting) parts(x *events.Exchange) error {
	for _, side := range []events.Side{events.Side_REQUEST, events.Side_RESPONSE} {
		b := bodyOf(x, side)
		if len(b.GetData()) <= events.BodyInline {
			continue
		}
		rest := b.Data[events.BodyInline:]
		b.Data = b.Data[:events.BodyInline:events.BodyInline]
		for offset := int64(events.BodyInline); len(rest) > 0; {
			n := min(len(rest), partSize)
			ref, err := w.to.AddPart(&events.Part{ExchangeId: x.Id, Side: side, Offset: offset, Data: rest[:n]})
			if err != nil {
				return err
			}
			b.Parts, rest, offset = append(b.Parts, ref), rest[n:], offset+int64(n)
		}
	}
	return nil
}

// describe brings an entry up to its exchange, and returns its endpoint: a
// template that somebody has written down, or of too many, is one of no values.
func (w *rewriting) describe(entry *events.Entry, before, x *events.Exchange) *events.Endpoint {
	endpoint := proto.CloneOf(w.from.Index.Endpoints[entry.Endpoint])
	entry.Tags = w.tags(x, entry.Tags)
	entry.Flags = entry.Flags&^uint32(events.Flag_TRUNCATED|events.Flag_REDACTED) | flags(x)
	p := w.protocols[x.Protocol]
	if p == nil || x.Request == nil {
		return endpoint
	}
	was, is := p.Describe(before), p.Describe(x)
	entry.Path = is.Path
	switch none := (events.SessionID{}); {
	case is.Session != none:
		entry.Session = bytes.Clone(is.Session[:])
	case was.Session != none: // what named it is gone
		entry.Session = w.connectionSession(entry)
	}
	if endpoint.Template == was.Endpoint.GetTemplate() {
		endpoint.Template = is.Endpoint.GetTemplate()
	}
	return endpoint
}

func (w *rewriting) connectionSession(entry *events.Entry) []byte {
	id, err := events.IDFrom(entry.Connection)
	if err != nil {
		return entry.Session
	}
	session := wire.ConnectionSession(id)
	return session[:]
}

// tags are headers that have gone into the index.
func (w *rewriting) tags(x *events.Exchange, tags []*events.Tag) []*events.Tag {
	if x.OnlyMetadata() {
		return nil
	}
	head := &events.Exchange{Request: &events.Request{}}
	for _, t := range tags {
		head.Request.Headers = append(head.Request.Headers, &events.Field{Name: []byte(t.Key), Value: []byte(t.Value)})
	}
	w.engine.Head(head)
	for i, f := range head.Request.Headers {
		tags[i].Value = string(f.Value)
	}
	return tags
}

// opens are the entries of exchanges under way, of which there is no more here
// than a path. The session that they name may be made of what is a token now:
// it becomes the connection's.
func (w *rewriting) opens() {
	for _, entry := range w.from.Index.Entries {
		if entry.Kind != events.Kind_OPEN {
			continue
		}
		endpoint := proto.CloneOf(w.from.Index.Endpoints[entry.Endpoint])
		head := &events.Exchange{Request: &events.Request{Target: entry.Path}}
		w.engine.Head(head)
		if path := head.Request.Target; path != entry.Path {
			if endpoint.Template == wire.Template(entry.Path) {
				endpoint.Template = wire.Template(path)
			}
			entry.Path = path
		}
		if w.from.Header.RedactionKeyId == "" {
			entry.Session = w.connectionSession(entry)
		}
		entry.Tags = w.tags(head, entry.Tags)
		tape := w.from.TapeID()
		ref := w.now(&events.RecordRef{TapeId: tape[:], Block: entry.Block, Position: entry.Position})
		w.to.AddOpen(entry, endpoint, ref)
	}
}
