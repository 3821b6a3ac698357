package http1

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"tapedeck/events"
)

// head is a parsed head. Everything in it is the head's own copy.
type head struct {
	first, second, third []byte // method target version, or version status reason
	fields               []*events.Field

	lengths    int   // Content-Length fields
	length     int64 // their value
	codings    int   // Transfer-Encoding fields
	lastCoding []byte
	upgrade    bool // an Upgrade field
	host       []byte
}

var (
	errStartLine = errors.New("start line is not HTTP/1.x")
	errField     = errors.New("header line without a name and a colon")
	errLength    = errors.New("Content-Length is no number or there are two")
	errCoding    = errors.New("Transfer-Encoding of a request does not end with chunked")
	errAmbiguous = errors.New("header that two parsers could read in two ways")
)

// parseHead reads a whole head with its blank line. strict refuses what the
// next parser on the way could read in another way: bare LF, folded lines,
// blanks around names, control bytes, Content-Length beside Transfer-Encoding.
// With an error it returns what it could read.
func parseHead(raw []byte, response, strict bool) (head, error) {
	var h head
	raw = bytes.Clone(raw)
	line, rest, err := cutLine(raw, strict)
	if err != nil {
		return h, err
	}
	if err := h.startLine(line, response, strict); err != nil {
		return h, err
	}
	if err := h.parseFields(rest, strict); err != nil {
		return h, err
	}
	if strict && h.lengths > 0 && h.codings > 0 {
		return h, errAmbiguous
	}
	return h, nil
}

func cutLine(b []byte, strict bool) (line, rest []byte, err error) {
	line, rest, _ = bytes.Cut(b, []byte("\n"))
	if trimmed, crlf := bytes.CutSuffix(line, []byte("\r")); crlf {
		line = trimmed
	} else if strict {
		return nil, nil, errAmbiguous
	}
	return line, rest, nil
}

// startLine cuts at the first and, in a request, at the last blank: a target
// with blanks in it is kept as it is.
func (h *head) startLine(line []byte, response, strict bool) error {
	first, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return errStartLine
	}
	if response {
		h.first = first
		h.second, h.third, _ = bytes.Cut(rest, []byte(" "))
		if !isVersion(h.first) || len(h.second) != 3 || !allDigits(h.second) || h.second[0] == '0' {
			return errStartLine
		}
		return nil
	}
	i := bytes.LastIndexByte(rest, ' ')
	if i < 0 {
		return errStartLine
	}
	if len(first) == 0 || i == 0 || !isVersion(rest[i+1:]) {
		return errStartLine
	}
	h.first, h.second, h.third = first, rest[:i], rest[i+1:]
	if strict && (!tokenBytes(h.first) || !visible(h.second) || string(h.third) != "HTTP/1.1" && string(h.third) != "HTTP/1.0") {
		return errAmbiguous
	}
	return nil
}

