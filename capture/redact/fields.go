package redact

import (
	"bytes"
	"strings"

	"tapedeck/events"
)

// fields redacts headers or trailers.
func (e *Engine) fields(fields []*events.Field, m marker) {
	for _, f := range fields {
		if len(f.Value) == 0 {
			continue
		}
		value := e.field(f.Name, f.Value)
		if !bytes.Equal(value, f.Value) {
			f.Value = value
			m.mark(string(f.Name))
		}
	}
}

func (e *Engine) field(name, value []byte) []byte {
	switch {
	case is(name, "Authorization"), is(name, "Proxy-Authorization"):
		return e.authorization(value)
	case is(name, "Cookie"):
		return e.cookies(value)
	case is(name, "Set-Cookie"):
		pair, _, _ := bytes.Cut(value, []byte(";"))
		return append(e.cookie(pair), value[len(pair):]...)
	case is(name, "Location"), is(name, "Content-Location"), is(name, "Referer"), is(name, "Link"), is(name, "Origin"):
		return []byte(e.target(string(value), marker{}))
	case is(name, "WWW-Authenticate"), is(name, "Proxy-Authenticate"), is(name, "Sec-WebSocket-Key"), is(name, "Content-Length"):
		return value
	case headerCredential(name):
		return e.authorization(value) // some carry a scheme as well
	}
	return value
}

func is(name []byte, want string) bool {
	return len(name) == len(want) && strings.EqualFold(string(name), want)
}

// headerCredential takes the X- off, and the vendor's name is no matter.
func headerCredential(name []byte) bool {
	if len(name) > 2 && (name[0] == 'X' || name[0] == 'x') && name[1] == '-' && Credential(name[2:]) {
		return true
	}
	return Credential(name)
}

// signing schemes name who signs, and more, in parameters.
var signingSchemes = map[string]bool{"digest": true, "hawk": true, "signature": true, "oauth": true, "mac": true}

// plainParameters are those of signing schemes that are no secrets.
var plainParameters = map[string]bool{
	"signedheaders": true, "realm": true, "algorithm": true, "uri": true, "qop": true, "nc": true, "headers": true, "version": true,
	"oauth_version": true, "oauth_signature_method": true, "created": true, "expires": true, "ts": true,
}

// authorization keeps the scheme (RFC 9110, 11.6.2).
func (e *Engine) authorization(value []byte) []byte {
	scheme, rest, ok := bytes.Cut(value, []byte(" "))
	if !ok || !isScheme(scheme) {
		return e.key.Token(value)
	}
	lower := strings.ToLower(string(scheme))
	out := append(bytes.Clone(scheme), ' ')
	if signingSchemes[lower] || strings.HasPrefix(lower, "aws4-") {
		return append(out, e.parameters(rest)...)
	}
	blanks := len(rest) - len(bytes.TrimLeft(rest, " "))
	return append(append(out, rest[:blanks]...), e.key.Token(rest[blanks:])...)
}

func isScheme(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 32
}

// parameters redacts name=value pairs between commas; quotes stay.
func (e *Engine) parameters(b []byte) []byte {
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
		trimmed := bytes.TrimSpace(value)
		switch {
		case len(trimmed) >= 2 && trimmed[0] == '"' && trimmed[len(trimmed)-1] == '"':
			out = append(append(append(out, '"'), e.key.Token(trimmed[1:len(trimmed)-1])...), '"')
		case key == "credential": // AWS: who, then day, region and service
			who, scope, _ := bytes.Cut(trimmed, []byte("/"))
			out = append(out, e.key.Token(who)...)
			out = append(out, trimmed[len(who):len(trimmed)-len(scope)]...)
			out = append(out, scope...)
		default:
			out = append(out, e.key.Token(trimmed)...)
		}
	}
	return out
}

func (e *Engine) cookies(value []byte) []byte {
	var out []byte
	for i, pair := range bytes.Split(value, []byte(";")) {
		if i > 0 {
			out = append(out, ';')
		}
		out = append(out, e.cookie(pair)...)
	}
	return out
}

// cookie redacts name=value; a pair without '=' is a value without a name.
func (e *Engine) cookie(pair []byte) []byte {
	name, value, ok := bytes.Cut(pair, []byte("="))
	if !ok {
		blanks := len(pair) - len(bytes.TrimLeft(pair, " "))
		return append(bytes.Clone(pair[:blanks]), e.key.Token(bytes.TrimSpace(pair))...)
	}
	return append(append(bytes.Clone(name), '='), e.key.Token(bytes.TrimSpace(value))...)
}
