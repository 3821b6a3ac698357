package http1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"tapedeck/events"
)

// Bounds of the client and the server side.
const (
	DefaultMaxHead = maxHead  // bytes of a start line with its fields
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
// side, which may wait for bytes; what is in them the dissector's code says.
type puller struct {
	r       *bufio.Reader
	maxHead int
	maxBody int64
	cut     bool // keep the first maxBody bytes of a longer body instead of refusing it
}

// line appends the bytes up to the next LF to b, bound bytes at most.
func (p *puller) line(b []byte, bound int) ([]byte, error) {
	for {
		part, err := p.r.ReadSlice('\n')
		if len(b)+len(part) > bound {
			return nil, refuse(431, "head is over the bound of %d bytes", bound)
		}
		b = append(b, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return b, unexpected(err)
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// lines reads up to and with the blank line.
func (p *puller) lines(bound int) ([]byte, error) {
	var b []byte
	for {
		before := len(b)
		var err error
		if b, err = p.line(b, bound); err != nil {
			return nil, err
		}
		if isBlank(b[before:]) {
			return b, nil
		}
	}
}

func isBlank(line []byte) bool { return len(line) == 1 || len(line) == 2 && line[0] == '\r' }

// framing says where a body ends.
type framing struct {
	kind   bodyKind
	length int64
}

func (f framing) none() bool { return f.kind == noBody || f.kind == lengthBody && f.length == 0 }

// request reads a request without its body. It is as strict as a proxy: what
// could be read in two ways is refused.
func (p *puller) request() (*events.Request, framing, error) {
	raw, err := p.lines(p.maxHead)
	for err == nil && isBlank(raw) { // RFC 9112, 2.2: empty lines before a request are skipped
		raw, err = p.lines(p.maxHead)
	}
	if err != nil {
		return nil, framing{}, err
	}
	h, err := parseHead(raw, false, true)
	if err != nil {
		return nil, framing{}, refuse(400, "%v", err)
	}
	kind, length, err := h.requestBody()
	switch {
	case errors.Is(err, errCoding):
		return nil, framing{}, refuse(501, "%v", err)
	case err != nil:
		return nil, framing{}, refuse(400, "%v", err)
	}
	r := &events.Request{Method: intern(h.first), Target: text(h.second), Version: intern(h.third), Headers: h.fields}
	r.Scheme, r.Host = "http", text(h.host)
	if scheme, rest, absolute := strings.Cut(r.Target, "://"); absolute && !strings.HasPrefix(r.Target, "/") {
		end := strings.IndexAny(rest+"/", "/?")
		r.Scheme, r.Host = strings.ToLower(scheme), rest[:end]
	}
	return r, framing{kind, length}, nil
}

// response reads the response to method without its body.
func (p *puller) response(method string) (*events.Response, framing, error) {
	raw, err := p.lines(p.maxHead)
	if err != nil {
		return nil, framing{}, err
	}
	h, err := parseHead(raw, true, false)
	if err != nil {
		return nil, framing{}, refuse(502, "%v", err)
	}
	kind, length := h.responseBody(method)
	return &events.Response{Version: intern(h.first), Status: intern(h.second), Reason: intern(h.third), Headers: h.fields}, framing{kind, length}, nil
}

// bodyless says that a response never has a body (RFC 9110, section 6.4.1).
func bodyless(method, status string) bool {
	return method == "HEAD" || status == "204" || status == "304" || strings.HasPrefix(status, "1")
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
	if f.kind == chunkedBody {
		trailers, err := b.chunks()
		return b.done(), trailers, err
	}
	err := b.plain(f)
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

func (b *bodyReader) plain(f framing) error {
	if f.kind == closeBody {
		return b.copyAll()
	}
	if f.length > b.maxBody && !b.cut {
		return refuse(413, "body of %d bytes is over the bound of %d", f.length, b.maxBody)
	}
	return b.copy(f.length)
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
		line, err := b.line(nil, maxChunkLine)
		if err != nil {
			return nil, err
		}
		size, err := chunkSizeOf(line, !b.cut)
		switch {
		case err != nil:
			return nil, refuse(400, "%v", err)
		case size == 0:
			return b.trailers()
		case size > b.maxBody-int64(len(b.body.Data)) && !b.cut:
			return nil, refuse(413, "body is over the bound of %d bytes", b.maxBody)
		}
		if err := b.copy(size); err != nil {
			return nil, err
		}
		if line, err = b.line(nil, 2); err != nil || !isBlank(line) {
			return nil, errors.Join(refuse(400, "%v", errChunkEnd), err)
		}
	}
}

func (b *bodyReader) trailers() ([]*events.Field, error) {
	raw, err := b.lines(maxTrailers)
	if err != nil {
		return nil, err
	}
	trailers, err := parseTrailers(raw)
	if err != nil {
		return nil, refuse(400, "%v", err)
	}
	return trailers, nil
}
