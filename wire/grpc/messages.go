package grpc

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"tapedeck/events"
)

// The types of messages: compressed ones name their coding behind a plus.
const (
	TypeMessage = "message"
	typeUnknown = "unknown" // coding of a message that is compressed though no header says how
)

const flagCompressed = 1

func messageType(flag byte, encoding string) string {
	if flag&flagCompressed == 0 {
		return TypeMessage
	}
	if encoding == "" || encoding == "identity" {
		encoding = typeUnknown
	}
	return TypeMessage + "+" + encoding
}

// encoding is what the head of a side says of compressed messages.
func (c *call) encoding(side events.Side) string { return encoding(c.x, side) }

func encoding(x *events.Exchange, side events.Side) string {
	headers := x.GetRequest().GetHeaders()
	if side == events.Side_RESPONSE {
		headers = x.GetResponse().GetHeaders()
	}
	e := strings.ToLower(events.HeaderValue(headers, "grpc-encoding"))
	return strings.ToValidUTF8(e[:min(len(e), 32)], "")
}

// Messages are the messages of a call in the order in which they were
// complete: those of its segments, in their order, else those in its bodies,
// whose times are when their side ended.
func Messages(x *events.Exchange, segments []*events.Segment) []*events.Message {
	if len(segments) > 0 {
		var all []*events.Message
		for _, s := range segments {
			all = append(all, s.Messages...)
		}
		return all
	}
	r := x.GetRequest()
	all := split(r.GetBody().GetData(), events.Side_REQUEST, r.GetLastByte(), encoding(x, events.Side_REQUEST))
	a := x.GetResponse()
	return append(all, split(a.GetBody().GetData(), events.Side_RESPONSE, a.GetLastByte(), encoding(x, events.Side_RESPONSE))...)
}

// split cuts the messages out of a body. A last one that is not whole keeps
// its size.
func split(b []byte, side events.Side, t int64, encoding string) []*events.Message {
	var all []*events.Message
	for len(b) >= prefixSize {
		size := int64(binary.BigEndian.Uint32(b[1:prefixSize]))
		m := &events.Message{Side: side, Time: t, Type: messageType(b[0], encoding), Size: size}
		b = b[prefixSize:]
		n := min(size, int64(len(b)))
		m.Data, b = b[:n:n], b[n:]
		all = append(all, m)
	}
	return all
}

// maxPayload bounds what a message may unpack to.
const maxPayload = 16 << 20

var errCut = errors.New("message was not kept whole")

// Payload is the message without its compression.
func Payload(m *events.Message) ([]byte, error) {
	if int64(len(m.Data)) < m.Size {
		return nil, errCut
	}
	switch m.Type {
	case TypeMessage:
		return m.Data, nil
	case TypeMessage + "+gzip":
	default:
		return nil, fmt.Errorf("unpack message: coding %q is not known", m.Type)
	}
	z, err := gzip.NewReader(bytes.NewReader(m.Data))
	if err != nil {
		return nil, fmt.Errorf("unpack message: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(z, maxPayload+1))
	if err != nil {
		return nil, fmt.Errorf("unpack message: %w", err)
	}
	if len(data) > maxPayload {
		return nil, fmt.Errorf("unpack message: more than %d MiB", maxPayload>>20)
	}
	return data, nil
}
