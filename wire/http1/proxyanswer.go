package http1

import (
	"fmt"
	"io"
	"net"
	"net/http"
)

// proxyAnswer is the answer to one request on its way back.
type proxyAnswer struct {
	method  string
	to      io.Writer
	from    io.Reader
	parser  parser
	begun   bool // the client has seen some of it
	closing bool // the server closes after it
}

// relay copies answers up to and with the final one. keep says that the
// upstream connection can carry another request; switched that it speaks
// another protocol now.
func (a *proxyAnswer) relay() (keep, switched bool) {
	buf := make([]byte, proxyBuffer)
	for {
		n, err := a.from.Read(buf)
		a.begun = a.begun || n > 0
		end := false
		for b := buf[:n]; len(b) > 0 && !end || a.parser.state == inEnd && !end; {
			m, f := a.parser.next(b)
			b = b[m:]
			switch f {
			case gotHead:
				if switched = a.head(); switched {
					a.to.Write(buf[:n])
					return false, true
				}
			case gotEnd:
				end = true
				if len(b) > 0 { // more than was asked for
					a.closing = true
					n -= len(b)
				}
			case gotBad:
				a.to.Write(buf[:n])
				return false, false
			}
		}
		if n > 0 {
			if _, werr := a.to.Write(buf[:n]); werr != nil {
				return false, false
			}
		}
		switch {
		case end:
			return !a.closing, false
		case err != nil:
			a.closing = true
			return false, false
		}
	}
}

// head frames an answer; an interim one is followed by another.
func (a *proxyAnswer) head() (switched bool) {
	h, err := parseHead(a.parser.head, true, false)
	if err != nil {
		a.closing = true
		a.parser.frame(closeBody, 0)
		return false
	}
	status := string(h.second)
	if status == "101" {
		return true
	}
	if status[0] == '1' {
		a.parser.reset()
		return false
	}
	kind, length := h.responseBody(a.method)
	a.closing = kind == closeBody || !keepsAlive(string(h.first), h.fields)
	a.parser.frame(kind, length)
	return false
}

// WriteRefusal answers a request that the proxy can't send on; the connection
// ends with it.
func WriteRefusal(c net.Conn, status int, reason string, headers ...string) {
	body := "tapedeck: " + reason + "\n"
	more := ""
	for _, h := range headers {
		more += h + "\r\n"
	}
	fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), more, len(body), body)
	halfClose(c)
}
