package http1

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"tapedeck/events"
)

// A request that was read, sent as recorded and read again is the same one.
func FuzzPullPush(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x?y HTTP/1.1\r\nContent-Length: 3\r\nA: b\r\nA:  c \r\n\r\nabc",
		"PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;q\r\nabc\r\n0\r\nT: v\r\n\r\n",
		"\r\nGET http://a/b HTTP/1.0\r\nX: y\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := pullRequest(data)
		if err != nil {
			return
		}
		var wire bytes.Buffer
		w := bufio.NewWriter(&wire)
		chunked := isChunked(first.Headers)
		writeLine(w, first.Method, first.Target, first.Version)
		writeFields(w, first.Headers, chunked, len(first.Body.Data), nil)
		w.WriteString("\r\n")
		writeBody(w, first.Body.Data, chunked, first.Trailers)
		w.Flush()
		second, err := pullRequest(wire.Bytes())
		if err != nil {
			t.Fatalf("read again %q: %v", wire.Bytes(), err)
		}
		first.Headers, second.Headers = framed(first.Headers), framed(second.Headers)
		if diff := cmp.Diff(first, second, protocmp.Transform()); diff != "" {
			t.Errorf("read again %q (-first +second):\n%s", wire.Bytes(), diff)
		}
	})
}

// framed leaves out the fields that follow the body.
func framed(fields []*events.Field) []*events.Field {
	var kept []*events.Field
	for _, f := range fields {
		if nameIs(f, "Content-Length") {
			continue
		}
		kept = append(kept, f)
	}
	return kept
}

func pullRequest(data []byte) (*events.Request, error) {
	p := &puller{r: bufio.NewReader(bytes.NewReader(data)), maxHead: 1 << 16, maxBody: 1 << 20}
	r, frame, err := p.request()
	if err != nil {
		return nil, err
	}
	r.Body, r.Trailers, err = p.body(frame)
	return r, err
}
