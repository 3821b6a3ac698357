package redact

import (
	"bytes"
	"hash/maphash"
	"strings"
	"unicode/utf8"

	"tapedeck/events"
	"tapedeck/wire/sse"
)

// part is a piece of a message that goes on in the next one.
type part struct {
	path     uint64
	from, to int
	name     []byte // of the field
	field    bool   // of a message that is whole in itself
	fixed    bool   // it keeps its length
	binary   bool
}

const wholeText = 0 // path of what is no field

var pathSeed = maphash.MakeSeed()

// below is the path of a field.
func below(path uint64, name []byte) uint64 {
	return path*0x9e3779b97f4a7c15 + maphash.Bytes(pathSeed, name) | 1
}

// partsOf are the parts of a message that are looked at as Message looks at it.
func (e *Engine) partsOf(x *events.Exchange, m *events.Message) []part {
	kind, packed, _ := strings.Cut(m.Type, "+")
	switch {
	case m.Side == events.Side_RESPONSE && sse.Is(x.GetResponse().GetHeaders()):
		return partsOfEvent(m.Data)
	case isGRPC(x):
		if packed != "" {
			return nil // each is packed by itself
		}
		if strings.Contains(events.HeaderValue(x.GetRequest().GetHeaders(), "content-type"), "+json") {
			return fixed(partsOfText(m.Data, 0))
		}
		return partsOfMessage(nil, wholeText, m.Data, 0, 0)
	case kind == "text" || kind == "binary" && beginsJSON(m.Data):
		return partsOfText(m.Data, 0)
	case kind == "binary" && e.unknown(x) == ScanUnknown:
		return partsOfBytes(m.Data)
	}
	return nil // control frames come between the messages of others
}

// fixed are parts that keep their lengths.
func fixed(all []part) []part {
	for i := range all {
		all[i].fixed = true
	}
	return all
}

func partsOfBytes(data []byte) []part {
	switch {
	case utf8.Valid(data) && isText(data):
		return []part{{to: len(data)}}
	case isMessage(data):
		return partsOfMessage(nil, wholeText, data, 0, 0)
	}
	return []part{{to: len(data), fixed: true, binary: true}}
}

// partsOfText are the texts in JSON that is whole, else all of it.
func partsOfText(text []byte, base int) []part {
	if beginsJSON(text) {
		if all, ok := partsOfJSON(text, base); ok {
			return all
		}
	}
	return []part{{from: base, to: base + len(text)}}
}

// partsOfEvent are the data of an event.
func partsOfEvent(lines []byte) (all []part) {
	for at := 0; at < len(lines); {
		end := at + bytes.IndexAny(lines[at:], "\r\n")
		if end < at {
			end = len(lines)
		}
		line := bytes.TrimPrefix(lines[at:end], []byte("\ufeff"))
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			value = bytes.TrimPrefix(value, []byte(" "))
			all = append(all, part{from: end - len(value), to: end})
		}
		at = end + 1
	}
	if len(all) == 1 {
		return partsOfText(lines[all[0].from:all[0].to], all[0].from)
	}
	return all
}

// partsOfMessage are the texts and bytes of a message of Protocol Buffers, by
// the numbers of their fields.
func partsOfMessage(all []part, path uint64, b []byte, base, depth int) []part {
	if !isMessage(b) {
		return all
	}
	for i := 0; i < len(b) && len(all) < maxLanes; {
		f, _ := nextField(b, i)
		i = f.to
		if f.kind != 2 || f.from == f.to {
			continue
		}
		value, at := b[f.from:f.to], below(path, []byte{byte(f.number), byte(f.number >> 8), byte(f.number >> 16), byte(f.number >> 24)})
		text := utf8.Valid(value) && isText(value)
		if !text && depth < maxNestedMessages && isMessage(value) {
			all = partsOfMessage(all, at, value, base+f.from, depth+1)
			continue
		}
		all = append(all, part{path: at, from: base + f.from, to: base + f.to, field: true, fixed: true, binary: !text})
	}
	return all
}

// jsonLevel is an object or an array on the way to a text.
type jsonLevel struct {
	path   uint64
	object bool
	key    bool // a key comes next
	index  uint32
	name   []byte
}

// partsOfJSON are the texts in JSON, by the names that lead to them; ok is
// false when the text is not one object or array from its beginning to its end.
func partsOfJSON(text []byte, base int) (all []part, ok bool) {
	var levels []jsonLevel
	for i := 0; i < len(text); i++ {
		switch structure[text[i]] {
		case quoteByte:
			end, _ := closing(text, i+1)
			if end < 0 || len(levels) == 0 {
				return nil, false
			}
			top := &levels[len(levels)-1]
			if top.key {
				top.name = text[i+1 : end]
			} else if end > i+1 && len(all) < maxLanes {
				all = append(all, part{path: top.here(), from: base + i + 1, to: base + end, name: top.name, field: true})
			}
			i = end
		case openByte:
			next := jsonLevel{path: 1, object: text[i] == '{', key: text[i] == '{'}
			if n := len(levels); n > 0 {
				next.path, next.name = levels[n-1].here(), levels[n-1].name
			}
			if levels = append(levels, next); len(levels) > maxDepth {
				return nil, true
			}
		case closeByte:
			if levels = levels[:max(0, len(levels)-1)]; len(levels) == 0 {
				return all, len(bytes.TrimSpace(text[i+1:])) == 0
			}
		case commaByte, colonByte:
			if n := len(levels); n > 0 {
				levels[n-1].next(text[i])
			}
		}
	}
	return nil, false
}

// here is the path of the value that comes next.
func (l *jsonLevel) here() uint64 {
	if l.object {
		return below(l.path, l.name)
	}
	return below(l.path, []byte{byte(l.index), byte(l.index >> 8), byte(l.index >> 16)})
}

func (l *jsonLevel) next(sign byte) {
	switch {
	case sign == ':':
		l.key = false
	case l.object:
		l.key, l.name = true, nil
	default:
		l.index++
	}
}
