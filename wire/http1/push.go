package http1

import (
	"bufio"
	"strconv"
	"strings"

	"tapedeck/events"
)

// Fields are written as they were recorded: order, letter case, duplicates.
// Only what frames the message follows the body that is really sent.

const chunkSize = 32 << 10

// writeField writes one header line. A line break in a value, which a value
// put in place of a recorded one may hold, would be a header of its own.
func writeField(w *bufio.Writer, name, value []byte) {
	w.Write(name)
	w.WriteString(": ")
	for _, c := range value {
		if c == '\r' || c == '\n' || c == 0 {
			c = ' '
		}
		w.WriteByte(c)
	}
	w.WriteString("\r\n")
}

func writeLine(w *bufio.Writer, parts ...string) {
	for i, p := range parts {
		if i > 0 {
			w.WriteByte(' ')
		}
		w.WriteString(p)
	}
	w.WriteString("\r\n")
}

// isChunked says that the message was recorded with chunks.
func isChunked(fields []*events.Field) bool {
	for _, f := range fields {
		if nameIs(f, "Transfer-Encoding") {
			_, last := lastElement(f.Value)
			return strings.EqualFold(string(last), "chunked")
		}
	}
	return false
}

// writeFields writes the fields, with the Content-Length of what is sent in
// the place of the recorded one. It leaves out Transfer-Encoding unless the
// message goes in chunks. length is -1 when no Content-Length may be written.
func writeFields(w *bufio.Writer, fields []*events.Field, chunked bool, length int, skip func(*events.Field) bool) {
	written := false
	for _, f := range fields {
		switch {
		case skip != nil && skip(f):
		case nameIs(f, "Transfer-Encoding"):
			if chunked {
				writeField(w, f.Name, f.Value)
			}
		case nameIs(f, "Content-Length"):
			if !chunked && length >= 0 && !written {
				writeField(w, f.Name, strconv.AppendInt(nil, int64(length), 10))
				written = true
			}
		default:
			writeField(w, f.Name, f.Value)
		}
	}
	if !chunked && length > 0 && !written {
		writeField(w, []byte("Content-Length"), strconv.AppendInt(nil, int64(length), 10))
	}
}

// writeBody writes the body in chunks with its trailers, or plain.
func writeBody(w *bufio.Writer, data []byte, chunked bool, trailers []*events.Field) {
	if !chunked {
		w.Write(data)
		return
	}
	for len(data) > 0 {
		part := data[:min(len(data), chunkSize)]
		data = data[len(part):]
		writeLine(w, strconv.FormatInt(int64(len(part)), 16))
		w.Write(part)
		w.WriteString("\r\n")
	}
	w.WriteString("0\r\n")
	for _, f := range trailers {
		writeField(w, f.Name, f.Value)
	}
	w.WriteString("\r\n")
}

// writeResponse writes the answer to a request. The errors of a bufio.Writer
// stick, so that the caller finds them when it flushes.
func writeResponse(w *bufio.Writer, request *events.Request, r *events.Response, closing bool) {
	writeLine(w, "HTTP/1.1", r.Status, r.Reason)
	data := r.GetBody().GetData()
	if bodyless(request.Method, r.Status) {
		writeBodylessFields(w, request, r, closing)
		w.WriteString("\r\n")
		return
	}
	chunked := isChunked(r.Headers) && request.Version == "HTTP/1.1"
	writeFields(w, r.Headers, chunked, len(data), func(f *events.Field) bool { return closing && nameIs(f, "Connection") })
	if len(data) == 0 && !chunked && events.HeaderValue(r.Headers, "Content-Length") == "" {
		w.WriteString("Content-Length: 0\r\n")
	}
	writeConnection(w, request, r, closing)
	w.WriteString("\r\n")
	writeBody(w, data, chunked, r.Trailers)
}

// writeBodylessFields writes the recorded lengths of HEAD and 304, which speak
// of a body that is not sent. 1xx and 204 have none (RFC 9110, section 8.6).
func writeBodylessFields(w *bufio.Writer, request *events.Request, r *events.Response, closing bool) {
	closing = closing && r.Status != "101" // whose Connection says upgrade
	noLength := r.Status == "204" || strings.HasPrefix(r.Status, "1")
	for _, f := range r.Headers {
		framing := nameIs(f, "Content-Length") || nameIs(f, "Transfer-Encoding")
		if framing && noLength || closing && nameIs(f, "Connection") {
			continue
		}
		writeField(w, f.Name, f.Value)
	}
	writeConnection(w, request, r, closing)
}

func writeConnection(w *bufio.Writer, request *events.Request, r *events.Response, closing bool) {
	switch {
	case closing:
		w.WriteString("Connection: close\r\n")
	case request.Version == "HTTP/1.0" && !connectionHas(r.Headers, "keep-alive"):
		w.WriteString("Connection: keep-alive\r\n")
	}
}

// connectionHas says that a Connection header lists the option.
func connectionHas(fields []*events.Field, option string) bool {
	for _, f := range fields {
		if !nameIs(f, "Connection") {
			continue
		}
		for part := range strings.SplitSeq(string(f.Value), ",") {
			if strings.EqualFold(strings.TrimSpace(part), option) {
				return true
			}
		}
	}
	return false
}

// keepsAlive says that the connection may carry another message.
func keepsAlive(version string, fields []*events.Field) bool {
	if connectionHas(fields, "close") {
		return false
	}
	return version == "HTTP/1.1" || connectionHas(fields, "keep-alive")
}
