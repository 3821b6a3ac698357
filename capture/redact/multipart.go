package redact

import (
	"bytes"
	"mime"
)

// multipart redacts parts by their names and their own types; a part without a
// type is a form's value.
func (s scope) multipart(body []byte, contentType string) (out []byte, same bool) {
	_, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"]
	if err != nil || boundary == "" || len(boundary) > 256 {
		return s.text(body)
	}
	same = true
	line := []byte("--" + boundary)
	for {
		n := bytes.Index(body, line)
		if n < 0 {
			n = len(body)
		}
		part, kept := s.part(body[:n])
		out, same = append(out, part...), same && kept
		if n == len(body) {
			return out, same
		}
		out = append(out, line...)
		body = body[n+len(line):]
	}
}

// part is what stands between two boundaries: headers, an empty line, content.
func (s scope) part(part []byte) (out []byte, same bool) {
	head, content, ok := bytes.Cut(part, []byte("\r\n\r\n"))
	if !ok {
		return s.text(part) // before the first boundary, or behind the last
	}
	name, kind := partHead(head)
	if s.marks != nil {
		s.marks.name, s.marks.place = []byte(name), nil
	}
	newHead, keptHead := s.text(head)
	end := len(content) - len(bytes.TrimSuffix(content, []byte("\r\n")))
	inner := content[:len(content)-end]
	treat := s.named([]byte(name), inMultipart)
	var redacted []byte
	var kept bool
	if treat.class != None {
		redacted, kept = s.value(treat, inner)
	} else {
		if kind == "" {
			s.looked(inner)
		}
		redacted, kept = s.typed(kind, inner)
	}
	if kept && keptHead {
		return part, true
	}
	out = append(append(bytes.Clone(newHead), "\r\n\r\n"...), redacted...)
	return append(out, content[len(content)-end:]...), false
}

func partHead(head []byte) (name, kind string) {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		switch value := string(bytes.TrimSpace(value)); {
		case is(bytes.TrimSpace(key), "Content-Disposition"):
			if _, params, err := mime.ParseMediaType(value); err == nil {
				name = params["name"]
			}
		case is(bytes.TrimSpace(key), "Content-Type"):
			kind = value
		}
	}
	return name, kind
}

// typed redacts a whole content by its type.
func (s scope) typed(kind string, content []byte) (out []byte, same bool) {
	switch formOf(kind, content) {
	case formJSON, formXML:
		return s.text(content)
	case formPairs:
		return s.pairs(content)
	case formText:
		return s.text(content)
	case formProtobuf:
		return s.message(content, 0)
	}
	return s.bytes(content)
}
