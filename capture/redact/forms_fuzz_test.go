package redact

import (
	"testing"

	"tapedeck/events"
)

// FuzzForms: no form of body, coding or message makes the engine panic or a
// body grow without bound.
func FuzzForms(f *testing.F) {
	kinds := []string{"text/plain", "application/xml", "text/html", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b",
		"application/x-protobuf", "application/grpc", "application/octet-stream", "application/json", ""}
	codings := []string{"", "gzip", "br", "zstd", "deflate"}
	for i, body := range []string{"a password=x, b@c.de", `<a b="c@d.ef">x</a>`, "<p>a<br", "a=1&password=%41", "--b\r\nContent-Disposition: form-data; name=\"pin\"\r\n\r\n12\r\n--b--",
		"\x0a\x03abc", "\x00\x00\x00\x00\x05\x0a\x03abc", "\xff4242424242424242\x00", `{"a":"\u0062"}`, "data: x\n\n"} {
		f.Add([]byte(body), uint8(i), uint8(0))
	}
	e := New(testKey(f))
	f.Fuzz(func(t *testing.T, body []byte, kind, coding uint8) {
		x := exchangeOf(kinds[int(kind)%len(kinds)], codings[int(coding)%len(codings)])
		x.Request.Target = string(body)
		x.Request.Headers = append(x.Request.Headers, &events.Field{Name: []byte("Authorization"), Value: body}, &events.Field{Name: []byte("X-Note"), Value: body}, &events.Field{Name: []byte("A-Bin"), Value: body})
		if b := e.Body(x, events.Side_REQUEST, body); b != nil {
			if out := b.Close(b.Write(nil, body)); coding%5 == 0 && len(out) > 64*len(body)+1024 {
				t.Errorf("%d bytes became %d", len(body), len(out))
			}
			b.Mark(x, events.Side_REQUEST)
		}
		e.Message(x, &events.Message{Side: events.Side_REQUEST, Type: "text", Data: body, Size: int64(len(body))})
		e.Message(x, &events.Message{Side: events.Side_REQUEST, Type: "message+gzip", Data: body, Size: int64(len(body))})
		e.Head(x)
		if n := e.failures.panics.Load(); n > 0 {
			t.Fatalf("%q cost a part: it panicked", body)
		}
	})
}
