package redact

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"io"
	"testing"
	"unicode/utf8"

	"tapedeck/events"
)

// lawKinds are the content types whose bodies hold to the laws, each with a
// body to begin with.
var lawKinds = []struct{ kind, body string }{
	{"application/json", `{"password":["a",1],"b":"c@de.fg +15550100123","x":"{\"pin\":\"4242\"}"}`},
	{"text/plain", "password=x, b@cd.ef, 4242 4242 4242 4242 and dG9rZW49YWJjZGVmZw=="},
	{"application/xml", `<a pin="12&amp;3">c@de.fg<![CDATA[d@ef.gh]]><!-- e@fg.hi --></a>`},
	{"text/html", `<p>a@bc.de<br><input name="password" value="x">`},
	{"application/x-www-form-urlencoded", "a=1&password=%41+b&q=b%40cd.ef"},
	{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"pin\"\r\n\r\n12\r\n--b--\r\n"},
	{"application/x-protobuf", "\x08\x01\x0a\x0aab@cde.fgh\x12\x0c\x0a\x0aab@cde.fgh"},
	{"application/grpc", "\x00\x00\x00\x00\x0c\x0a\x0aab@cde.fgh"},
	{"application/octet-stream", "\xff 4242424242424242 \x00abc@defg.hij"},
	{"text/event-stream", "event: a\ndata: {\"pin\":\ndata: \"1\"}\n\ndata: a@bc.de\n\n"},
	{"", `{"a":"\u0062@cd.ef"}`},
}

// FuzzBodies: whatever a body is, it stays what it was (JSON, XML, protobuf, as
// many pairs of a form), grows by no more than a token for each of its values,
// a second pass leaves it alone, and how it was split is no matter.
func FuzzBodies(f *testing.F) {
	for i, k := range lawKinds {
		f.Add([]byte(k.body), uint8(i))
	}
	for i, test := range bodies {
		f.Add([]byte(test.in), uint8(i))
	}
	e := New(testKey(f))
	f.Fuzz(func(t *testing.T, in []byte, n uint8) {
		kind := lawKinds[int(n)%len(lawKinds)].kind
		once, marks, ok := passBody(e, kind, in, len(in), nil)
		if !ok {
			return // nothing of it is kept
		}
		if len(once) > 16*len(in)+1024 {
			t.Errorf("%s: %d bytes became %d", kind, len(in), len(once))
		}
		staysWhatItWas(t, kind, in, once)
		if pieces, _, _ := passBody(e, kind, in, 1+int(n)%13, nil); len(in) < maxHeld && !bytes.Equal(pieces, once) {
			t.Errorf("%s %q in pieces of %d: %q, want %q", kind, in, 1+int(n)%13, pieces, once)
		}
		if len(marks) == MaxMarks {
			return
		}
		if formOf(kind, in) == formXML && !wellFormed(in) {
			return // where a tag ends is a matter of opinion, and changes with what stands in it
		}
		if formOf(kind, in) != formJSON && bytes.ContainsAny(in, "[{") || !sameKind(in, once) {
			return // numbers of JSON in other forms have no mark of their own
		}
		if twice, _, _ := passBody(e, kind, once, len(once), marks); !bytes.Equal(twice, once) {
			t.Errorf("%s %q: once %q, twice %q", kind, in, once, twice)
		}
	})
}

// sameKind says that what came out is looked through as what went in: bytes
// may have become a text, and a text a message, by its new length.
func sameKind(in, out []byte) bool {
	return utf8.Valid(in) == utf8.Valid(out) && isText(in) == isText(out) && isMessage(in) == isMessage(out)
}

