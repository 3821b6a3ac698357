package redact

import (
	"bytes"

	"tapedeck/events"
	"tapedeck/wire/sse"
)

// Message is the redacted form of a message of x, which is its data where
// nothing is replaced, and the JSON paths of what was. Texts are looked
// through whatever they are: many protocols put something before their JSON.
func (e *Engine) Message(x *events.Exchange, m *events.Message) (data []byte, places []string) {
	if e == nil || len(m.Data) == 0 {
		return m.Data, nil
	}
	b := &Body{engine: e}
	var out []byte
	switch {
	case m.Side == events.Side_RESPONSE && sse.Is(x.GetResponse().GetHeaders()):
		out = b.event(m.Data)
	case m.Type == "text" || beginsJSON(m.Data):
		out = b.Write(nil, m.Data)
	default:
		return m.Data, nil
	}
	out = b.Close(out)
	if !b.Changed() {
		return m.Data, nil
	}
	return out, b.Places()
}

func beginsJSON(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n\ufeff")
	return len(data) > 0 && (data[0] == '{' || data[0] == '[')
}

// event redacts the data of an event, which may go on over several lines; the
// names of the fields stay out of it.
func (b *Body) event(lines []byte) []byte {
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
			out = append(out, line...)
			continue
		}
		text := bytes.TrimRight(value, "\r\n")
		out = append(append(out, field...), ':')
		out = b.Write(out, text)
		out = append(out, value[len(text):]...)
	}
	return out
}
