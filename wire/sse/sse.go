// Package sse reads text/event-stream answers (Server-Sent Events, HTML Living
// Standard, 9.2) as messages, one an event.
//
// A message's type is the event's name, "message" without one, "comment" for
// lines that dispatch nothing (a comment that keeps the connection alive, a
// retry alone). Its data are the lines as they were sent, id, retry, comments
// and the blank line behind them included: all messages one behind the other
// are the body.
package sse

import (
	"bytes"
	"strings"

	"tapedeck/events"
	"tapedeck/wire"
)

// The types of messages that name no event.
const (
	TypeMessage = "message"
	TypeComment = "comment"
)

const (
	maxName = 128 // of an event
	maxLine = len("event: ") + maxName
)

// Is says that a body with these headers is an event stream that can be read:
// a content coding hides its lines.
func Is(headers []*events.Field) bool {
	kind, coding := value(headers, "Content-Type"), value(headers, "Content-Encoding")
	kind, _, _ = bytes.Cut(kind, []byte(";"))
	return bytes.EqualFold(bytes.TrimSpace(kind), []byte("text/event-stream")) &&
		(len(coding) == 0 || bytes.EqualFold(bytes.TrimSpace(coding), []byte("identity")))
}

// value is that of a header, without a copy: every answer is looked at.
func value(headers []*events.Field, name string) []byte {
	for _, f := range headers {
		if len(f.Name) == len(name) && strings.EqualFold(string(f.Name), name) {
			return f.Value
		}
	}
	return nil
}

// Reader finds the events in a body. It holds one event, up to
// wire.MaxMessage of it.
type Reader struct {
	stream *wire.Stream
	event  *events.Message // under way
	line   []byte          // the beginning of the line under way
	length int64           // of that line
	begun  bool            // a line that is not blank
	data   bool            // a data field: it will be dispatched
	name   string
	cr     bool // the last byte ended a line, and a LF would belong to it
	blank  bool // that line ended the event
	later  bool // not the first line of the body
}

// NewReader tells stream what it finds.
func NewReader(stream *wire.Stream) *Reader { return &Reader{stream: stream} }

// Data are the next bytes of the body.
func (r *Reader) Data(_ events.Side, now int64, b []byte) {
	for len(b) > 0 {
		if r.cr {
			r.cr = false
			if b[0] == '\n' {
				r.keep(now, b[:1])
				b = b[1:]
			}
			if r.blank {
				r.dispatch(now)
			}
			continue
		}
		i := bytes.IndexAny(b, "\r\n")
		if i < 0 {
			r.partOfLine(now, b)
			return
		}
		r.partOfLine(now, b[:i])
		r.keep(now, b[i:i+1])
		r.endLine()
		switch {
		case b[i] == '\r':
			r.cr = true
		case r.blank:
			r.dispatch(now)
		}
		b = b[i+1:]
	}
}

func (r *Reader) partOfLine(now int64, b []byte) {
	if len(b) == 0 {
		return
	}
	r.keep(now, b)
	r.length += int64(len(b))
	r.line = append(r.line, b[:min(len(b), max(0, maxLine-len(r.line)))]...)
}

func (r *Reader) keep(now int64, b []byte) {
	if r.event == nil {
		r.event = &events.Message{Side: events.Side_RESPONSE, Time: now}
	}
	r.event.Size += int64(len(b))
	r.event.Data = append(r.event.Data, b[:min(len(b), wire.MaxMessage-len(r.event.Data))]...)
}

// endLine notes what a line says of its event.
func (r *Reader) endLine() {
	line := r.line
	if !r.later { // a byte order mark
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
		r.length -= int64(len(r.line) - len(line))
		r.later = true
	}
	field, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case r.length == 0:
		r.blank = r.begun // blank lines before an event are part of it
	case string(field) == "data":
		r.data = true
	case string(field) == "event":
		r.name = strings.ToValidUTF8(string(bytes.TrimPrefix(value, []byte(" "))), "\ufffd")
	}
	r.begun = r.begun || r.length > 0
	r.line, r.length = r.line[:0], 0
}

func (r *Reader) dispatch(now int64) {
	m := r.event
	switch {
	case !r.data:
		m.Type = TypeComment
	case r.name == "":
		m.Type = TypeMessage
	default:
		m.Type = r.name
	}
	r.event, r.begun, r.data, r.blank, r.name = nil, false, false, false, ""
	r.stream.Add(m, now)
}

// Gap is not met: the dissector of HTTP drops an exchange whose body has a hole.
func (r *Reader) Gap(_ events.Side, n int64) { r.stream.Count(events.Side_RESPONSE, n) }

// Tick is called about once a second.
func (r *Reader) Tick(now int64) { r.stream.Tick(now) }

// Close ends the stream; an event that has no end is one more message.
func (r *Reader) Close(now int64, _ error) {
	if r.event != nil {
		if r.length > 0 {
			r.endLine()
		}
		r.dispatch(now)
	}
	r.stream.Flush()
}
