package formats_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"tapedeck/cli/formats"
	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// result is what reading a file gave.
type result struct {
	exchanges []*events.Exchange
	leftOut   map[string]int
	lost      map[string]int
	err       error
}

func read(format, name string, file []byte, o formats.Options) result {
	r := result{leftOut: map[string]int{}, lost: map[string]int{}}
	o.Protocols = []wire.Protocol{&http1.Protocol{}}
	o.LeftOut = func(why string) { r.leftOut[why]++ }
	o.Lost = func(why string) { r.lost[why]++ }
	for x, err := range formats.Read(format, name, bytes.NewReader(file), o) {
		if err != nil {
			r.err = err
			continue
		}
		r.exchanges = append(r.exchanges, x)
	}
	return r
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, format string, xs ...*events.Exchange) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := formats.NewWriter(format, &b, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range xs {
		if why, err := w.Write(x); err != nil || why != "" {
			t.Fatalf("write %s: left out %q, error %v", x.Request.Target, why, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pack(t testing.TB, b []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// line says an exchange in a line.
func line(x *events.Exchange) string {
	s := fmt.Sprintf("%s %s %s://%s%s %q", x.Request.Version, x.Request.Method, x.Request.Scheme, x.Request.Host, x.Request.Target, x.Request.GetBody().GetData())
	if a := x.Response; a != nil {
		s += fmt.Sprintf(" -> %s %q", a.Status, a.Body.GetData())
	}
	if x.Failure != "" {
		s += " !" + x.Failure
	}
	return s
}

func lines(xs []*events.Exchange) (all []string) {
	for _, x := range xs {
		all = append(all, line(x))
	}
	return all
}

func header(headers []*events.Field) string {
	var b strings.Builder
	for _, f := range headers {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	return b.String()
}

// exchange is a whole one to write.
func exchange(method, target string, body []byte, status string, answer []byte) *events.Exchange {
	at := time.Date(2026, 3, 1, 10, 0, 0, 123456789, time.UTC)
	id, c := events.NewID(at), events.NewID(at)
	first := at.UnixNano()
	x := &events.Exchange{
		Id: id[:], Direction: events.Direction_INBOUND, Protocol: "http",
		Connection: &events.Connection{Id: c[:], Client: "127.0.0.1:4000", Server: "127.0.0.1:80", OpenedAt: first - 5, Ordinal: 3},
		Request: &events.Request{
			Method: method, Scheme: "http", Host: "shop.example", Target: target, Version: "HTTP/1.1",
			Headers:   []*events.Field{field("Host", "shop.example"), field("X-A", "1"), field("x-a", "2")},
			Body:      &events.Body{Data: body, Size: int64(len(body)), Kept: int64(len(body))},
			FirstByte: first, LastByte: first + 1001,
		},
	}
	if status != "" {
		x.Response = &events.Response{
			Status: status, Reason: "Fine", Version: "HTTP/1.1", Headers: []*events.Field{field("Content-Type", "text/plain")},
			Body:      &events.Body{Data: answer, Size: int64(len(answer)), Kept: int64(len(answer))},
			FirstByte: first + 2002, LastByte: first + 3003,
		}
	}
	return x
}

func field(name, value string) *events.Field {
	return &events.Field{Name: []byte(name), Value: []byte(value)}
}

func equal(t testing.TB, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestFormatIsSeenInTheBytes(t *testing.T) {
	request := "1 a1 1700000000000000000\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\n🐵🙈🙉\n"
	for name, file := range map[string][]byte{
		"x.har": golden(t, "charles.har"), "noname": golden(t, "charles.har"), "x.har.gz": pack(t, golden(t, "charles.har")),
		"y": golden(t, "curl.pcap"), "y.gz": pack(t, golden(t, "curl.pcap")), "z": []byte(request), "z.gor.gz": pack(t, []byte(request)),
	} {
		if r := read("", name, file, formats.Options{}); r.err != nil || len(r.exchanges) == 0 {
			t.Errorf("%s: %d exchanges, error %v", name, len(r.exchanges), r.err)
		}
	}
	for name, file := range map[string]string{"a.txt": "hello", "empty": "", "b.zip": "PK\x03\x04"} {
		if r := read("", name, []byte(file), formats.Options{}); !errors.Is(r.err, formats.ErrUnknown) {
			t.Errorf("%s: error %v, want ErrUnknown", name, r.err)
		}
	}
	if r := read("", "c.gz", []byte("\x1f\x8b\x08broken"), formats.Options{}); r.err == nil {
		t.Error("a broken gzip file is read without an error")
	}
}
