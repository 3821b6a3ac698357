package capture

import (
	"bytes"
	"fmt"
	"log/slog"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/grpc"
	"tapedeck/wire/http1"
	"tapedeck/wire/tcp"
)

// Import is a source whose exchanges something else has captured. They are
// redacted, described, cut to --max-body and taped as those of the relay, and
// keep their times; the flag CLOCK says that these are not ours. It is not safe
// for concurrent use.
type Import struct {
	recorder  *recorder
	protocols map[string]wire.Protocol
	err       error // of put; the source has ended with it
}

// PutTape brings a finished tape to a durable place.
type PutTape func(w *events.Workload, tape events.ID, b []byte) error

// NewImport begins a source for the workload of cfg. Of deps it uses Data, Log
// and Protocols.
func NewImport(cfg Config, deps Deps, put PutTape) (*Import, error) {
	cfg = cfg.withDefaults()
	cfg.RulesOrNothing = true
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	redactor, err := openRedactor(cfg, deps.Data, deps.Log)
	if err != nil {
		return nil, err
	}
	r := newRecorder(time.Now())
	i := &Import{recorder: r, protocols: map[string]wire.Protocol{tcp.Name: &tcp.Protocol{}}}
	r.workload, r.redactor, r.maxBody = cfg.workload(), redactor, int64(cfg.MaxBody)
	r.log, r.metrics, r.spooled = deps.Log, newMetrics(), func() int { return 0 }
	r.endpoints = newEndpoints(cfg.MaxEndpoints, r.log, r.metrics)
	r.publish = func(t *closedTape) {
		if i.err == nil {
			i.err = put(r.workload, t.id, t.bytes)
		}
	}
	if deps.Protocols == nil {
		templates, err := cfg.templates()
		if err != nil {
			return nil, err
		}
		deps.Protocols = []wire.Protocol{&http1.Protocol{Tags: cfg.Tag, Templates: templates}, &grpc.Protocol{Tags: cfg.Tag}}
	}
	for _, p := range deps.Protocols {
		i.protocols[p.Name()] = p
	}
	return i, nil
}

// Source identifies this import in the tapes' headers.
func (i *Import) Source() events.ID { return i.recorder.source }

// Counts are what was added since the start.
func (i *Import) Counts() Counts { return i.recorder.Counts() }

// Add tapes an exchange and makes its id. Its bodies are whole (Body.Data,
// no parts). The exchange belongs to the import.
func (i *Import) Add(x *events.Exchange) error {
	if i.err != nil {
		return i.err
	}
	p := i.protocols[x.Protocol]
	if p == nil || x.Request == nil || x.Connection == nil {
		return fmt.Errorf("import exchange: protocol %q, request %t, connection %t", x.Protocol, x.Request != nil, x.Connection != nil)
	}
	peer := x.Connection.Client
	if x.Direction == events.Direction_OUTBOUND {
		peer = i.recorder.redactor.At(time.Now()).Host(x.Connection.Server)
	}
	s := &sink{recorder: i.recorder, protocol: p, info: x.Connection, peer: peer}
	id := s.Begin(time.Unix(0, x.Request.FirstByte))
	x.Id = id[:]
	s.Head(x)
	missing := s.bodies(id, x)
	u := s.take(id)
	s.endBodies(u, x)
	for side, m := range missing {
		if m.bytes > 0 { // the hash of a part would pass for the whole's
			bodyOf(x, events.Side(side)).Hmac = m.hmac
		}
	}
	s.engine(u).Head(x)
	entry, endpoint := s.entry(x)
	entry.Flags |= uint32(events.Flag_CLOCK)
	if entry.TtfbUs < 0 {
		entry.TtfbUs = 0
	}
	i.recorder.add(entry, endpoint, x)
	return i.err
}

// missing is what the source does not have of a body.
type missing struct {
	bytes int64
	hmac  []byte // of the whole, where the source knows it
}

// bodies shows the sink what lies beyond the inline part of each body.
func (s *sink) bodies(id events.ID, x *events.Exchange) (m [3]missing) {
	for _, side := range []events.Side{events.Side_REQUEST, events.Side_RESPONSE} {
		b := bodyOf(x, side)
		if b == nil {
			continue
		}
		b.Kept = int64(len(b.Data))
		b.Size = max(b.Size, b.Kept)
		m[side] = missing{b.Size - b.Kept, b.Hmac}
		if len(b.Data) > events.BodyInline {
			rest := b.Data[events.BodyInline:]
			b.Data = bytes.Clone(b.Data[:events.BodyInline])
			s.Body(id, side, events.BodyInline, rest)
		}
	}
	return m
}

func bodyOf(x *events.Exchange, side events.Side) *events.Body {
	if side == events.Side_REQUEST {
		return x.Request.GetBody()
	}
	return x.Response.GetBody()
}

// Drop counts an exchange that was in what is imported and can't be taped.
func (i *Import) Drop(reason string) {
	i.recorder.begun.Add(1)
	i.recorder.drop(reason, 1)
}

// End closes the last tape.
func (i *Import) End() error {
	i.recorder.end()
	return i.err
}
