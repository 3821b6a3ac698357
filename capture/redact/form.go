package redact

import (
	"bytes"
	"net/url"
)

// pairs redacts name=value pairs between ampersands: a query or a form.
func (s scope) pairs(text []byte) (out []byte, same bool) {
	same = true
	for i, pair := range bytes.Split(text, []byte("&")) {
		if i > 0 {
			out = append(out, '&')
		}
		kept := true
		if redacted, k := s.pair(pair); !k {
			pair, kept = redacted, false
		}
		out, same = append(out, pair...), same && kept
	}
	if same {
		return text, true
	}
	return out, false
}

func (s scope) pair(pair []byte) (out []byte, same bool) {
	name, value, ok := bytes.Cut(pair, []byte("="))
	if !ok {
		return s.plus(pair)
	}
	plain := unplus(name)
	if s.marks != nil {
		s.marks.place = func() string { return string(plain) }
	}
	treat := s.named(plain, s.at)
	redacted, kept := s.value(treat, unplus(value))
	shown, keptName := s.plus(name)
	if kept && keptName {
		return pair, true
	}
	if !kept {
		value = []byte(url.QueryEscape(string(redacted)))
	}
	return append(append(bytes.Clone(shown), '='), value...), false
}

// plus redacts what is found in an encoded text.
func (s scope) plus(text []byte) (out []byte, same bool) {
	redacted, same := s.text(unplus(text))
	if same {
		return text, true
	}
	return []byte(url.QueryEscape(string(redacted))), false
}

func unplus(s []byte) []byte {
	if bytes.IndexByte(s, '%') < 0 && bytes.IndexByte(s, '+') < 0 {
		return s
	}
	plain, _ := unpercent(bytes.ReplaceAll(s, []byte("+"), []byte(" ")))
	return plain
}
