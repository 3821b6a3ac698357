package redact

import (
	"bytes"
	"compress/zlib"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tapedeck/events"
)

func packed(t testing.TB, coding string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	}
	w.Write(plain)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func bodyOf(e *Engine, kind, coding string, body []byte, piece int) (*Body, []byte) {
	b := e.Body(exchangeOf(kind, coding), events.Side_REQUEST, body)
	var out []byte
	for len(body) > 0 {
		n := min(piece, len(body))
		out, body = b.Write(out, body[:n]), body[n:]
	}
	return b, b.Close(out)
}

func TestCodings(t *testing.T) {
	e := New(testKey(t))
	secret := `{"password":"` + strings.Repeat("hunter2", 20) + `","n":1}`
	for _, coding := range []string{"gzip", "br", "deflate", "zstd"} {
		in := packed(t, coding, []byte(secret))
		b, out := bodyOf(e, "application/json", coding, in, 7)
		if b.Coding() != coding || !bytes.HasPrefix(out, []byte(`{"password":"td1_`)) || b.Failed() {
			t.Errorf("%s: coding %q, %q, failed %v", coding, b.Coding(), out, b.Failed())
		}
		plain := packed(t, coding, []byte(`{"n":1}`))
		if b, out := bodyOf(e, "application/json", coding, plain, 1000); b.Changed() || b.Coding() != "" || !bytes.Equal(out, plain) {
			t.Errorf("%s: a body without secrets was changed", coding)
		}
		if b, out := bodyOf(e, "application/json", coding, []byte("no "+coding), 1000); !b.Failed() || len(out) > 0 {
			t.Errorf("%s: what can't be opened gave %q, failed %v", coding, out, b.Failed())
		}
		bomb := packed(t, coding, make([]byte, 12<<20))
		if b, out := bodyOf(e, "application/json", coding, bomb, 1<<20); !b.Failed() || len(out) > 0 {
			t.Errorf("%s: a bomb gave %d bytes, failed %v", coding, len(out), b.Failed())
		}
	}
	both := packed(t, "br", packed(t, "gzip", []byte(secret)))
	if b, out := bodyOf(e, "application/json", "gzip, br", both, 1000); b.Coding() != "gzip, br" || !bytes.Contains(out, []byte("td1_")) {
		t.Errorf("two codings: %q, %q", b.Coding(), out)
	}
}

// TestSplitValues: a value that comes in two pieces is found whatever the form.
func TestSplitValues(t *testing.T) {
	e := New(testKey(t))
	filler := strings.Repeat("some words of a text. ", 8000)
	for kind, body := range map[string]string{
		"text/plain":       filler + "ada@example.com 4242424242424242 " + filler + "123-45-6789 " + filler,
		"application/json": `{"a":"` + filler + `","b":"ada@example.com","c":"` + filler + `4242424242424242","d":4242424242424242,"e":"123-45-6789"}`,
		"text/csv":         strings.Repeat("ada@example.com,4242424242424242,123-45-6789\n", 5000),
	} {
		for _, piece := range []int{1000, 65536, 100_001} {
			b, out := bodyOf(e, kind, "", []byte(body), piece)
			for _, secret := range []string{"ada@example.com", "4242424242424242", "123-45-6789"} {
				if bytes.Contains(out, []byte(secret)) || b.Failed() {
					t.Errorf("%s in pieces of %d: %s is left, failed %v", kind, piece, secret, b.Failed())
				}
			}
		}
	}
}
