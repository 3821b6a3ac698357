package redact

import (
	"net/url"
	"strings"
)

// target redacts userinfo and token-like query parameters of a request target
// or a URL; everything else stays as it was sent.
func (e *Engine) target(s string, m marker) string {
	s = e.userinfo(s, m)
	i := strings.IndexByte(s, '?')
	if i < 0 {
		return s
	}
	query, fragment := s[i+1:], ""
	if j := strings.IndexByte(query, '#'); j >= 0 {
		query, fragment = query[:j], query[j:]
	}
	redacted := e.query(query, m.at(m.place+".query"))
	if redacted == query {
		return s
	}
	return s[:i+1] + redacted + fragment
}

func (e *Engine) query(query string, m marker) string {
	if !strings.Contains(query, "=") {
		return query
	}
	pairs := strings.Split(query, "&")
	changed := false
	for i, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" || !Credential([]byte(unescape(name))) {
			continue
		}
		// The token of what is meant, as in a header or a body.
		token := string(e.key.Token([]byte(unescape(value))))
		if token != value {
			pairs[i], changed = name+"="+token, true
			m.mark(unescape(name))
		}
	}
	if !changed {
		return query
	}
	return strings.Join(pairs, "&")
}

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// userinfo redacts user:password@ behind a scheme; the user's name is part of
// the credential.
func (e *Engine) userinfo(s string, m marker) string {
	scheme := strings.Index(s, "://")
	if scheme < 0 || strings.ContainsAny(s[:scheme], "/?#") {
		return s
	}
	start := scheme + len("://")
	end := len(s)
	if i := strings.IndexAny(s[start:], "/?#>"); i >= 0 {
		end = start + i
	}
	at := strings.LastIndexByte(s[start:end], '@')
	if at < 0 {
		return s
	}
	info := s[start : start+at]
	token := string(e.key.Token([]byte(info)))
	if token == info {
		return s
	}
	m.mark("userinfo")
	return s[:start] + token + s[start+at:]
}
