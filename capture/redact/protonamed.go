package redact

import (
	"encoding/binary"
	"strconv"
	"strings"
	"sync/atomic"

	"google.golang.org/protobuf/reflect/protoreflect"

	"tapedeck/events"
)

// Schemas know the messages of gRPC's methods (/package.Service/Method): what a
// side of one sends, nil where they don't.
type Schemas func(path string, request bool) protoreflect.MessageDescriptor

// WithSchemas redacts fields of gRPC by their names.
func (e *Engine) WithSchemas(s Schemas) *Engine {
	e.schemas = &atomic.Pointer[Schemas]{}
	e.schemas.Store(&s)
	return e
}

// schemaOf is that of the messages of a side of x, nil when nobody knows it.
func (e *Engine) schemaOf(x *events.Exchange, side events.Side) protoreflect.MessageDescriptor {
	if e.schemas == nil || !isGRPC(x) {
		return nil
	}
	known := e.schemas.Load()
	if known == nil {
		return nil
	}
	path, _, _ := strings.Cut(x.GetRequest().GetTarget(), "?")
	return (*known)(path, side == events.Side_REQUEST)
}

// typed is a message of Protocol Buffers whose fields have names.
type typed struct {
	scope
	kind           protoreflect.MessageDescriptor
	outer          treatment // of the field that it is the value of
	depth          int
	names, numbers string // of the fields that lead to it
}

// message redacts fields by their names, as keys of JSON are, and what has none
// by its looks. A message that is cut off is redacted as far as it came.
func (m typed) message(b []byte) (out []byte, same bool) {
	kinds := []protoreflect.MessageDescriptor{m.kind} // of groups within each other
	done := 0
	same = true
	for i := 0; i < len(b); {
		m.kind = kinds[len(kinds)-1]
		f, ok := nextField(b, i)
		if !ok {
			if rest, kept := m.rest(b[i:]); !kept {
				return append(append(out, b[done:i]...), rest...), false
			}
			break
		}
		i = f.to
		switch {
		case f.kind == 3:
			kinds = append(kinds, messageOf(m.fieldOf(f.number)))
		case f.kind == 4:
			kinds = kinds[:max(1, len(kinds)-1)]
		default:
			value, kept := m.field(m.fieldOf(f.number), f, b[f.from:f.to])
			if !kept {
				out = append(appendTag(append(out, b[done:f.begin]...), f, len(value)), value...)
				done, same = f.to, false
			}
		}
	}
	if same {
		return b, true
	}
	return append(out, b[done:]...), false
}

func appendTag(out []byte, f protoField, length int) []byte {
	out = binary.AppendUvarint(out, uint64(f.number)<<3|uint64(f.kind))
	if f.kind == 2 {
		out = binary.AppendUvarint(out, uint64(length))
	}
	return out
}

func (m typed) fieldOf(number int) protoreflect.FieldDescriptor {
	if m.kind == nil {
		return nil
	}
	return m.kind.Fields().ByNumber(protoreflect.FieldNumber(number))
}

func messageOf(field protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if field == nil {
		return nil
	}
	return field.Message()
}

// rest is what is left of a message that can't be read on: nothing stays of a
// field whose name says what it is.
func (m typed) rest(b []byte) (out []byte, same bool) {
	tag, n := binary.Uvarint(b)
	if field := m.fieldOf(int(tag >> 3)); n > 0 && field != nil {
		m = m.below(field, int(tag>>3))
		if t := m.treated(field); t.class != None && t.action != Keep {
			m.marks.add(t)
			return nil, false
		}
	}
	return m.bytes(b)
}

// below is where a field stands.
func (m typed) below(field protoreflect.FieldDescriptor, number int) typed {
	m.names = strings.TrimPrefix(m.names+"."+string(field.Name()), ".")
	m.numbers = strings.TrimPrefix(m.numbers+"."+strconv.Itoa(number), ".")
	m.marks.part = m.names
	return m
}

// treated is what is done to the values of the field at hand: by a rule for its
// path, in names or in numbers, by its name, or by that of what only wraps it.
func (m typed) treated(field protoreflect.FieldDescriptor) treatment {
	if len(m.rules) > 0 {
		for _, place := range []string{m.names, m.numbers} {
			if r := m.ruleAt([]byte(place)); r != nil {
				return r.treatment()
			}
		}
	}
	name := []byte(field.Name())
	t := m.named(name, inGRPC)
	if t.class == None && (isValueName(name) || isWrapper(m.kind)) {
		return m.outer
	}
	return t
}

// isWrapper says that a message stands for the value in it: StringValue, Value
// and ListValue, Timestamp.
func isWrapper(kind protoreflect.MessageDescriptor) bool {
	return kind != nil && !kind.IsMapEntry() && kind.ParentFile().Package() == "google.protobuf"
}

func (m typed) field(field protoreflect.FieldDescriptor, f protoField, value []byte) (out []byte, same bool) {
	defer func(part string) { m.marks.part = part }(m.marks.part)
	if field == nil || f.kind != wireType(field) && f.kind != 2 {
		return m.nameless(f, value)
	}
	above := m
	m = m.below(field, f.number)
	t := m.treated(field)
	switch kind := field.Kind(); kind {
	case protoreflect.MessageKind:
		return m.within(field, t, value)
	case protoreflect.StringKind:
		return m.value(t, value)
	case protoreflect.BytesKind:
		if t.class == None {
			return above.nameless(f, value)
		}
		return m.value(t, value)
	case protoreflect.EnumKind, protoreflect.BoolKind:
		return value, true
	default:
		if f.kind == 2 {
			return m.packed(kind, t, value)
		}
		return m.scalar(kind, t, value)
	}
}

// nameless is a field of which its number is known.
func (m typed) nameless(f protoField, value []byte) (out []byte, same bool) {
	m.marks.part = m.numbers
	switch f.kind {
	case 0:
		return m.varint(value)
	case 2:
		return m.field2(f.number, value, m.depth)
	}
	return value, true
}

// within is a message in a field. The key of an entry of a map is the name of
// its value.
func (m typed) within(field protoreflect.FieldDescriptor, t treatment, b []byte) (out []byte, same bool) {
	if m.depth == maxNestedMessages {
		return m.bytes(b)
	}
	if field.IsMap() && field.MapKey().Kind() == protoreflect.StringKind {
		key := keyOf(b)
		if named := m.named(key, inGRPC); named.class != None {
			t = named
		}
		m.names += "." + string(key[:min(len(key), maxName)])
	}
	m.kind, m.outer, m.depth = field.Message(), t, m.depth+1
	return m.message(b)
}

func keyOf(entry []byte) []byte {
	for i := 0; i < len(entry); {
		f, ok := nextField(entry, i)
		if !ok {
			break
		}
		if f.number == 1 && f.kind == 2 {
			return entry[f.from:f.to]
		}
		i = f.to
	}
	return nil
}
