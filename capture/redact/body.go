package redact

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"

	"tapedeck/events"
)

// bodyForm is how a body is looked through.
type bodyForm uint8

const (
	formBytes bodyForm = iota
	formJSON
	formXML
	formPairs
	formText
	formMultipart
	formProtobuf
	formGRPC
)

// formOf tells by the content type; without one, or with one that says
// nothing, by the first bytes.
func formOf(contentType string, first []byte) bodyForm {
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	kind = strings.TrimSpace(kind)
	switch {
	case strings.HasPrefix(kind, "application/grpc"):
		return formGRPC
	case strings.Contains(kind, "json"):
		return formJSON
	case kind == "application/x-www-form-urlencoded":
		return formPairs
	case strings.HasPrefix(kind, "multipart/"):
		return formMultipart
	case strings.Contains(kind, "protobuf"):
		return formProtobuf
	case (kind == "" || kind == "text/plain") && opensJSON(first):
		return formJSON
	case strings.HasSuffix(kind, "xml"), strings.HasPrefix(kind, "text/html"), kind == "" && firstByte(first) == '<':
		return formXML
	case strings.HasPrefix(kind, "text/"), strings.Contains(kind, "javascript"), strings.Contains(kind, "yaml"), strings.Contains(kind, "graphql"), strings.Contains(kind, "sql"):
		return formText
	case kind == "" && looksLikeText(first):
		return formText
	case (kind == "" || kind == "application/octet-stream") && beginsLikeProtobuf(first):
		return formProtobuf
	}
	return formBytes
}

// opensJSON says that a text begins as an object or array does: settings begin
// with a section in brackets.
func opensJSON(first []byte) bool {
	first = bytes.TrimLeft(first, " \t\r\n\ufeff")
	if len(first) == 0 || first[0] != '{' && first[0] != '[' {
		return false
	}
	next := firstByte(first[1:])
	if first[0] == '{' {
		return next == 0 || next == '"' || next == '}'
	}
	return next == 0 || strings.IndexByte("{[]\"-0123456789tfn", next) >= 0
}

func looksLikeText(first []byte) bool {
	first = first[:min(len(first), 512)]
	return utf8.Valid(first[:len(first)*3/4/4*4]) && isText(first)
}

// walker looks through a body that may come in pieces.
type walker interface {
	write(dst, next []byte) []byte
	close(dst []byte) []byte
}

// Body redacts one body that may come in pieces. It holds bounded memory
// whatever it is fed. A panic and a time beyond maxWork leave of its exchange
// the metadata (Head): what has not been written yet never is.
type Body struct {
	engine *Engine
	marks  marks
	walker walker
	coding string // that was taken off
	failed bool
	broken bool // it panicked or took too long, or there are no rules
	work   time.Duration
}

// Body begins a body of x; first are its first bytes. It is nil when the body
// is left as it is.
func (e *Engine) Body(x *events.Exchange, side events.Side, first []byte) *Body {
	if e == nil || len(first) == 0 {
		return nil
	}
	headers, prefix := x.GetRequest().GetHeaders(), "request.body."
	if side == events.Side_RESPONSE {
		headers, prefix = x.GetResponse().GetHeaders(), "response.body."
	}
	b := &Body{engine: e}
	if e.shut || x.OnlyMetadata() {
		b.breakOff()
		return b
	}
	ok := e.guard(func() {
		b.marks.earlier(x, prefix)
		b.marks.view, b.marks.schema = e.view(x), e.schemaOf(x, side)
		b.walker = e.walker(b, scope{view: b.marks.view, marks: &b.marks}, x, headers, first)
	})
	if !ok {
		b.breakOff()
	} else if b.walker == nil {
		return nil
	}
	return b
}

func (e *Engine) walker(b *Body, s scope, x *events.Exchange, headers []*events.Field, first []byte) walker {
	kind, coding := events.HeaderValue(headers, "Content-Type"), events.HeaderValue(headers, "Content-Encoding")
	unknown := e.unknown(x)
	if coding != "" && !strings.EqualFold(coding, "identity") {
		if !s.full {
			return nil
		}
		return &wholeBody{scope: s, redact: b.decoded(s, kind, coding, unknown), strict: true}
	}
	if !s.full {
		if formOf(kind, first) != formJSON {
			return nil
		}
		return newJSON(s)
	}
	return s.walkerOf(kind, events.HeaderValue(headers, "grpc-encoding"), first, unknown)
}

func newJSON(s scope) *jsonBody {
	b := s.bodies.Get().(*jsonBody)
	s.at = inJSON
	b.reset(s)
	return b
}

func (s scope) walkerOf(kind, grpcCoding string, first []byte, unknown Unknown) walker {
	if order := wideOrder(kind, first); order != nil && unknown == ScanUnknown {
		return &wholeBody{scope: s, redact: s.wide(order, kind), strict: true}
	}
	switch form := formOf(kind, first); form {
	case formJSON:
		return newJSON(s)
	case formText:
		s.at = inText
		return &textBody{scope: s}
	case formBytes:
		if unknown == KeepUnknown {
			return nil
		}
		s.fixed, s.at = true, inText
		if unknown == StrictUnknown {
			return &wholeBody{scope: s, redact: refuse, strict: true}
		}
		return &textBody{scope: s}
	default:
		return &wholeBody{scope: s, redact: s.whole(form, kind, grpcCoding), strict: unknown == StrictUnknown || form == formGRPC}
	}
}

