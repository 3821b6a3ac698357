package http1

import (
	"bytes"
	"net"
	"strings"
)

// rewrite is a head with its target in origin-form and without Proxy-* headers.
func rewrite(raw []byte, h *head, target string) []byte {
	out := make([]byte, 0, len(raw))
	out = append(out, h.first...)
	out = append(append(append(out, ' '), target...), ' ')
	out = append(append(out, h.third...), "\r\n"...)
	_, rest, _ := bytes.Cut(raw, []byte("\n"))
	for len(rest) > 0 {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if len(line) < len("Proxy-") || !strings.EqualFold(string(line[:len("Proxy-")]), "Proxy-") {
			out = append(out, rest[:len(rest)-len(after)]...)
		}
		rest = after
	}
	return out
}

// absoluteForm splits http://host[:port]/path?query.
func absoluteForm(target []byte) (authority, origin string, ok bool) {
	s := string(target)
	const scheme = "http://"
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return "", "", false
	}
	s = s[len(scheme):]
	host := s
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		host, origin = s[:i], s[i:]
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:] // for us, not for the origin
	}
	if !strings.HasPrefix(origin, "/") {
		origin = "/" + origin
	}
	authority, ok = withPort(host, "80")
	return authority, origin, ok
}

func withPort(host, port string) (string, bool) {
	if h, given, err := net.SplitHostPort(host); err == nil {
		return host, h != "" && allDigits([]byte(given)) && len(given) <= 5
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "" || strings.ContainsAny(host, "[]/ ") {
		return "", false
	}
	return net.JoinHostPort(host, port), true
}
