package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"tapedeck/wire"
)

// jwt keeps the header and the names and times of the claims of a JSON Web
// Token; its other claims become tokens, and its signature the token of the
// whole. nil when value is none; one that is encrypted has no claims to keep.
func (k *Key) jwt(value []byte) []byte {
	if len(value) > maxHeld || !bytes.HasPrefix(value, []byte("eyJ")) {
		return nil
	}
	parts := bytes.Split(value, []byte("."))
	if len(parts) != 3 {
		return nil
	}
	header, err := base64.RawURLEncoding.AppendDecode(nil, parts[0])
	if err != nil || !json.Valid(header) {
		return nil
	}
	claims, err := base64.RawURLEncoding.AppendDecode(nil, parts[1])
	if err != nil || !json.Valid(claims) {
		return nil
	}
	token := k.token(Credential, value)
	out := append(bytes.Clone(parts[0]), '.')
	out = base64.RawURLEncoding.AppendEncode(out, k.claims(claims))
	return base64.RawURLEncoding.AppendEncode(append(out, '.'), token)
}

// times of a token say nothing about anybody (RFC 7519, 4.1).
var claimTimes = map[string]bool{"exp": true, "nbf": true, "iat": true, "auth_time": true}

// claims copies a JSON text and replaces what is no name and no time.
func (k *Key) claims(text []byte) []byte {
	out := make([]byte, 0, 2*len(text))
	name := ""
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			end, _ := closing(text, i+1)
			raw := text[i+1 : end]
			i = end + 1
			if j := i + len(text[i:]) - len(bytes.TrimLeft(text[i:], " \t\r\n")); j < len(text) && text[j] == ':' {
				name = string(raw)
				out = append(append(append(out, '"'), raw...), '"')
				continue
			}
			out = append(append(append(out, '"'), k.replaceClaim(raw)...), '"')
		case c == '-' || c >= '0' && c <= '9':
			n := numberEnd(text[i:])
			if claimTimes[name] {
				out = append(out, text[i:i+n]...)
			} else {
				out = append(out, k.number(treatment{Credential, Token}, text[i:i+n])...)
			}
			i += n
		default:
			out = append(out, c)
			i++
		}
	}
	return out
}

func (k *Key) replaceClaim(raw []byte) []byte {
	if len(raw) == 0 || wire.IsToken(string(raw)) {
		return raw
	}
	return k.token(Credential, raw)
}