// refuse keeps nothing.
func refuse([]byte) ([]byte, bool) { return nil, false }

// whole redacts a body of a form; ok is false when it can't be parsed.
func (s scope) whole(form bodyForm, kind, grpcCoding string) func([]byte) ([]byte, bool) {
	return func(body []byte) (out []byte, ok bool) {
		switch s := s; form {
		case formXML:
			s.at = inXML
			out, _ = s.xml(body)
		case formPairs:
			s.at = inForm
			out, _ = s.pairs(body)
		case formMultipart:
			s.at = inMultipart
			out, _ = s.multipart(body, kind)
		case formProtobuf:
			s.at = inGRPC
			out, _ = s.field2(0, body, 0)
		case formGRPC:
			s.at = inGRPC
			inner := func(message []byte) ([]byte, bool) { return s.payload(kind, message) }
			if strings.HasPrefix(kind, "application/grpc-web-text") {
				return s.grpcText(body, grpcCoding, inner)
			}
			out, _, ok = s.grpc(body, grpcCoding, inner)
			return out, ok
		}
		return out, true
	}
}

// payload is a message of gRPC, whose format the content type may name.
func (s scope) payload(kind string, message []byte) (out []byte, same bool) {
	if strings.Contains(kind, "+json") {
		return s.text(message)
	}
	if s.marks.schema != nil {
		return typed{scope: s, kind: s.marks.schema}.message(message)
	}
	if !isMessage(message) { // cut off, or of another kind
		return s.bytes(message)
	}
	return s.message(message, 0)
}

// decoded takes the coding off; where something is replaced the body is stored
// without it.
func (b *Body) decoded(s scope, kind, coding string, unknown Unknown) func([]byte) ([]byte, bool) {
	return func(body []byte) ([]byte, bool) {
		if unknown == KeepUnknown {
			return body, true
		}
		plain, err := decode(coding, body)
		if err != nil {
			return nil, false
		}
		inner := s.walkerOf(kind, "", plain, unknown)
		if inner == nil {
			return body, true
		}
		out := inner.close(inner.write(nil, plain))
		if w, ok := inner.(*wholeBody); ok && w.failed {
			return nil, false
		}
		if bytes.Equal(out, plain) {
			return body, true
		}
		b.coding = coding
		return out, true
	}
}

// wholeBody holds a body to look through it as a whole. One that is too long
// for that is looked through for values alone, or costs the body when strict.
type wholeBody struct {
	scope
	redact func([]byte) (out []byte, ok bool)
	strict bool
	held   []byte
	failed bool
	window *textBody
}

func (b *wholeBody) write(dst, next []byte) []byte {
	switch {
	case b.failed:
		return dst
	case b.window != nil:
		return b.window.write(dst, next)
	case len(b.held)+len(next) <= maxParsed:
		b.held = append(b.held, next...)
		return dst
	case b.strict:
		b.failed, b.held = true, nil
		return dst
	}
	b.marks.name, b.marks.place = nil, nil
	b.marks.put("body", ActionByValue)
	b.window = &textBody{scope: b.scope}
	dst = b.window.write(dst, b.held)
	b.held = nil
	return b.window.write(dst, next)
}

func (b *wholeBody) close(dst []byte) []byte {
	if b.failed {
		return dst
	}
	if b.window != nil {
		return b.window.close(dst)
	}
	out, ok := b.redact(b.held)
	b.held, b.failed = nil, !ok
	if !ok {
		return dst
	}
	return append(dst, out...)
}

// Write appends the redacted form of the next bytes to dst. What it can't
// decide yet comes with a later call.
func (b *Body) Write(dst, next []byte) []byte {
	return b.guard(dst, func() []byte { return b.walker.write(dst, next) })
}

// Close appends what is left.
func (b *Body) Close(dst []byte) []byte {
	out := b.guard(dst, func() []byte { return b.walker.close(dst) })
	switch w := b.walker.(type) {
	case *jsonBody:
		if !b.failed {
			w.release()
		}
	case *wholeBody:
		if w.failed {
			b.fail()
		}
	}
	return out
}

// guard ends a body that panics or takes too long.
func (b *Body) guard(dst []byte, do func() []byte) (out []byte) {
	if b.failed {
		return dst
	}
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			out = dst
			b.engine.failures.panicked(p)
			b.breakOff()
		}
	}()
	out = do()
	if b.work += time.Since(began); !b.engine.inTime(b.work) {
		b.breakOff()
		return dst
	}
	return out
}

func (b *Body) fail() {
	b.failed = true
	b.marks.name, b.marks.place, b.marks.part = nil, nil, ""
	b.marks.put("body", HashLength.String())
}

// breakOff fails for a reason that says that the rest of the exchange can't be
// trusted to redaction either.
func (b *Body) breakOff() {
	b.broken, b.failed = true, true
	b.marks.list = nil
}

// Failed says that nothing of the body may be kept but its length and HMAC.
func (b *Body) Failed() bool { return b != nil && b.failed }

// Coding is the content coding that was taken off, "" for none.
func (b *Body) Coding() string { return b.coding }

// Changed says that a value was replaced.
func (b *Body) Changed() bool { return b.marks.changed || b.failed }

// Marks are what was replaced, by places in the body.
func (b *Body) Marks() []Mark { return b.marks.list }
