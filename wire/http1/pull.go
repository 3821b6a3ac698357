package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tapedeck/events"
)

// Bounds of the client and the server side.
const (
	DefaultMaxHead = 1 << 20  // bytes of a start line with its fields
	DefaultMaxBody = 64 << 20 // bytes of a body
)

// refusal is a message that cannot be accepted, with the status that a server
// answers it with.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// puller reads whole messages from a connection for the client and the server
// side. Unlike the dissector it may wait for bytes, and is plain code for it.
type puller struct {
	r       *bufio.Reader
	maxHead int
	maxBody int64
	cut     bool // keep the first maxBody bytes of a longer body instead of refusing it
}

// line reads up to the next LF and returns it without the line's end; budget
// is what is left of the head's bound.
func (p *puller) line(budget *int) (string, error) {
	var long []byte
	for {
		part, err := p.r.ReadSlice('\n')
		if *budget -= len(part); *budget < 0 {
			return "", refuse(431, "head is over the bound of %d bytes", p.maxHead)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			continue
		}
		if err != nil {
			return "", unexpected(err)
		}
		if long != nil {
			part = append(long, part...)
		}
		part = bytes.TrimSuffix(part[:len(part)-1], []byte{'\r'})
		if bytes.ContainsAny(part, "\r\x00") { // RFC 9112, 2.2 and RFC 9110, 5.5
			return "", refuse(400, "line %.60q has a bare CR or a NUL", part)
		}
		return string(part), nil
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fields reads header or trailer fields up to the empty line, in their order,
// letter case and number (RFC 9112, section 5).
func (p *puller) fields(budget *int) ([]*events.Field, error) {
	var fields []*events.Field
	for {
		line, err := p.line(budget)
		if err != nil {
			return nil, err
		}
		if line == "" {
			return fields, nil
		}
		if line[0] == ' ' || line[0] == '\t' { // obs-fold
			if len(fields) == 0 {
				return nil, refuse(400, "the first header line begins with a space")
			}
			last := fields[len(fields)-1]
			last.Value = bytes.Trim(append(append(last.Value, ' '), line...), " \t")
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if !found || !isToken(name) {
			return nil, refuse(400, "header line %.60q is no field", line)
		}
		fields = append(fields, &events.Field{Name: []byte(name), Value: []byte(strings.Trim(value, " \t"))})
	}
}

// isToken says that s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letterOrDigit := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letterOrDigit && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// request reads a request without its body.
func (p *puller) request() (*events.Request, error) {
	budget := p.maxHead
	line, err := p.line(&budget)
	for err == nil && line == "" { // RFC 9112, 2.2: empty lines before a request are skipped
		line, err = p.line(&budget)
	}
	if err != nil {
		return nil, err
	}
	method, rest, _ := strings.Cut(line, " ")
	rest = text([]byte(rest)) // a target is a string of UTF-8 in a tape
	end := strings.LastIndexByte(rest, ' ')
	if !isToken(method) || end < 1 {
		return nil, refuse(400, "request line %.60q is not: method target version", line)
	}
	target, version := rest[:end], rest[end+1:]
	if version != "HTTP/1.1" && version != "HTTP/1.0" {
		return nil, refuse(505, "version %.20q is not HTTP/1.1", version)
	}
	fields, err := p.fields(&budget)
	if err != nil {
		return nil, err
	}
	r := &events.Request{Method: method, Target: target, Version: version, Headers: fields}
	r.Scheme, r.Host = authority(target, fields)
	return r, nil
}

// authority is the scheme and host that a request names: those of an absolute
// target, else the Host header.
func authority(target string, fields []*events.Field) (scheme, host string) {
	scheme, rest, absolute := strings.Cut(target, "://")
	if absolute && !strings.HasPrefix(target, "/") {
		host, _, _ = strings.Cut(rest, "/")
		host, _, _ = strings.Cut(host, "?")
		return strings.ToLower(scheme), host
	}
	return "http", events.HeaderValue(fields, "Host")
}

// response reads a response without its body.
func (p *puller) response() (*events.Response, error) {
	budget := p.maxHead
	line, err := p.line(&budget)
	if err != nil {
		return nil, err
	}
	version, rest, _ := strings.Cut(line, " ")
	status, reason, _ := strings.Cut(rest, " ")
	if code, err := strconv.Atoi(status); err != nil || code < 100 || code > 999 || !strings.HasPrefix(version, "HTTP/1.") {
		return nil, refuse(502, "status line %.60q is not: version status reason", line)
	}
	fields, err := p.fields(&budget)
	if err != nil {
		return nil, err
	}
	return &events.Response{Version: version, Status: status, Reason: text([]byte(reason)), Headers: fields}, nil
}

// framing says where a body ends (RFC 9112, section 6.3).
type framing struct {
	chunked bool
	length  int64 // untilClose: with the connection
}

const untilClose = -1

func (f framing) none() bool { return !f.chunked && f.length == 0 }

func requestFraming(fields []*events.Field) (framing, error) {
	coding, length, err := declaredFraming(fields)
	switch {
	case err != nil:
		return framing{}, err
	case coding == "" && length < 0:
		return framing{}, nil
	case coding == "":
		return framing{length: length}, nil
	case length >= 0:
		// Two answers to where the body ends: request smuggling.
		return framing{}, refuse(400, "both Transfer-Encoding and Content-Length")
	case !strings.EqualFold(coding, "chunked"):
		return framing{}, refuse(501, "transfer coding %.40q is not chunked", coding)
	}
	return framing{chunked: true}, nil
}

func responseFraming(method, status string, fields []*events.Field) (framing, error) {
	if bodyless(method, status) {
		return framing{}, nil
	}
	coding, length, err := declaredFraming(fields)
	switch {
	case err != nil:
		return framing{}, err
	case lastCoding(coding) == "chunked":
		return framing{chunked: true}, nil
	case coding != "" || length < 0:
		return framing{length: untilClose}, nil
	}
	return framing{length: length}, nil
}

// bodyless says that a response never has a body (RFC 9110, section 6.4.1).
func bodyless(method, status string) bool {
	return method == "HEAD" || status == "204" || status == "304" || strings.HasPrefix(status, "1")
}

func lastCoding(codings string) string {
	return strings.ToLower(strings.TrimSpace(codings[strings.LastIndexByte(codings, ',')+1:]))
}

// declaredFraming reads Transfer-Encoding and Content-Length; length is -1
// without one.
func declaredFraming(fields []*events.Field) (coding string, length int64, err error) {
	length = -1
	for _, f := range fields {
		switch {
		case nameIs(f, "Transfer-Encoding"):
			if len(f.Value) == 0 {
				return "", 0, refuse(400, "an empty Transfer-Encoding")
			}
			coding = strings.TrimPrefix(coding+", "+string(f.Value), ", ")
		case nameIs(f, "Content-Length"):
			n, err := strconv.ParseUint(string(f.Value), 10, 63)
			if err != nil || length >= 0 && length != int64(n) {
				return "", 0, refuse(400, "Content-Length %.40q", f.Value)
			}
			length = int64(n)
		}
	}
	return coding, length, nil
}

func nameIs(f *events.Field, name string) bool {
	return len(f.Name) == len(name) && strings.EqualFold(string(f.Name), name)
}

// body reads a body with its trailers. With cut, bytes beyond the bound are
// read and counted, but not kept.
func (p *puller) body(f framing) (*events.Body, []*events.Field, error) {
	if f.none() {
		return &events.Body{}, nil, nil
	}
	b := &bodyReader{puller: p}
	if f.chunked {
		trailers, err := b.chunks()
		return b.done(), trailers, err
	}
	err := b.plain(f.length)
	return b.done(), nil, err
}

type bodyReader struct {
	*puller
	body events.Body
}

func (b *bodyReader) done() *events.Body {
	b.body.Kept = int64(len(b.body.Data))
	return &b.body
}

func (b *bodyReader) plain(length int64) error {
	if length == untilClose {
		return b.copyAll()
	}
	if length > b.maxBody && !b.cut {
		return refuse(413, "body of %d bytes is over the bound of %d", length, b.maxBody)
	}
	return b.copy(length)
}

// copy reads n bytes. Memory grows with what came, not with what was declared.
func (b *bodyReader) copy(n int64) error {
	const step = 1 << 20
	for n > 0 {
		part := int(min(n, step))
		if keep := b.maxBody - int64(len(b.body.Data)); keep < int64(part) {
			part = int(keep)
		}
		if part == 0 {
			return b.skip(n)
		}
		at := len(b.body.Data)
		b.body.Data = append(b.body.Data, make([]byte, part)...)
		got, err := io.ReadFull(b.r, b.body.Data[at:])
		b.body.Data = b.body.Data[:at+got]
		b.body.Size += int64(got)
		n -= int64(got)
		if err != nil {
			return unexpected(err)
		}
	}
	return nil
}

func (b *bodyReader) skip(n int64) error {
	if !b.cut {
		return refuse(413, "body is over the bound of %d bytes", b.maxBody)
	}
	skipped, err := io.CopyN(io.Discard, b.r, n)
	b.body.Size += skipped
	return unexpected(err)
}

func (b *bodyReader) copyAll() error {
	kept, err := io.ReadAll(io.LimitReader(b.r, b.maxBody))
	b.body.Data, b.body.Size = kept, int64(len(kept))
	if err != nil {
		return err
	}
	rest, err := io.Copy(io.Discard, b.r)
	b.body.Size += rest
	return err
}

// chunks reads a chunked body and its trailers (RFC 9112, section 7.1).
func (b *bodyReader) chunks() ([]*events.Field, error) {
	for {
		budget := 4096
		line, err := b.line(&budget)
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(line, ";")
		size, err := strconv.ParseUint(strings.TrimRight(digits, " \t"), 16, 62)
		if err != nil {
			return nil, refuse(400, "chunk size %.40q", line)
		}
		if size == 0 {
			budget = b.maxHead
			return b.fields(&budget)
		}
		if int64(size) > b.maxBody-int64(len(b.body.Data)) && !b.cut {
			return nil, refuse(413, "body is over the bound of %d bytes", b.maxBody)
		}
		if err := b.copy(int64(size)); err != nil {
			return nil, err
		}
		budget = 2
		if line, err = b.line(&budget); err != nil || line != "" {
			return nil, errors.Join(refuse(400, "chunk of %d bytes is longer than it says", size), err)
		}
	}
}
