// Package redact replaces what is sensitive before anything is written.
//
// A value becomes a token by default: keyed (HMAC-SHA-256, under a key of the
// installation and the value's class), so that it can't be reversed by
// guessing, and equal values get equal tokens wherever they stand: a token
// handed out in a JSON body is recognised in the Authorization header of the
// next request. Tokens have a shape that a parser accepts where the value was
// and that no real value has. Schemes, names and attributes stay, so that the
// result still parses. Redaction is idempotent: a token is left alone.
//
//   - class.go, names.go: what is sensitive, by name
//   - detect.go, keys.go: what is, by its looks
//   - token.go, jwt.go, key.go: what stands for it
//   - keyring.go, keyfile.go: the keys and their times
//   - source.go, watched.go: the engine of now, as files and time turn
//   - failure.go: what is left when redaction fails
//   - rules.go, rulefile.go, view.go: the rules, and what they make of an exchange
//   - fields.go, urls.go, body.go, json.go, form.go, multipart.go, xml.go,
//     protobuf.go, message.go, window.go: where values stand
//   - protonamed.go, protonumber.go: fields of gRPC by their names
//   - seam.go, seamparts.go, lane.go: values that are split over messages
//   - text.go, coding.go: what is within what
package redact

import (
	"hash"
	"sync"
	"sync/atomic"

	"tapedeck/events"
)

// Engine redacts exchanges under one key. It is safe for concurrent use.
type Engine struct {
	key      *Key
	rules    *Rules
	workload *events.Workload
	shut     bool // there are no rules: metadata only
	failures *failures
	schemas  *atomic.Pointer[Schemas] // of gRPC; nil: none

	mu    sync.Mutex
	views map[uint64]*view // by the rules that hold
	plain *view            // when no rule depends on the exchange
}

// New makes an engine with the built-in rules; a nil Engine leaves everything
// as it is.
func New(key *Key) *Engine { return NewWith(key, &Rules{}, nil) }

// NewHeaders makes an engine that knows credentials by their names only, in
// headers, cookies, URLs and JSON.
func NewHeaders(key *Key) *Engine {
	e := &Engine{key: key, rules: &Rules{}, failures: &failures{}}
	e.plain = newView(key, false, nil, nil)
	return e
}

// NewWith makes an engine with rules; those with a selector look at the
// workload as well.
func NewWith(key *Key, rules *Rules, w *events.Workload) *Engine {
	e := &Engine{key: key, rules: rules, workload: w, views: map[uint64]*view{}, failures: &failures{}}
	if !rules.scoped() {
		e.plain = newView(key, true, rules.pointers(), rules.off)
	}
	return e
}

// NewShut makes an engine that has no rules to go by: of exchanges it leaves
// the metadata only.
func NewShut(key *Key) *Engine {
	return &Engine{key: key, rules: &Rules{}, shut: true, failures: &failures{}}
}

// KeyID is the id of the key its tokens are made with, "" for a nil Engine.
func (e *Engine) KeyID() string {
	if e == nil {
		return ""
	}
	return e.key.ID()
}

// MAC begins the keyed hash of an original body; nil for a nil Engine.
func (e *Engine) MAC() hash.Hash {
	if e == nil {
		return nil
	}
	return e.key.bodyMAC()
}

// view is what the rules make of x.
func (e *Engine) view(x *events.Exchange) *view {
	if e.plain != nil {
		return e.plain
	}
	hold := e.rules.holding(x, e.workload)
	e.mu.Lock()
	defer e.mu.Unlock()
	v := e.views[hold]
	if v == nil {
		v = newView(e.key, true, e.rules.some(hold), e.rules.off)
		e.views[hold] = v
	}
	return v
}

// Head redacts what stands outside of bodies, in place: values are replaced,
// never written to. It returns whether something was. It comes behind the
// bodies: where one of them could not be redacted nothing else is kept either.
func (e *Engine) Head(x *events.Exchange) (changed bool) {
	if e == nil {
		return false
	}
	if e.shut || x.OnlyMetadata() {
		strip(x)
		return true
	}
	before := len(x.Redactions)
	all := &marks{}
	done := e.guard(func() { e.head(x, all) })
	if !done {
		strip(x)
		return true
	}
	for _, m := range all.list {
		Add(x, m)
	}
	if len(x.Redactions) > 0 || len(x.Request.GetBody().GetHmac())+len(x.Response.GetBody().GetHmac()) > 0 {
		x.RedactionKeyId = e.key.id
	}
	return len(x.Redactions) > before
}

func (e *Engine) head(x *events.Exchange, all *marks) {
	s := scope{view: e.view(x), marks: all}
	all.view = s.view
	s.connection(x)
	if r := x.Request; r != nil {
		all.base = "request"
		s.within("host", inHeader).host(&r.Host)
		s.within("method", inHeader).phrase(&r.Method)
		if target, same := s.target([]byte(r.Target)); !same {
			r.Target = string(target)
		}
		s.within("header", inHeader).fields(r.Headers)
		s.within("trailer", inHeader).fields(r.Trailers)
	}
	all.base = "response"
	for _, i := range x.Interim {
		s.within("reason", inHeader).phrase(&i.Reason)
		s.within("header", inHeader).fields(i.Headers)
	}
	if r := x.Response; r != nil {
		s.within("reason", inHeader).phrase(&r.Reason)
		s.within("header", inHeader).fields(r.Headers)
		s.within("trailer", inHeader).fields(r.Trailers)
	}
}
