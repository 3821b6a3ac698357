package redact

import (
	"bytes"
	"net/url"
)

// pairs redacts name=value pairs between ampersands: a query or a form.
func (s scope) pairs(text []byte) (out []byte, same bool) {
	done := 0
	for from := 0; from <= len(text); {
		to := bytes.IndexByte(text[from:], '&')
		if to < 0 {
			to = len(text) - from
		}
		to += from
		if redacted, kept := s.pair(text[from:to]); !kept {
			out = append(append(out, text[done:from]...), redacted...)
			done = to
		}
		from = to + 1
	}
	if out == nil {
		return text, true
	}
	return append(out, text[done:]...), false
}

func (s scope) pair(pair []byte) (out []byte, same bool) {
	name, value, ok := bytes.Cut(pair, []byte("="))
	if !ok {
		if s.marks != nil {
			s.marks.name, s.marks.place = nil, nil
		}
		return s.plus(pair)
	}
	plain := unplus(name)
	if s.marks != nil {
		s.marks.name, s.marks.place = plain, nil
	}
	treat := s.named(plain, s.at)
	if treat.class == None {
		s.looked(value)
	}
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
