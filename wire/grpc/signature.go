package grpc

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"tapedeck/events"
	"tapedeck/wire"
)

// Signature hashes the method and the first message of the request. Metadata
// is left out, as the headers of HTTP are.
func (*Protocol) Signature(x *events.Exchange) wire.Signature {
	path := x.GetRequest().GetTarget()
	message := x.GetRequest().GetBody().GetData()
	if all := split(message, events.Side_REQUEST, 0, encoding(x, events.Side_REQUEST)); len(all) > 0 {
		if plain, err := Payload(all[0]); err == nil {
			message = plain
		}
	}
	exact, shape := newHash(path), newHash(path)
	writeText(exact, message)
	writeShape(shape, message, 0)
	return wire.Signature{Exact: sum(exact), Shape: sum(shape), Route: sum(newHash(path))}
}

func newHash(path string) hash.Hash {
	h := sha256.New()
	writeText(h, []byte(Name))
	writeText(h, []byte(path))
	return h
}

func sum(h hash.Hash) [32]byte { return [32]byte(h.Sum(nil)) }

// writeText writes b with its length, so that its borders count.
func writeText(h hash.Hash, b []byte) {
	h.Write(binary.AppendUvarint(nil, uint64(len(b))))
	h.Write(b)
}

// field is one of a message, as it lies on the wire.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  []byte
}

const maxDepth = 16

// writeShape writes a message with its fields in the order of their numbers
// and with classes in place of volatile texts. Without a descriptor a field of
// bytes is a text when it is a line of one, a message when it reads as one, and bytes
// otherwise; a guess, and the same one for equal bytes.
func writeShape(h hash.Hash, message []byte, depth int) {
	fields, ok := fieldsOf(message)
	if !ok || depth > maxDepth {
		writeText(h, message)
		return
	}
	slices.SortStableFunc(fields, func(a, b field) int { return int(a.number) - int(b.number) })
	h.Write(binary.AppendUvarint(nil, uint64(len(fields))))
	for _, f := range fields {
		h.Write(binary.AppendUvarint(nil, uint64(f.number)<<3|uint64(f.kind)))
		switch {
		case f.kind != protowire.BytesType:
			writeText(h, f.value)
		case isLine(f.value):
			writeText(h, []byte(shapeOfText(string(f.value))))
		default:
			writeShape(h, f.value, depth+1)
		}
	}
}

// isLine is a text without line breaks: a message that holds a text of the
// right length could be taken for one with them.
func isLine(b []byte) bool {
	for _, c := range b {
		if c < ' ' {
			return false
		}
	}
	return utf8.Valid(b)
}

// shapeOfText keeps digits and addresses: which of them are volatile only a
// name could tell.
func shapeOfText(s string) string {
	switch class := wire.Class(s); class {
	case "", wire.ClassID, wire.ClassEmail:
		return s
	default:
		return class
	}
}

func fieldsOf(b []byte) ([]field, bool) {
	var fields []field
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(number, kind, b)
		if size < 0 {
			return nil, false
		}
		value := b[:size]
		if kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(b)
		}
		fields = append(fields, field{number, kind, value})
		b = b[size:]
	}
	return fields, true
}