func passBody(e *Engine, kind string, in []byte, piece int, earlier []Mark) (out []byte, marks []Mark, ok bool) {
	x := exchangeOf(kind, "")
	for _, m := range earlier {
		if m.Place = "request.body." + m.Place; m.Place == "request.body." {
			m.Place = "request.body"
		}
		Add(x, m)
	}
	b := e.Body(x, events.Side_REQUEST, in)
	if b == nil {
		return in, nil, true
	}
	for len(in) > 0 {
		n := min(piece, len(in))
		out, in = b.Write(out, in[:n]), in[n:]
	}
	out = b.Close(out)
	return out, b.Marks(), !b.Failed()
}

func staysWhatItWas(t *testing.T, kind string, in, out []byte) {
	t.Helper()
	switch form := formOf(kind, in); {
	case form == formJSON && json.Valid(in) && !json.Valid(out),
		form == formXML && wellFormed(in) && !wellFormed(out),
		form == formPairs && bytes.Count(in, []byte("&")) != bytes.Count(out, []byte("&")),
		form == formProtobuf && isMessage(in) && !(utf8Text(in)) && !isMessage(out),
		form == formGRPC && framed(in) && !framed(out),
		form == formBytes && len(in) != len(out):
		t.Errorf("%s: %q became %q", kind, in, out)
	}
}

// utf8Text is looked through as a text, also where it could be a message.
func utf8Text(b []byte) bool { return isText(b) }

func wellFormed(b []byte) bool {
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		if _, err := d.Token(); err != nil {
			return err == io.EOF
		}
	}
}

func framed(b []byte) bool {
	for len(b) >= 5 {
		size := int(binary.BigEndian.Uint32(b[1:]))
		if b[0] != 0 || size > len(b)-5 {
			return false
		}
		b = b[5+size:]
	}
	return len(b) == 0
}

// FuzzMessages: the same of messages of WebSocket, server-sent events and gRPC.
func FuzzMessages(f *testing.F) {
	socket := &events.Exchange{Request: &events.Request{}, Response: &events.Response{Status: "101"}}
	source := &events.Exchange{Request: &events.Request{}, Response: &events.Response{Headers: []*events.Field{{Name: []byte("Content-Type"), Value: []byte("text/event-stream")}}}}
	kinds := []struct {
		x    *events.Exchange
		kind string
	}{{socket, "text"}, {socket, "binary"}, {source, "message"}, {exchangeOf("application/grpc", ""), "message"}, {exchangeOf("application/grpc+json", ""), "message"}}
	for i := range kinds {
		for _, k := range lawKinds {
			f.Add([]byte(k.body), uint8(i))
		}
	}
	e := New(testKey(f))
	f.Fuzz(func(t *testing.T, in []byte, n uint8) {
		k := kinds[int(n)%len(kinds)]
		pass := func(data []byte) []byte {
			out, marks := e.Message(k.x, &events.Message{Side: events.Side_RESPONSE, Type: k.kind, Data: data, Size: int64(len(data))})
			if len(marks) == MaxMarks {
				return nil
			}
			return out
		}
		once := pass(in)
		if len(once) > 16*len(in)+1024 || bytes.Count(once, []byte("\n")) != bytes.Count(in, []byte("\n")) && k.x == source && once != nil {
			t.Errorf("%q became %q", in, once)
		}
		if k.kind == "text" && once != nil && json.Valid(in) && !json.Valid(once) {
			t.Errorf("%q became %q", in, once)
		}
		if twice := pass(once); once != nil && twice != nil && !bytes.Equal(twice, once) && !holdsNumbers(e, k.x, in) && sameKind(in, once) && (firstByte(in) != '<' || wellFormed(in)) {
			t.Errorf("%s %q: once %q, twice %q", k.kind, in, once, twice)
		}
		if n := e.failures.panics.Load(); n > 0 {
			t.Fatalf("%q cost a part: it panicked", in)
		}
	})
}

// holdsNumbers says that numbers of JSON were replaced: that they are tokens
// only the marks say, which messages of a stream don't have of each other.
func holdsNumbers(e *Engine, x *events.Exchange, in []byte) bool {
	return bytes.ContainsAny(in, "0123456789") && (beginsJSON(in) || bytes.Contains(in, []byte(":")))
}
