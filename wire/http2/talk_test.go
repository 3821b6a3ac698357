package http2

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"tapedeck/events"
	"tapedeck/internal/wiretest"
)

// talk is a conversation, written by the framer of x/net.
type talk struct {
	chunks         []wiretest.Chunk
	client, server *speaker
}

type speaker struct {
	talk  *talk
	side  events.Side
	buf   bytes.Buffer
	frame *http2.Framer
	block bytes.Buffer
	hpack *hpack.Encoder
}

var start = time.Unix(1, 0)

func newTalk() *talk {
	t := &talk{}
	t.client, t.server = t.speaker(events.Side_REQUEST), t.speaker(events.Side_RESPONSE)
	t.client.buf.WriteString(preface)
	t.client.frame.WriteSettings()
	t.client.say()
	t.server.frame.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100})
	t.server.frame.WriteSettingsAck()
	t.server.say()
	return t
}

func (t *talk) speaker(side events.Side) *speaker {
	s := &speaker{talk: t, side: side}
	s.frame = http2.NewFramer(&s.buf, nil)
	s.frame.AllowIllegalWrites = true
	s.hpack = hpack.NewEncoder(&s.block)
	return s
}

// say ends a read.
func (s *speaker) say() {
	if s.buf.Len() > 0 {
		s.talk.chunks = append(s.talk.chunks, wiretest.Chunk{Side: s.side, Time: start, Data: bytes.Clone(s.buf.Bytes())})
		s.buf.Reset()
	}
}

// raw says bytes.
func (s *speaker) raw(b string) {
	s.buf.WriteString(b)
	s.say()
}

// encode makes a header block of "name: value" lines.
func (s *speaker) encode(lines ...string) []byte {
	s.block.Reset()
	for _, line := range lines {
		i := strings.LastIndex(line, ": ")
		s.hpack.WriteField(hpack.HeaderField{Name: line[:i], Value: line[i+2:]})
	}
	return s.block.Bytes()
}

func (s *speaker) headers(stream uint32, end bool, lines ...string) {
	s.frame.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndStream: end, EndHeaders: true, BlockFragment: s.encode(lines...)})
	s.say()
}

func (s *speaker) data(stream uint32, end bool, body string) {
	s.frame.WriteData(stream, end, []byte(body))
	s.say()
}

func (s *speaker) reset(stream uint32, code http2.ErrCode) {
	s.frame.WriteRSTStream(stream, code)
	s.say()
}

func (t *talk) ask(stream uint32, end bool, method, path string) {
	t.client.headers(stream, end, ":method: "+method, ":scheme: http", ":authority: shop", ":path: "+path, "user-agent: test")
}

func (t *talk) answer(stream uint32, status, body string) {
	t.server.headers(stream, body == "", ":status: "+status, "server: test")
	if body != "" {
		t.server.data(stream, true, body)
	}
}

func (t *talk) close(side events.Side, err error) {
	t.chunks = append(t.chunks, wiretest.Chunk{Side: side, Time: start, Closed: true, Err: err})
}

// closed closes what is open.
func closed(chunks []wiretest.Chunk) []wiretest.Chunk {
	all := chunks[:len(chunks):len(chunks)]
	for _, side := range []events.Side{events.Side_REQUEST, events.Side_RESPONSE} {
		open := true
		for _, c := range chunks {
			open = open && !(c.Closed && c.Side == side)
		}
		if open {
			all = append(all, wiretest.Chunk{Side: side, Time: start, Closed: true})
		}
	}
	return all
}

// line is a one-line form of an exchange, easy to compare and to read.
func line(x *events.Exchange) string {
	s := fmt.Sprintf("%s %s %q", x.Request.Method, x.Request.Target, x.Request.Body.Data)
	for _, i := range x.Interim {
		s += " " + i.Status
	}
	if x.Response != nil {
		s += fmt.Sprintf(" > %s %q", x.Response.Status, x.Response.Body.Data)
		if x.Response.Body.Size != int64(len(x.Response.Body.Data)) {
			s += fmt.Sprintf(" of %d", x.Response.Body.Size)
		}
	}
	for _, f := range append(x.Request.Trailers, x.GetResponse().GetTrailers()...) {
		s += fmt.Sprintf(" %s:%s", f.Name, f.Value)
	}
	if x.Failure != "" {
		s += " ! " + x.Failure
	}
	return s
}
