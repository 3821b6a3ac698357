package http2

import (
	"encoding/binary"
	"errors"
)

const headerSize = 9

// The kinds of frames (RFC 9113, 6).
const (
	isData         = 0x0
	isHeaders      = 0x1
	isPriority     = 0x2
	isReset        = 0x3
	isSettings     = 0x4
	isPushPromise  = 0x5
	isPing         = 0x6
	isGoAway       = 0x7
	isWindowUpdate = 0x8
	isContinuation = 0x9
)

// The flags.
const (
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const streamMask = 1<<31 - 1

// frame is the header of a frame.
type frame struct {
	length int
	kind   byte
	flags  byte
	stream uint32
}

func readFrame(b [headerSize]byte) frame {
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   b[3], flags: b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & streamMask,
	}
}

func (f frame) has(flag byte) bool { return f.flags&flag != 0 }

// carriesHead says that the payload is a header block or a part of one.
func (f frame) carriesHead() bool {
	return f.kind == isHeaders || f.kind == isPushPromise || f.kind == isContinuation
}

// fixed is how many bytes of the payload stand before its content.
func (f frame) fixed() int {
	n := 0
	switch f.kind {
	case isReset:
		return 4
	case isGoAway:
		return 8
	case isHeaders:
		if f.has(flagPriority) {
			n = 5
		}
	case isPushPromise:
		n = 4
	case isData:
	default:
		return 0
	}
	if f.has(flagPadded) {
		n++
	}
	return n
}

func (f frame) padded() bool {
	return f.has(flagPadded) && (f.kind == isData || f.kind == isHeaders || f.kind == isPushPromise)
}

// found is what a step of the parser came to.
type found uint8

const (
	more     found = iota // all bytes are consumed
	gotFrame              // parser.frame and its fixed part are known
	gotData               // parser.data is content of the frame, without padding
	gotEnd                // the frame is complete
	gotBad                // parser.err says why no more can be understood
)

type parserState uint8

const (
	inPreface parserState = iota
	inHeader
	inFixed
	inContent
	inPadding
	inEnd
)

var (
	errPreface = errors.New("no preface")
	errShort   = errors.New("frame shorter than its kind needs")
	errPadding = errors.New("padding longer than its frame")
)

// parser finds the frames of one side. It holds no payload: content is handed
// on as it comes. However the bytes are split, it finds the same.
type parser struct {
	state  parserState
	have   int // bytes of preface, header or fixed part
	header [headerSize]byte
	frame  frame
	fixed  [8]byte
	remain int // content to come
	pad    int // padding to come

	data []byte
	err  error
}

// next takes a step into b and returns how many bytes it consumed.
func (p *parser) next(b []byte) (int, found) {
	switch p.state {
	case inPreface:
		return p.nextPreface(b)
	case inHeader:
		n := copy(p.header[p.have:], b)
		if p.have += n; p.have < headerSize {
			return n, more
		}
		p.frame, p.have = readFrame(p.header), 0
		if p.frame.length < p.frame.fixed() {
			return n, p.bad(errShort)
		}
		p.state = inFixed
		return n, p.begin()
	case inFixed:
		n := copy(p.fixed[p.have:p.frame.fixed()], b)
		p.have += n
		return n, p.begin()
	case inContent:
		n := min(len(b), p.remain)
		if n == 0 {
			return 0, more
		}
		p.data = b[:n]
		p.passed(n)
		return n, gotData
	case inPadding:
		n := min(len(b), p.pad)
		p.passed(n)
		return n, more
	}
	p.state, p.have = inHeader, 0
	return 0, gotEnd
}

func (p *parser) nextPreface(b []byte) (int, found) {
	n := min(len(b), len(preface)-p.have)
	if string(b[:n]) != preface[p.have:p.have+n] {
		return 0, p.bad(errPreface)
	}
	if p.have += n; p.have == len(preface) {
		p.state, p.have = inHeader, 0
	}
	return n, more
}

// begin is reached when the fixed part is whole.
func (p *parser) begin() found {
	need := p.frame.fixed()
	if p.have < need {
		return more
	}
	p.pad = 0
	if p.frame.padded() {
		p.pad = int(p.fixed[0])
	}
	if p.remain = p.frame.length - need - p.pad; p.remain < 0 {
		return p.bad(errPadding)
	}
	p.state = inContent
	p.passed(0)
	return gotFrame
}

// passed takes n bytes off what is left of the frame.
func (p *parser) passed(n int) {
	content := min(n, p.remain)
	p.remain -= content
	p.pad -= n - content
	switch {
	case p.remain > 0:
		p.state = inContent
	case p.pad > 0:
		p.state = inPadding
	default:
		p.state = inEnd
	}
}

// skip passes n bytes that are missing, when all of them belong to the rest of
// a frame that can do without them.
func (p *parser) skip(n int64) bool {
	if p.state != inContent && p.state != inPadding || p.frame.carriesHead() || n > int64(p.remain+p.pad) {
		return false
	}
	p.passed(int(n))
	return true
}

func (p *parser) bad(err error) found {
	p.err = err
	return gotBad
}

// restart begins with a frame.
func (p *parser) restart() { *p = parser{state: inHeader} }

// framed says that b, the bytes of one read, most likely begins with a frame:
// headers follow each other through all of it, and either the last frame ends
// with it or there were two.
func framed(b []byte) bool {
	for n := 0; ; n++ {
		switch {
		case len(b) == 0:
			return n > 0
		case len(b) < headerSize:
			return n > 1
		}
		f := readFrame([headerSize]byte(b))
		if !plausible(f, b[5]) {
			return false
		}
		if f.length > len(b)-headerSize {
			return n > 1
		}
		b = b[headerSize+f.length:]
	}
}

// usualFrame is the length that a frame has at most unless its receiver asked
// for more, which hardly any does.
const usualFrame = 16 << 10

func plausible(f frame, reserved byte) bool {
	if f.length > usualFrame || reserved>>7 != 0 || f.length < f.fixed() {
		return false
	}
	flags, length, connection := byte(0), -1, false
	switch f.kind {
	case isData:
		if flags = flagEndStream | flagPadded; f.length == 0 && f.flags&flagEndStream == 0 {
			return false // says nothing, and zeros look like it
		}
	case isHeaders:
		flags = flagEndStream | flagEndHeaders | flagPadded | flagPriority
	case isPriority:
		length = 5
	case isReset:
		length = 4
	case isSettings:
		if flags = flagEndStream; f.length%6 != 0 { // its ACK is the same bit
			return false
		}
		connection = true
	case isPing:
		flags, length, connection = flagEndStream, 8, true
	case isGoAway:
		connection = true
	case isWindowUpdate:
		length, connection = 4, f.stream == 0
	default:
		return false // PUSH_PROMISE is rare, CONTINUATION no place to begin at
	}
	return f.flags&^flags == 0 && (length < 0 || f.length == length) && connection == (f.stream == 0)
}
