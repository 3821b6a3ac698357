package grpc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"tapedeck/events"
)

// maxNesting of a message that is read with descriptors.
const maxNesting = 100

// JSON is a message of a call to path, in the form that Protocol Buffers
// define (ProtoJSON) where its fields are known; those that are not have their
// numbers for names: {"id":"7","12":"new"}. A field known by its number alone
// is read as writeShape reads it: a text, a message, else bytes in base64.
func (d *Descriptors) JSON(path string, m *events.Message) (json.RawMessage, error) {
	data, err := Payload(m)
	if err != nil {
		return nil, err
	}
	if kind := d.Message(path, m.Side == events.Side_REQUEST); kind != nil {
		message := dynamicpb.NewMessage(kind)
		if err := (proto.UnmarshalOptions{Resolver: d.types, RecursionLimit: maxNesting}).Unmarshal(data, message); err == nil {
			if named, err := d.named(message); err == nil {
				return named, nil
			}
		}
	}
	fields, ok := fieldsOf(data)
	if !ok {
		return nil, fmt.Errorf("read message of %s: no Protocol Buffers", path)
	}
	return appendMembers(nil, fields, 0), nil
}

// named is a message with the names of its fields, and behind them those that
// have none.
func (d *Descriptors) named(m *dynamicpb.Message) ([]byte, error) {
	named, err := protojson.MarshalOptions{Resolver: d.types}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Compact(&out, named); err != nil { // protojson's spaces are random
		return nil, err
	}
	rest, _ := fieldsOf(m.GetUnknown())
	if len(rest) == 0 || out.Bytes()[0] != '{' { // a well-known type is no object
		return out.Bytes(), nil
	}
	b := out.Bytes()[:out.Len()-1]
	if len(b) > 1 {
		b = append(b, ',')
	}
	return append(b, appendMembers(nil, rest, 0)[1:]...), nil
}

// appendMembers writes fields as a JSON object by their numbers, in the order
// in which each comes first; one that comes again makes a list.
func appendMembers(b []byte, fields []field, depth int) []byte {
	byNumber := map[protowire.Number][]field{}
	var order []protowire.Number
	for _, f := range fields {
		if byNumber[f.number] == nil {
			order = append(order, f.number)
		}
		byNumber[f.number] = append(byNumber[f.number], f)
	}
	b = append(b, '{')
	for i, number := range order {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(strconv.AppendInt(b, int64(number), 10), `":`...)
		values := byNumber[number]
		if len(values) > 1 {
			b = append(b, '[')
		}
		for j, f := range values {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, f, depth)
		}
		if len(values) > 1 {
			b = append(b, ']')
		}
	}
	return append(b, '}')
}

// exact numbers survive in JSON for everyone; longer ones are texts, as in ProtoJSON.
const exact = 1 << 53

func appendValue(b []byte, f field, depth int) []byte {
	switch f.kind {
	case protowire.VarintType:
		n, _ := protowire.ConsumeVarint(f.value)
		if n > exact {
			return append(strconv.AppendUint(append(b, '"'), n, 10), '"')
		}
		return strconv.AppendUint(b, n, 10)
	case protowire.Fixed32Type:
		n, _ := protowire.ConsumeFixed32(f.value)
		return fmt.Appendf(b, `"0x%08x"`, n)
	case protowire.Fixed64Type:
		n, _ := protowire.ConsumeFixed64(f.value)
		return fmt.Appendf(b, `"0x%016x"`, n)
	case protowire.BytesType:
		if isLine(f.value) {
			text, _ := json.Marshal(string(f.value)) // a text always has a JSON form
			return append(b, text...)
		}
		if fields, ok := fieldsOf(f.value); ok && depth < maxDepth {
			return appendMembers(b, fields, depth+1)
		}
	}
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), f.value), '"')
}
