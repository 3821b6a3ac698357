package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// wideOrder is the byte order of a text in UTF-16, by its type or its byte
// order mark; nil for all else.
func wideOrder(kind string, first []byte) binary.AppendByteOrder {
	_, params, _ := strings.Cut(strings.ToLower(kind), ";")
	named := strings.Contains(params, "utf-16")
	text := named || strings.HasPrefix(strings.ToLower(kind), "text/") || strings.Contains(strings.ToLower(kind), "xml") || strings.Contains(strings.ToLower(kind), "json")
	switch {
	case text && bytes.HasPrefix(first, []byte("\xff\xfe")), strings.Contains(params, "utf-16le"):
		return binary.LittleEndian
	case text && bytes.HasPrefix(first, []byte("\xfe\xff")), named:
		return binary.BigEndian
	}
	return nil
}

// wide redacts a text in UTF-16: in UTF-8, and back. What is none keeps its
// length and an HMAC only.
func (s scope) wide(order binary.AppendByteOrder, kind string) func([]byte) ([]byte, bool) {
	read := order.(binary.ByteOrder)
	return func(body []byte) ([]byte, bool) {
		units := make([]uint16, 0, len(body)/2)
		for i := 0; i+1 < len(body); i += 2 {
			units = append(units, read.Uint16(body[i:]))
		}
		text := []byte(string(utf16.Decode(units)))
		kind, _, _ := strings.Cut(kind, ";")
		inner := s.walkerOf(kind, "", text, ScanUnknown)
		out := inner.close(inner.write(nil, text))
		if bytes.Equal(out, text) {
			return body, true
		}
		var wide []byte
		for _, u := range utf16.Encode([]rune(string(out))) {
			wide = order.AppendUint16(wide, u)
		}
		return wide, true
	}
}

// grpcText redacts gRPC-Web in base64, of which each flush of the sender has
// its own padding.
func (s scope) grpcText(body []byte, coding string, inner func([]byte) ([]byte, bool)) ([]byte, bool) {
	var plain []byte
	for rest := body; len(rest) > 0; {
		n := bytes.IndexByte(rest, '=')
		for n >= 0 && n < len(rest) && rest[n] == '=' {
			n++
		}
		if n < 0 {
			n = len(rest) / 4 * 4 // cut off
			if n == 0 {
				return nil, false
			}
		}
		var err error
		if plain, err = base64.StdEncoding.AppendDecode(plain, rest[:n]); err != nil {
			return nil, false
		}
		if rest = rest[n:]; len(rest) < 4 {
			break
		}
	}
	out, same, ok := s.grpc(plain, coding, inner)
	if !ok || same {
		return body, ok
	}
	return base64.StdEncoding.AppendEncode(nil, out), true
}
