package redact

import "bytes"

// target redacts a request target or a URL: userinfo, the path's segments, the
// query, and a fragment as a query. Everything else stays as it was sent.
func (s scope) target(target []byte) (out []byte, same bool) {
	rest, fragment, hasFragment := bytes.Cut(target, []byte("#"))
	path, query, hasQuery := bytes.Cut(rest, []byte("?"))
	path, same = s.userinfo(path)
	out = make([]byte, 0, len(target)+64)
	if path2, kept := s.within("path", inPath).text(path); !kept {
		path, same = path2, false
	}
	if path2, kept := s.segments(path); !kept {
		path, same = path2, false
	}
	out = append(out, path...)
	if hasQuery {
		redacted, kept := s.within("query", inQuery).pairs(query)
		out, same = append(append(out, '?'), redacted...), same && kept
	}
	if hasFragment {
		redacted, kept := s.within("fragment", inQuery).fragment(fragment)
		out, same = append(append(out, '#'), redacted...), same && kept
	}
	if same {
		return target, true
	}
	return out, false
}

// segments opens those of a path that are base64.
func (s scope) segments(path []byte) (out []byte, same bool) {
	if !s.full {
		return path, true
	}
	done := 0
	for from := 0; from < len(path); {
		to := len(path)
		if n := bytes.IndexByte(path[from:], '/'); n >= 0 {
			to = from + n
		}
		if segment := path[from:to]; len(segment) >= 8 && opensText(segment[:8]) {
			if opened, kept := s.base64(segment); !kept {
				out = append(append(out, path[done:from]...), opened...)
				done = to
			}
		}
		from = to + 1
	}
	if done == 0 {
		return path, true
	}
	return append(out, path[done:]...), false
}

func (s scope) fragment(text []byte) (out []byte, same bool) {
	if bytes.IndexByte(text, '=') > 0 {
		return s.pairs(text)
	}
	return s.text(text)
}

// within is the scope of a part; its marks come below the part's name.
func (s scope) within(part string, at location) scope {
	s.at = at
	if s.marks != nil {
		s.marks.name, s.marks.place, s.marks.part = nil, nil, part
	}
	return s
}

// userinfo redacts user:password@ behind a scheme; the user's name is part of
// the credential.
func (s scope) userinfo(url []byte) (out []byte, same bool) {
	scheme := bytes.Index(url, []byte("://"))
	if scheme < 0 || bytes.ContainsAny(url[:scheme], "/") {
		return url, true
	}
	start := scheme + len("://")
	end := len(url)
	if i := bytes.IndexAny(url[start:], "/>"); i >= 0 {
		end = start + i
	}
	at := bytes.LastIndexByte(url[start:end], '@')
	if at < 1 {
		return url, true
	}
	info, same := s.within("userinfo", inQuery).value(s.classes[Credential], url[start:start+at])
	if same {
		return url, true
	}
	return append(append(bytes.Clone(url[:start]), info...), url[start+at:]...), false
}
