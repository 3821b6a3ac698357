package http1

import (
	"bytes"
	"errors"
)

// Bounds of what the parser gathers before it understands it. A tape's
// exchange with two heads and two bodies stays below NATS' max_payload.
const (
	maxHead      = 128 << 10
	maxTrailers  = 16 << 10
	maxChunkLine = 4 << 10
)

// found is what a step of the parser came to.
type found uint8

const (
	more    found = iota // all bytes are consumed; nothing is whole yet
	gotHead              // parser.head is a whole head; frame must be called before the next step
	gotBody              // parser.data are body bytes, without the transfer coding
	gotEnd               // the message is complete; parser.trailers are its trailer lines
	gotBad               // parser.err says why no more can be understood
)

type parserState uint8

const (
	inHead parserState = iota
	inFraming
	inLength
	inUntilClose
	inChunkLine
	inChunk
	inChunkEnd
	inTrailers
	inEnd
	inNothing // dead after gotBad
)

// bodyKind is how the end of a body is found (RFC 9112, 6.3).
type bodyKind uint8

const (
	noBody bodyKind = iota
	lengthBody
	chunkedBody
	closeBody // a response that ends with its connection
)

var (
	errHeadSize    = errors.New("head is longer than 128 KiB")
	errTrailerLine = errors.New("trailer that two parsers could read in two ways")
	errTrailers    = errors.New("trailers are longer than 16 KiB")
	errChunkLine   = errors.New("chunk size is no number")
	errChunkEnd    = errors.New("chunk is longer than its size")
	errChunkTotal  = errors.New("chunk size is too large")
)

// parser finds the messages in the bytes of one side of a connection. However
// the bytes are split, it finds the same.
type parser struct {
	strict  bool // refuse what two parsers could read in two ways: for the proxy, which is one
	state   parserState
	chunked bool
	remain  int64  // of the body or chunk
	buf     []byte // head, line or trailers as far as they came
	line    int    // where the unfinished line begins in buf

	head     []byte // whole, with its blank line; valid until the next step
	data     []byte
	trailers []byte
	err      error
}

// reset forgets what is under way.
func (p *parser) reset() { *p = parser{strict: p.strict} }

// next takes a step into b and returns how many bytes it consumed.
func (p *parser) next(b []byte) (int, found) {
	switch p.state {
	case inHead:
		return p.nextHead(b)
	case inLength, inUntilClose, inChunk:
		return p.nextBody(b)
	case inChunkLine:
		return p.nextChunkLine(b)
	case inChunkEnd:
		return p.nextChunkEnd(b)
	case inTrailers:
		return p.nextTrailers(b)
	case inEnd:
		p.state = inHead
		return 0, gotEnd
	}
	return len(b), more
}

// frame says how the body after the head is delimited.
func (p *parser) frame(kind bodyKind, length int64) {
	p.buf, p.line, p.trailers, p.chunked = p.buf[:0], 0, nil, kind == chunkedBody
	if cap(p.buf) > 8<<10 { // a long head was an exception
		p.buf = nil
	}
	switch {
	case kind == lengthBody && length > 0:
		p.state, p.remain = inLength, length
	case kind == chunkedBody:
		p.state = inChunkLine
	case kind == closeBody:
		p.state = inUntilClose
	default:
		p.state = inEnd
	}
}

// begun says that a message is under way.
func (p *parser) begun() bool { return p.state != inHead || len(p.buf) > 0 }

func (p *parser) bad(err error) found {
	p.state, p.err = inNothing, err
	return gotBad
}

func (p *parser) nextHead(b []byte) (int, found) {
	if len(p.buf) == 0 {
		// The usual case: a whole head in one read, which is not copied.
		end, line := scanLines(b, 0)
		if end > 0 {
			return p.gotHead(b[:end], end)
		}
		if len(b) > maxHead {
			return len(b), p.bad(errHeadSize)
		}
		p.buf, p.line = append(p.buf, b...), line
		return len(b), more
	}
	before := len(p.buf)
	b = b[:min(len(b), maxHead+1-before)]
	p.buf = append(p.buf, b...)
	end, line := scanLines(p.buf, p.line)
	if end > 0 {
		return p.gotHead(p.buf[:end], end-before)
	}
	if len(p.buf) > maxHead {
		return len(b), p.bad(errHeadSize)
	}
	p.line = line
	return len(b), more
}

