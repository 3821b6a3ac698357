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
//   - rules.go, rulefile.go, view.go: the rules, and what they make of an exchange
//   - fields.go, urls.go, body.go, json.go, form.go, multipart.go, xml.go,
//     protobuf.go, message.go, window.go: where values stand
//   - text.go, coding.go: what is within what
package redact

import (
	"hash"
	"sync"
	"sync/atomic"

	"tapedeck/events"
)

// Engine redacts exchanges. It is safe for concurrent use.
type Engine struct {
	key      *Key
	rules    *Rules
	workload *events.Workload

	mu       sync.Mutex
	views    map[uint64]*view // by the rules that hold
	plain    *view            // when no rule depends on the exchange
	failures atomic.Int64
}

// New makes an engine with the built-in rules; a nil Engine leaves everything
// as it is.
func New(key *Key) *Engine { return NewWith(key, &Rules{}, nil) }

// NewHeaders makes an engine that knows credentials by their names only, in
// headers, cookies, URLs and JSON.
func NewHeaders(key *Key) *Engine {
	e := &Engine{key: key, rules: &Rules{}}
	e.plain = newView(key, false, nil, nil)
	return e
}

// NewWith makes an engine with rules; those with a selector look at the
// workload as well.
func NewWith(key *Key, rules *Rules, w *events.Workload) *Engine {
	e := &Engine{key: key, rules: rules, workload: w, views: map[uint64]*view{}}
	if !rules.scoped() {
		e.plain = newView(key, true, rules.pointers(), rules.off)
	}
	return e
}

// KeyID is the id of the key its tokens are made with, "" for a nil Engine.
func (e *Engine) KeyID() string {
	if e == nil {
		return ""
	}
	return e.key.ID()
}

// Failures are the exchanges of which a part was lost to a panic, or because it
// took too long.
func (e *Engine) Failures() int64 {
	if e == nil {
		return 0
	}
	return e.failures.Load()
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
// never written to. It returns whether something was.
func (e *Engine) Head(x *events.Exchange) (changed bool) {
	if e == nil {
		return false
	}
	before := len(x.Redactions)
	all := &marks{}
	defer func() {
		if recover() != nil {
			e.failures.Add(1)
			stripHead(x)
			all.put("head", Drop.String())
		}
		for _, m := range all.list {
			Add(x, m)
		}
		changed = len(x.Redactions) > before
	}()
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
	return changed
}

// stripHead leaves what holds no values.
func stripHead(x *events.Exchange) {
	if r := x.Request; r != nil {
		r.Method, r.Host, r.Target, r.Headers, r.Trailers = "", "", "/", nil, nil
	}
	for _, i := range x.Interim {
		i.Reason, i.Headers = "", nil
	}
	if r := x.Response; r != nil {
		r.Reason, r.Headers, r.Trailers = "", nil, nil
	}
	x.Failure = ""
}
