package redact

import (
	"bytes"
	"encoding/base64"
	"strings"

	"tapedeck/events"
)

// fields redacts headers or trailers, in place: values are replaced, never
// written to.
func (s scope) fields(fields []*events.Field) {
	for _, f := range fields {
		if len(f.Value) == 0 {
			continue
		}
		s.marks.name, s.marks.place = f.Name, nil
		if s.full && mayHold(f.Name) {
			f.Name, _, _ = s.find(f.Name)
		}
		if value := s.field(f.Name, f.Value); !bytes.Equal(value, f.Value) {
			f.Value = value
			s.marks.add(s.classes[Credential])
		}
	}
}

// plainFields hold nothing of anybody by their names: only what looks like a
// secret is one.
var plainFields = map[string]bool{}

func init() {
	for _, name := range strings.Fields(`Host Accept Accept-Encoding Accept-Language Connection Content-Type Content-Length Content-Encoding
		Cache-Control Date Server Vary Transfer-Encoding Upgrade Te Expires Last-Modified Etag If-None-Match Age Keep-Alive Traceparent
		Www-Authenticate Proxy-Authenticate Sec-Websocket-Key Sec-Websocket-Accept Sec-Websocket-Version Grpc-Status Grpc-Encoding
		Grpc-Accept-Encoding Grpc-Timeout Grpc-Trace-Bin`) {
		plainFields[name] = true
		plainFields[strings.ToLower(name)] = true
	}
}

func (s scope) field(name, value []byte) []byte {
	switch {
	case plainFields[string(name)]:
		return s.plain(value)
	case is(name, "Authorization"), is(name, "Proxy-Authorization"):
		return s.authorization(value)
	case is(name, "Cookie"):
		return s.cookies(value)
	case is(name, "Set-Cookie"):
		pair, _, _ := bytes.Cut(value, []byte(";"))
		attributes, _ := s.text(value[len(pair):])
		return append(s.cookie(pair), attributes...)
	case is(name, "Location"), is(name, "Content-Location"), is(name, "Referer"), is(name, "Link"), is(name, "Origin"), is(name, "Refresh"):
		return s.address(value)
	case is(name, "WWW-Authenticate"), is(name, "Proxy-Authenticate"), is(name, "Sec-WebSocket-Key"), is(name, "Content-Length"):
		return s.plain(value)
	case len(name) > 4 && is(name[len(name)-4:], "-bin") && s.full:
		return s.binary(name, value)
	}
	treat := s.named(withoutX(name), inHeader)
	if treat.class == Credential && treat.action == Token {
		return s.authorization(value) // some carry a scheme as well
	}
	if treat.class == None {
		s.looked(value)
	}
	out, _ := scope{view: s.view, at: inHeader, marks: s.marks}.value(treat, value)
	return out
}

// plain is the value of a plain field. The ids of a trace may look like
// anything, and the boundary of parts must stay what it is in the body.
func (s scope) plain(value []byte) []byte {
	if len(value) < shortest || !s.full || isHexOnly(value) || bytes.HasPrefix(value, []byte("multipart/")) {
		return value
	}
	out, _, _ := s.find(value)
	return out
}

func isHexOnly(value []byte) bool {
	for _, c := range value {
		if unhex(c) < 0 && c != '-' {
			return false
		}
	}
	return len(value) == 55 // of a traceparent (W3C Trace Context)
}

// withoutX takes the X- off, and the vendor's name is no matter.
func withoutX(name []byte) []byte {
	if len(name) > 2 && (name[0] == 'X' || name[0] == 'x') && name[1] == '-' {
		return name[2:]
	}
	return name
}

func is(name []byte, want string) bool {
	return len(name) == len(want) && strings.EqualFold(string(name), want)
}

// address is a URL; where it stood is said by the header's name alone.
func (s scope) address(value []byte) []byte {
	out, _ := scope{view: s.view, at: inHeader}.target(value)
	return out
}