func (p *parser) gotHead(head []byte, consumed int) (int, found) {
	if len(head) > maxHead {
		return consumed, p.bad(errHeadSize)
	}
	p.head, p.state = head, inFraming
	return consumed, gotHead
}

// scanLines looks for the blank line that ends a head or trailers, from the
// line that begins at line. It returns where the text behind the blank line
// begins, or 0 and where the unfinished line begins.
func scanLines(b []byte, line int) (end, unfinished int) {
	for {
		i := bytes.IndexByte(b[line:], '\n')
		if i < 0 {
			return 0, line
		}
		if i == 0 || i == 1 && b[line] == '\r' {
			return line + i + 1, line
		}
		line += i + 1
	}
}

func (p *parser) nextBody(b []byte) (int, found) {
	if len(b) == 0 {
		return 0, more
	}
	if p.state == inUntilClose {
		p.data = b
		return len(b), gotBody
	}
	n := int(min(int64(len(b)), p.remain))
	p.data, p.remain = b[:n], p.remain-int64(n)
	if p.remain == 0 {
		p.state = inEnd
		if p.chunked {
			p.state = inChunkEnd
		}
	}
	return n, gotBody
}

// collect gathers a line into buf; whole says that it ends in b.
func (p *parser) collect(b []byte, limit int) (n int, whole bool) {
	i := bytes.IndexByte(b, '\n')
	n = len(b)
	if i >= 0 {
		n = i + 1
	}
	n = min(n, limit+1-len(p.buf))
	p.buf = append(p.buf, b[:n]...)
	return n, len(p.buf) > 0 && p.buf[len(p.buf)-1] == '\n'
}

func (p *parser) nextChunkLine(b []byte) (int, found) {
	n, whole := p.collect(b, maxChunkLine)
	if !whole {
		if len(p.buf) > maxChunkLine {
			return n, p.bad(errChunkLine)
		}
		return n, more
	}
	size, err := chunkSizeOf(p.buf, p.strict)
	p.buf, p.line = p.buf[:0], 0
	switch {
	case err != nil:
		return n, p.bad(err)
	case size == 0:
		p.state = inTrailers
	default:
		p.state, p.remain = inChunk, size
	}
	return n, more
}

// chunkSizeOf reads hex digits up to blanks, a ';' with extensions, or the end
// of the line (RFC 9112, 7.1).
func chunkSizeOf(line []byte, strict bool) (int64, error) {
	if strict && !bytes.HasSuffix(line, []byte("\r\n")) {
		return 0, errChunkLine
	}
	line = bytes.TrimRight(line, "\r\n")
	digits, extension, _ := bytes.Cut(line, []byte(";"))
	if strict && bytes.ContainsAny(extension, "\r\n\x00") {
		return 0, errChunkLine
	}
	if !strict {
		digits = bytes.TrimSpace(digits)
	}
	if len(digits) == 0 {
		return 0, errChunkLine
	}
	var size int64
	for _, c := range digits {
		v := hexValue(c)
		if v < 0 {
			return 0, errChunkLine
		}
		if size > 1<<55 {
			return 0, errChunkTotal
		}
		size = size<<4 | int64(v)
	}
	return size, nil
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func (p *parser) nextChunkEnd(b []byte) (int, found) {
	for i, c := range b {
		switch {
		case c == '\n' && (!p.strict || len(p.buf) == 1):
			p.buf, p.state = p.buf[:0], inChunkLine
			return i + 1, more
		case c == '\r' && len(p.buf) == 0:
			p.buf = append(p.buf, c)
		default:
			return i, p.bad(errChunkEnd)
		}
	}
	return len(b), more
}

func (p *parser) nextTrailers(b []byte) (int, found) {
	before := len(p.buf)
	b = b[:min(len(b), maxTrailers+1-before)]
	p.buf = append(p.buf, b...)
	end, line := scanLines(p.buf, p.line)
	switch {
	case end > 0 && p.strict && (&head{}).parseFields(p.buf[:end], true) != nil:
		return end - before, p.bad(errTrailerLine)
	case end > 0:
		p.trailers = p.buf[:end]
		p.buf, p.line, p.state = p.buf[end:end], 0, inHead
		return end - before, gotEnd
	case len(p.buf) > maxTrailers:
		return len(b), p.bad(errTrailers)
	}
	p.line = line
	return len(b), more
}
