package mocksrv

import (
	"bytes"
	"strings"

	"tapedeck/events"
)

// nameOneself replaces the address by which the recorded dependency was called
// by the one that the mock is called by, where the answer is made of URLs to
// itself: a client that follows one must not leave the mock.
func nameOneself(r *events.Response, recorded, live string) {
	if recorded == "" || live == "" || strings.EqualFold(recorded, live) {
		return
	}
	old, now := []byte("://"+recorded), []byte("://"+live)
	for _, f := range r.Headers {
		if isHeader(f, "Location") || isHeader(f, "Content-Location") || isHeader(f, "Link") {
			f.Value = replaceAuthority(f.Value, old, now)
		}
	}
	if b := r.Body; b != nil && isText(r.Headers) {
		b.Data = replaceAuthority(b.Data, old, now)
		b.Size, b.Kept = int64(len(b.Data)), int64(len(b.Data))
	}
}

// replaceAuthority replaces whole authorities: "://a:40" is not in "://a:4000".
func replaceAuthority(text, old, now []byte) []byte {
	if !bytes.Contains(text, old) {
		return text
	}
	var out []byte
	for {
		before, rest, found := bytes.Cut(text, old)
		out = append(out, before...)
		if !found {
			return out
		}
		if len(rest) > 0 && (isNameByte(rest[0]) || rest[0] == ':') {
			out = append(out, old...)
		} else {
			out = append(out, now...)
		}
		text = rest
	}
}

func isNameByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '-' || c == '_'
}

func isHeader(f *events.Field, name string) bool { return strings.EqualFold(string(f.Name), name) }

// isText says that a body can be looked into as it is.
func isText(headers []*events.Field) bool {
	if events.HeaderValue(headers, "Content-Encoding") != "" {
		return false
	}
	kind := strings.ToLower(events.HeaderValue(headers, "Content-Type"))
	return strings.HasPrefix(kind, "text/") || strings.Contains(kind, "json") || strings.Contains(kind, "xml")
}