// binary is gRPC's binary metadata, in base64. Statuses are messages that are
// looked through; of all others nobody knows what they hold.
func (s scope) binary(name, value []byte) []byte {
	if !is(name, "grpc-status-details-bin") {
		return s.key.binary(value)
	}
	encoding := base64Raw(value)
	plain, err := encoding.AppendDecode(nil, value)
	if err != nil {
		return s.key.binary(value)
	}
	if out, same := (scope{view: s.view, at: inGRPC, marks: s.marks}).message(plain, 0); !same {
		return encoding.AppendEncode(nil, out)
	}
	return value
}

func base64Raw(value []byte) *base64.Encoding {
	if bytes.HasSuffix(value, []byte("=")) {
		return base64.StdEncoding
	}
	return base64.RawStdEncoding
}

// signing schemes name who signs, and more, in parameters.
var signingSchemes = map[string]bool{"digest": true, "hawk": true, "signature": true, "oauth": true, "mac": true}

// plainParameters are those of signing schemes that are no secrets.
var plainParameters = map[string]bool{
	"signedheaders": true, "realm": true, "algorithm": true, "uri": true, "qop": true, "nc": true, "headers": true, "version": true,
	"oauth_version": true, "oauth_signature_method": true, "created": true, "expires": true, "ts": true,
}

// authorization keeps the scheme (RFC 9110, 11.6.2).
func (s scope) authorization(value []byte) []byte {
	scheme, rest, ok := bytes.Cut(value, []byte(" "))
	if !ok || !isScheme(scheme) {
		return s.credential(value)
	}
	lower := strings.ToLower(string(scheme))
	out := append(bytes.Clone(scheme), ' ')
	if signingSchemes[lower] || strings.HasPrefix(lower, "aws4-") {
		return append(out, s.parameters(rest)...)
	}
	blanks := len(rest) - len(bytes.TrimLeft(rest, " "))
	return append(append(out, rest[:blanks]...), s.credential(rest[blanks:])...)
}

// credential is what stands for one in a header.
func (s scope) credential(value []byte) []byte { return s.key.replace(s.classes[Credential], value) }

func isScheme(b []byte) bool {
	for _, c := range b {
		if !isWord(c) && c != '-' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 32
}

// parameters redacts name=value pairs between commas; quotes stay.
func (s scope) parameters(b []byte) []byte {
	var out []byte
	for i, pair := range bytes.Split(b, []byte(",")) {
		if i > 0 {
			out = append(out, ',')
		}
		name, value, ok := bytes.Cut(pair, []byte("="))
		key := strings.ToLower(string(bytes.TrimSpace(name)))
		if !ok || plainParameters[key] {
			out = append(out, pair...)
			continue
		}
		out = append(append(out, name...), '=')
		out = append(out, s.parameter(key, bytes.TrimSpace(value))...)
	}
	return out
}

func (s scope) parameter(key string, value []byte) []byte {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return append(append([]byte{'"'}, s.credential(value[1:len(value)-1])...), '"')
	}
	if key == "credential" { // AWS: who, then day, region and service
		who, _, _ := bytes.Cut(value, []byte("/"))
		return append(bytes.Clone(s.credential(who)), value[len(who):]...)
	}
	return s.credential(value)
}

func (s scope) cookies(value []byte) []byte {
	var out []byte
	for i, pair := range bytes.Split(value, []byte(";")) {
		if i > 0 {
			out = append(out, ';')
		}
		out = append(out, s.cookie(pair)...)
	}
	return out
}

// cookie redacts name=value, whatever the name says: who has the cookies is
// the user. A pair without '=' is a value without a name.
func (s scope) cookie(pair []byte) []byte {
	name, value, ok := bytes.Cut(pair, []byte("="))
	if !ok {
		blanks := len(pair) - len(bytes.TrimLeft(pair, " "))
		return append(bytes.Clone(pair[:blanks]), s.credential(bytes.TrimSpace(pair))...)
	}
	treat := s.classes[Credential]
	for _, r := range s.rules {
		if r.Key != nil && r.at&inCookie != 0 && r.at != anywhere && r.Key.Match(bytes.TrimSpace(name)) {
			treat = r.treatment()
		}
	}
	value = bytes.TrimSpace(value)
	if s.full && mayHold(name) {
		name, _, _ = s.find(name)
	}
	return append(append(bytes.Clone(name), '='), s.key.replace(treat, value)...)
}
