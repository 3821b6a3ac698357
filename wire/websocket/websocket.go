// Package websocket reads the frames of a WebSocket connection (RFC 6455) as
// messages both ways, with permessage-deflate (RFC 7692) undone.
//
// A message's type is "text", "binary", "ping", "pong" or "close"; a close's
// data are its code (two bytes, big endian) and its reason. Fragments are put
// together, masks are taken off, and what was compressed is unpacked: sizes
// are those of the payloads as the programs at both ends see them.
//
// What breaks the protocol, or a bound, ends the reading of messages, never
// the stream: from there on its bytes are counted, and the exchange's failure
// says that there is a gap.
//
//   - frame.go: the frames of one side
//   - connection.go: those of both as messages
//   - inflate.go: permessage-deflate
//   - status.go: close codes as status and class
package websocket

import (
	"strings"

	"tapedeck/events"
)

// Name is the protocol's name in exchanges and endpoints.
const Name = "websocket"

// The types of messages.
const (
	TypeText   = "text"
	TypeBinary = "binary"
	TypePing   = "ping"
	TypePong   = "pong"
	TypeClose  = "close"
)

// Is says that the answer of x switches to WebSocket.
func Is(x *events.Exchange) bool {
	return x.GetResponse().GetStatus() == "101" && strings.EqualFold(strings.TrimSpace(events.HeaderValue(x.Response.Headers, "Upgrade")), Name)
}

// deflate is what both sides agreed on about compression.
type deflate struct {
	on     bool
	forget [3]bool // the side begins each message with an empty window
}

// negotiated reads the Sec-WebSocket-Extensions of an answer.
func negotiated(headers []*events.Field) deflate {
	var d deflate
	for _, f := range headers {
		if !strings.EqualFold(string(f.Name), "Sec-WebSocket-Extensions") {
			continue
		}
		for extension := range strings.SplitSeq(string(f.Value), ",") {
			d.add(extension)
		}
	}
	return d
}

func (d *deflate) add(extension string) {
	name, parameters, _ := strings.Cut(extension, ";")
	if strings.TrimSpace(name) != "permessage-deflate" {
		return
	}
	d.on = true
	for p := range strings.SplitSeq(parameters, ";") {
		switch strings.TrimSpace(p) {
		case "client_no_context_takeover":
			d.forget[events.Side_REQUEST] = true
		case "server_no_context_takeover":
			d.forget[events.Side_RESPONSE] = true
		}
	}
}

// CloseCode is the code in the data of a close message, 1005 without one.
func CloseCode(data []byte) int {
	if len(data) < 2 {
		return codeNone
	}
	return int(data[0])<<8 | int(data[1])
}
