package redact

import (
	"encoding/binary"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// wireType is how a value of the field stands alone (protobuf.dev, Encoding).
func wireType(field protoreflect.FieldDescriptor) int {
	switch field.Kind() {
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return 1
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return 5
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind, protoreflect.GroupKind:
		return 2
	}
	return 0
}

// packed are numbers behind each other.
func (m typed) packed(kind protoreflect.Kind, t treatment, b []byte) (out []byte, same bool) {
	same = true
	for rest := b; len(rest) > 0; {
		size := 0
		switch kind {
		case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
			size = 8
		case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
			size = 4
		default:
			_, size = binary.Uvarint(rest)
		}
		if size <= 0 || size > len(rest) {
			return m.bytes(b)
		}
		value, kept := m.scalar(kind, t, rest[:size])
		out, same, rest = append(out, value...), same && kept, rest[size:]
	}
	if same {
		return b, true
	}
	return out, false
}

// scalar is a number. One that its name gives away keeps its digits' count, as
// in JSON: that it is a token only the exchange's marks say.
func (m typed) scalar(kind protoreflect.Kind, t treatment, b []byte) (out []byte, same bool) {
	n, isNumber := numberOf(kind, b)
	switch {
	case !isNumber:
		return b, true
	case t.class == None && (n.wire != protowire.VarintType || n.zigzag):
		return b, true
	case t.class == None:
		return m.varint(b)
	case t.action == Keep || m.marks.had():
		return b, true
	}
	text := n.text()
	if out = n.encode(m.key.number(t, text)); out == nil || string(out) == string(b) {
		return b, true
	}
	m.marks.add(t)
	return out, false
}

// number is one of Protocol Buffers as it stands on the wire.
type number struct {
	bits           uint64
	size           int // 32 or 64
	wire           protowire.Type
	signed, zigzag bool
	float          bool
}

// numberOf reads one of the kinds that are numbers.
func numberOf(kind protoreflect.Kind, b []byte) (n number, ok bool) {
	n.size, n.wire = 64, protowire.VarintType
	switch kind {
	case protoreflect.Uint64Kind:
	case protoreflect.Uint32Kind:
		n.size = 32
	case protoreflect.Int64Kind:
		n.signed = true
	case protoreflect.Int32Kind:
		n.size, n.signed = 32, true
	case protoreflect.Sint64Kind:
		n.signed, n.zigzag = true, true
	case protoreflect.Sint32Kind:
		n.size, n.signed, n.zigzag = 32, true, true
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		n.wire, n.signed, n.float = protowire.Fixed64Type, kind == protoreflect.Sfixed64Kind, kind == protoreflect.DoubleKind
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		n.size, n.wire, n.signed, n.float = 32, protowire.Fixed32Type, kind == protoreflect.Sfixed32Kind, kind == protoreflect.FloatKind
	default:
		return n, false
	}
	switch n.wire {
	case protowire.VarintType:
		n.bits, _ = binary.Uvarint(b)
	case protowire.Fixed64Type:
		n.bits = binary.LittleEndian.Uint64(b)
	default:
		n.bits = uint64(binary.LittleEndian.Uint32(b))
	}
	return n, true
}

func (n number) text() []byte {
	switch {
	case n.float && n.size == 32:
		return strconv.AppendFloat(nil, float64(math.Float32frombits(uint32(n.bits))), 'f', -1, 32)
	case n.float:
		return strconv.AppendFloat(nil, math.Float64frombits(n.bits), 'f', -1, 64)
	case n.zigzag:
		return strconv.AppendInt(nil, protowire.DecodeZigZag(n.bits), 10)
	case n.signed && n.size == 32:
		return strconv.AppendInt(nil, int64(int32(n.bits)), 10)
	case n.signed:
		return strconv.AppendInt(nil, int64(n.bits), 10)
	}
	return strconv.AppendUint(nil, n.bits, 10)
}

// encode writes other digits in n's place. Those that are too many for it begin
// lower.
func (n number) encode(text []byte) []byte {
	for range 3 {
		if bits, err := n.parse(string(text)); err == nil {
			return n.append(bits)
		}
		if text = lower(text); text == nil {
			break
		}
	}
	return nil
}

// lower is text with a smaller number of as many digits.
func lower(text []byte) []byte {
	first := 0
	if len(text) > 0 && text[0] == '-' {
		first = 1
	}
	if len(text) < first+2 {
		return nil
	}
	if text[first] != '1' {
		text[first] = '1'
	} else {
		text[first+1] = '0'
	}
	return text
}

func (n number) parse(text string) (bits uint64, err error) {
	switch {
	case n.float:
		v, err := strconv.ParseFloat(text, n.size)
		if n.size == 32 {
			return uint64(math.Float32bits(float32(v))), err
		}
		return math.Float64bits(v), err
	case n.signed:
		v, err := strconv.ParseInt(text, 10, n.size)
		if n.zigzag {
			return protowire.EncodeZigZag(v), err
		}
		return uint64(v), err
	}
	return strconv.ParseUint(text, 10, n.size)
}

func (n number) append(bits uint64) []byte {
	switch n.wire {
	case protowire.VarintType:
		return protowire.AppendVarint(nil, bits)
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(nil, bits)
	}
	return protowire.AppendFixed32(nil, uint32(bits))
}
