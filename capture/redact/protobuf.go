package redact

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf8"
)

const maxNestedMessages = 32

// message redacts a protobuf message without its descriptor, by wire type
// (protobuf.dev, Encoding): texts by what is found in them, numbers that are
// those of cards, messages within. same is also true for what is no message.
func (s scope) message(b []byte, depth int) (out []byte, same bool) {
	same = true
	done := 0
	for i := 0; i < len(b); {
		f, ok := nextField(b, i)
		if !ok {
			return b, true
		}
		value, kept := b[f.from:f.to], true
		switch f.kind {
		case 0:
			value, kept = s.varint(value)
		case 2:
			value, kept = s.field2(f.number, value, depth)
		}
		if !kept {
			out = append(out, b[done:f.begin]...)
			out = binary.AppendUvarint(out, uint64(f.number)<<3|uint64(f.kind))
			if f.kind == 2 {
				out = binary.AppendUvarint(out, uint64(len(value)))
			}
			out, done, same = append(out, value...), f.to, false
		}
		i = f.to
	}
	if same {
		return b, true
	}
	return append(out, b[done:]...), false
}

// protoField is one on the wire: its tag from begin, its value in from…to.
type protoField struct {
	number, kind    int
	begin, from, to int
}

func nextField(b []byte, i int) (f protoField, ok bool) {
	tag, n := binary.Uvarint(b[i:])
	if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
		return f, false
	}
	f = protoField{number: int(tag >> 3), kind: int(tag & 7), begin: i, from: i + n}
	size := 0
	switch f.kind {
	case 0:
		if _, size = binary.Uvarint(b[f.from:]); size <= 0 {
			return f, false
		}
	case 1:
		size = 8
	case 2:
		length, n := binary.Uvarint(b[f.from:])
		if n <= 0 || length > uint64(len(b)) {
			return f, false
		}
		f.from, size = f.from+n, int(length)
	case 3, 4: // a group's begin and end; its fields stand between
	case 5:
		size = 4
	default:
		return f, false
	}
	f.to = f.from + size
	return f, f.to <= len(b)
}

func isMessage(b []byte) bool {
	for i := 0; i < len(b); {
		f, ok := nextField(b, i)
		if !ok {
			return false
		}
		i = f.to
	}
	return len(b) > 0
}

// field2 is a text, a message, or bytes. What could be both is a text when it
// looks like one.
func (s scope) field2(number int, value []byte, depth int) (out []byte, same bool) {
	if s.marks != nil && number > 0 {
		above := s.marks.part
		s.marks.part = strings.TrimPrefix(above+"."+strconv.Itoa(number), ".")
		defer func() { s.marks.part = above }()
	}
	if len(s.rules) > 0 && s.marks != nil {
		if r := s.ruleAt([]byte(s.marks.part)); r != nil {
			return s.value(r.treatment(), value)
		}
	}
	if len(value) < shortest {
		return value, true
	}
	if utf8.Valid(value) && isText(value) {
		return s.text(value)
	}
	if depth < maxNestedMessages && isMessage(value) {
		return s.message(value, depth+1)
	}
	if utf8.Valid(value) { // a text with odd signs
		return s.text(value)
	}
	return s.bytes(value)
}

// bytes redacts what is found among bytes; they keep their length.
func (s scope) bytes(b []byte) (out []byte, same bool) {
	s.fixed = true
	out, same, _ = s.find(b)
	return out, same
}

func (s scope) varint(b []byte) (out []byte, same bool) {
	n, _ := binary.Uvarint(b)
	text := strconv.AppendUint(nil, n, 10)
	if len(text) < 12 || len(text) > 18 || !isCard(text) || !s.detects(Card) {
		return b, true
	}
	token, err := strconv.ParseUint(string(s.key.number(s.classes[Card], text)), 10, 64)
	if err != nil || token == n {
		return b, true
	}
	s.marks.add(s.classes[Card])
	return binary.AppendUvarint(nil, token), false
}

// grpc redacts messages with their prefixes. One that is compressed is stored
// unpacked, as its prefix then says.
func (s scope) grpc(b []byte, coding string, inner func([]byte) ([]byte, bool)) (out []byte, same, ok bool) {
	same = true
	for len(b) >= 5 {
		size := int(binary.BigEndian.Uint32(b[1:]))
		if b[0] > 1 || size > len(b)-5 {
			break
		}
		payload, prefix := b[5:5+size], b[0]
		if prefix == 1 {
			plain, err := decode(coding, payload)
			if err != nil {
				return nil, false, false
			}
			payload = plain
		}
		redacted, kept := inner(payload)
		if kept {
			out = append(out, b[:5+size]...)
		} else {
			out = binary.BigEndian.AppendUint32(append(out, 0), uint32(len(redacted)))
			out, same = append(out, redacted...), false
		}
		b = b[5+size:]
	}
	if len(b) > 5 && b[0] == 0 { // cut off
		rest, kept := s.bytes(b[5:])
		out, b, same = append(append(out, b[:5]...), rest...), nil, same && kept
	}
	return append(out, b...), same, true
}

// beginsLikeProtobuf keeps texts and pictures from being taken for messages.
func beginsLikeProtobuf(b []byte) bool {
	return !bytes.HasPrefix(b, []byte("\x89PNG")) && isMessage(b)
}
