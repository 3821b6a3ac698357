package redact

import (
	"bytes"
	"strings"

	"tapedeck/events"
	"tapedeck/wire/sse"
)

// Message redacts a message of x: its data, which is returned, and its type
// where that says how the data was packed. Texts are looked through whatever
// they are: many protocols put something before their JSON. A mark with the
// action events.MetadataOnly says that it could not be.
func (e *Engine) Message(x *events.Exchange, m *events.Message) (data []byte, found []Mark) {
	if e == nil || len(m.Data) == 0 {
		return m.Data, nil
	}
	if e.shut {
		return nil, []Mark{metadataOnly}
	}
	var all marks
	var out []byte
	var ok bool
	done := e.guard(func() {
		side := "request.message."
		if m.Side == events.Side_RESPONSE {
			side = "response.message."
		}
		all.earlier(x, side)
		s := scope{view: e.view(x), marks: &all, at: inMessage}
		all.view, all.schema = s.view, e.schemaOf(x, m.Side)
		if out, ok = s.ofMessage(e, x, m); !all.changed {
			out = m.Data
		}
		if ok && int64(len(m.Data)) < m.Size && s.full {
			out = untilCut(out)
		}
	})
	switch {
	case !done:
		return nil, []Mark{metadataOnly}
	case !ok:
		return nil, []Mark{{"", "body", HashLength.String()}}
	}
	return out, all.list
}

func (s scope) ofMessage(e *Engine, x *events.Exchange, m *events.Message) (out []byte, ok bool) {
	kind, packed, _ := strings.Cut(m.Type, "+")
	switch {
	case m.Side == events.Side_RESPONSE && sse.Is(x.GetResponse().GetHeaders()):
		s.phrase(&m.Type)
		return s.event(m.Data), true
	case strings.HasPrefix(events.HeaderValue(x.GetRequest().GetHeaders(), "content-type"), "application/grpc"):
		return s.grpcMessage(x, m, packed)
	case kind == "text" || s.full && beginsJSON(m.Data) || beginsJSON(m.Data):
		return s.json(m.Data), true
	case !s.full || e.unknown(x) == KeepUnknown:
		return m.Data, true
	case e.unknown(x) == StrictUnknown:
		return nil, false
	}
	out, _ = s.field2(0, m.Data, 0)
	return out, true
}

// json looks through a text for JSON; where it is none, for values.
func (s scope) json(text []byte) []byte {
	b := s.bodies.Get().(*jsonBody)
	defer b.release()
	b.reset(s)
	out := b.close(b.write(nil, text))
	if b.seen || !s.full {
		return out
	}
	out, _ = s.text(text)
	return out
}

func (s scope) grpcMessage(x *events.Exchange, m *events.Message, packed string) (out []byte, ok bool) {
	if !s.full {
		return m.Data, true
	}
	data := m.Data
	if packed != "" {
		plain, err := decode(packed, data)
		if err != nil || int64(len(data)) < m.Size {
			return nil, false
		}
		data = plain
	}
	kind := events.HeaderValue(x.GetRequest().GetHeaders(), "content-type")
	s.at = inGRPC
	out, same := s.payload(kind, data)
	if same {
		return m.Data, true
	}
	m.Type = strings.TrimSuffix(m.Type, "+"+packed)
	return out, true
}

func beginsJSON(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n\ufeff")
	return len(data) > 0 && (data[0] == '{' || data[0] == '[')
}

// event redacts the data of an event, which may go on over several lines; the
// names of the fields stay out of it.
func (s scope) event(lines []byte) []byte {
	b := s.bodies.Get().(*jsonBody)
	defer b.release()
	b.reset(s)
	var out []byte
	for len(lines) > 0 {
		end := bytes.IndexAny(lines, "\r\n") + 1
		if end == 0 {
			end = len(lines)
		}
		line := lines[:end]
		lines = lines[end:]
		field, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || string(bytes.TrimPrefix(field, []byte("\ufeff"))) != "data" {
			found, _ := s.text(line)
			out = append(out, found...)
			continue
		}
		text := bytes.TrimRight(value, "\r\n")
		out = append(append(out, field...), ':')
		out = b.line(out, text)
		out = append(out, value[len(text):]...)
	}
	return b.close(out)
}

// line is a line of a text that may be JSON: one that is none, and goes on in
// none, is looked through for values.
func (b *jsonBody) line(dst, text []byte) []byte {
	if b.full && len(b.stack) == 0 && len(b.pending) == 0 && !beginsJSON(text) {
		out, _ := b.text(text)
		return append(dst, out...)
	}
	return b.close(b.write(dst, text)) // no value goes on in the next line
}
