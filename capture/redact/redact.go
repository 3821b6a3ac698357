// Package redact replaces credentials by tokens before anything is written.
//
// A token is keyed (HMAC-SHA-256 under a key of the installation), so that it
// can't be reversed by guessing, and equal values get equal tokens wherever
// they stand: a token handed out in a JSON body is recognised in the
// Authorization header of the next request. Schemes, names and attributes
// stay, so that the result still parses. Redaction is idempotent: a token is
// left alone.
//
//   - key.go: the key and its tokens
//   - names.go: which names hold credentials
//   - fields.go, urls.go, json.go, message.go: where values stand in headers,
//     URLs, bodies and messages of streams
package redact

import (
	"bytes"
	"hash"

	"tapedeck/events"
	"tapedeck/wire"
)

// What Redaction marks say of everything here; more classes come with more rules.
const (
	ClassCredential = "credential"
	ActionToken     = "token"

	// MaxMarks is how many marks an exchange has at most; what is beyond is
	// replaced all the same.
	MaxMarks = 64
)

// Engine redacts exchanges. It is safe for concurrent use.
type Engine struct{ key *Key }

// New makes an engine; a nil Engine leaves everything as it is.
func New(key *Key) *Engine { return &Engine{key: key} }

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

// Head redacts what stands outside of bodies, in place: values are replaced,
// never written to. It returns whether something was.
func (e *Engine) Head(x *events.Exchange) bool {
	if e == nil {
		return false
	}
	m := marker{x: x}
	before := len(x.Redactions)
	if r := x.Request; r != nil {
		r.Target = e.target(r.Target, m.at("request"))
		e.fields(r.Headers, m.at("request.header"))
		e.fields(r.Trailers, m.at("request.trailer"))
	}
	for _, i := range x.Interim {
		e.fields(i.Headers, m.at("response.header"))
	}
	if r := x.Response; r != nil {
		e.fields(r.Headers, m.at("response.header"))
		e.fields(r.Trailers, m.at("response.trailer"))
	}
	return len(x.Redactions) > before
}

// Body begins the body that headers describe; first are its first bytes. It is
// nil when the body is left as it is.
func (e *Engine) Body(headers []*events.Field, first []byte) *Body {
	if e == nil || len(first) == 0 || encoded(headers) {
		return nil
	}
	contentType := bytes.ToLower([]byte(events.HeaderValue(headers, "Content-Type")))
	switch {
	case bytes.Contains(contentType, []byte("json")):
	case len(contentType) == 0 || bytes.HasPrefix(contentType, []byte("text/plain")):
		if b := bytes.TrimLeft(first, " \t\r\n\ufeff"); len(b) == 0 || b[0] != '{' && b[0] != '[' {
			return nil
		}
	default:
		return nil
	}
	return &Body{engine: e}
}

func encoded(headers []*events.Field) bool {
	coding := events.HeaderValue(headers, "Content-Encoding")
	return coding != "" && coding != "identity"
}

// marker writes what was replaced into the exchange.
type marker struct {
	x     *events.Exchange
	place string
}

func (m marker) at(place string) marker { return marker{m.x, place} }

// Mark notes that the value at place was replaced by a token, once a place.
func Mark(x *events.Exchange, place string) {
	place = wire.Text([]byte(place), maxPlace) // names come from the wire
	if len(x.Redactions) >= MaxMarks {
		return
	}
	for _, r := range x.Redactions {
		if r.Place == place {
			return
		}
	}
	x.Redactions = append(x.Redactions, &events.Redaction{Place: place, Class: ClassCredential, Action: ActionToken})
}

func (m marker) mark(name string) {
	if m.x != nil {
		Mark(m.x, m.place+"."+name)
	}
}