func isVersion(b []byte) bool {
	return len(b) == 8 && string(b[:7]) == "HTTP/1." && b[7] >= '0' && b[7] <= '9'
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

func visible(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// tokenBytes says that b is a token (RFC 9110, 5.6.2).
func tokenBytes(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return len(b) > 0
}

func (h *head) parseFields(b []byte, strict bool) error {
	n := bytes.Count(b, []byte("\n"))
	slab := make([]events.Field, n) // one allocation for all fields
	h.fields = make([]*events.Field, 0, n)
	for len(b) > 0 {
		line, rest, err := cutLine(b, strict)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			break // the blank line
		}
		if line[0] == ' ' || line[0] == '\t' {
			if err := h.fold(b, line, strict); err != nil {
				return err
			}
			b = rest
			continue
		}
		f := &slab[len(h.fields)]
		if err := readField(f, line, strict); err != nil {
			return err
		}
		h.fields = append(h.fields, f)
		b = rest
	}
	return h.noteFields()
}

// fold extends the last value over a folded line, the break included: it lies
// behind it in the same bytes (obs-fold, RFC 9112, 5.2).
func (h *head) fold(b, line []byte, strict bool) error {
	if strict || len(h.fields) == 0 {
		return errField
	}
	last := h.fields[len(h.fields)-1]
	value := bytes.TrimLeft(bytes.TrimRight(line, " \t"), " \t")
	folded := append(bytes.Clone(last.Value), "\r\n "...)
	last.Value = append(folded, value...)
	return nil
}

func readField(f *events.Field, line []byte, strict bool) error {
	i := bytes.IndexByte(line, ':')
	if i <= 0 {
		return errField
	}
	f.Name = line[:i:i]
	value := bytes.Trim(line[i+1:], " \t")
	f.Value = value[:len(value):len(value)]
	if strict && (!tokenBytes(f.Name) || bytes.ContainsAny(f.Value, "\r\x00")) {
		return errAmbiguous
	}
	return nil
}

// noteFields picks what the framing depends on.
func (h *head) noteFields() error {
	for _, f := range h.fields {
		switch name := bytes.TrimSpace(f.Name); len(name) {
		case 4:
			if h.host == nil && bytes.EqualFold(name, []byte("Host")) {
				h.host = f.Value
			}
		case 7:
			h.upgrade = h.upgrade || bytes.EqualFold(name, []byte("Upgrade"))
		case 14:
			if bytes.EqualFold(name, []byte("Content-Length")) {
				if err := h.noteLength(f); err != nil {
					return err
				}
			}
		case 17:
			if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
				h.codings++
				_, last := lastElement(f.Value)
				h.lastCoding = last
				if len(name) != len(f.Name) {
					return errAmbiguous
				}
			}
		}
	}
	return nil
}

// noteLength accepts equal values given twice (RFC 9110, 8.6), nothing else.
func (h *head) noteLength(f *events.Field) error {
	if len(f.Name) != len("Content-Length") {
		return errAmbiguous // a blank before the colon
	}
	for element := range bytes.SplitSeq(f.Value, []byte(",")) {
		element = bytes.TrimSpace(element)
		if !allDigits(element) || len(element) > 18 {
			return errLength
		}
		var n int64
		for _, c := range element {
			n = n*10 + int64(c-'0')
		}
		if h.lengths > 0 && n != h.length {
			return errLength
		}
		h.lengths, h.length = h.lengths+1, n
	}
	return nil
}

func lastElement(list []byte) (before, last []byte) {
	i := bytes.LastIndexByte(list, ',')
	return list[:max(i, 0)], bytes.TrimSpace(list[i+1:])
}

func (h *head) chunked() bool {
	return h.codings > 0 && bytes.EqualFold(h.lastCoding, []byte("chunked"))
}

// requestBody says how the body of a request is delimited (RFC 9112, 6.3).
func (h *head) requestBody() (bodyKind, int64, error) {
	switch {
	case h.chunked():
		return chunkedBody, 0, nil
	case h.codings > 0:
		return 0, 0, errCoding
	case h.lengths > 0:
		return lengthBody, h.length, nil
	}
	return noBody, 0, nil
}

// responseBody says how the body of a response to method is delimited.
func (h *head) responseBody(method string) (bodyKind, int64) {
	status := string(h.second)
	switch {
	case method == "HEAD", status[0] == '1', status == "204", status == "304":
		return noBody, 0
	case h.chunked():
		return chunkedBody, 0
	case h.codings > 0:
		return closeBody, 0
	case h.lengths > 0:
		return lengthBody, h.length
	}
	return closeBody, 0
}

// parseTrailers reads trailer lines with their blank line.
func parseTrailers(raw []byte) ([]*events.Field, error) {
	if len(raw) <= 2 { // nothing but the blank line
		return nil, nil
	}
	h := &head{}
	if err := h.parseFields(bytes.Clone(raw), false); err != nil {
		return nil, fmt.Errorf("trailers: %w", err)
	}
	return h.fields, nil
}

// common spares the strings that nearly every message has.
var common = map[string]string{}

func init() {
	for _, s := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "HTTP/1.1", "HTTP/1.0",
		"200", "201", "202", "204", "206", "301", "302", "304", "400", "401", "403", "404", "409", "412", "422", "429", "500", "502", "503", "504",
		"OK", "Created", "No Content", "Not Found", "Not Modified", "Bad Request", "Internal Server Error"} {
		common[s] = s
	}
}

func intern(b []byte) string {
	if s, ok := common[string(b)]; ok {
		return s
	}
	return text(b)
}
