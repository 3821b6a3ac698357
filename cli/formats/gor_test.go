package formats_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tapedeck/cli/formats"
)

// payload writes one as GoReplay does.
func payload(line, message string) string { return line + "\n" + message + "\n🐵🙈🙉\n" }

const (
	asked    = "POST /orders HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 7\r\n\r\n{\"n\":1}"
	answered = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nmade\n\r\n0\r\nX-Sum: 9\r\n\r\n"
	second   = "GET /orders/1 HTTP/1.1\r\nHost: shop.example\r\n\r\n"
	found    = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
)

func TestReadGor(t *testing.T) {
	file := payload("1 aa01 1700000000000000000 1000", asked) + // answers come in any order
		payload("1 aa02 1700000000100000000 0", second) +
		payload("3 aa01 1700000000000000000 700", "HTTP/1.1 500 No\r\n\r\n") +
		payload("2 aa02 1700000000105000000 2000", found) +
		payload("2 aa01 1700000000250000000 3000", answered) +
		payload("2 ffff 1700000000250000000 1", found) +
		payload("1 aa03 1700000000300000000", "GET /lost HTTP/1.1\r\nHost: shop.example\r\n\r\n") +
		payload("1 aa04 1700000000400000000 1", "\x16\x03\x01 not http") +
		payload("1 aa05 1700000000500000000", "GET /old HTTP/1.1\r\nHost: shop.example\r\n\r\n") +
		payload("2 aa05 42000000", found) // an old file: how long it took
	r := read("gor", "", []byte(file), formats.Options{})
	if r.err != nil {
		t.Fatal(r.err)
	}
	equal(t, lines(r.exchanges), []string{
		`HTTP/1.1 GET http://shop.example/orders/1 "" -> 200 "{}"`,
		`HTTP/1.1 POST http://shop.example/orders "{\"n\":1}" -> 201 "made\n"`,
		`HTTP/1.1 GET http://shop.example/old "" -> 200 "{}"`,
		`HTTP/1.1 GET http://shop.example/lost "" !gap: the file has no answer to it`,
	})
	equal(t, r.leftOut, map[string]int{"the answer to a replay": 1, "an answer without its request": 1, "a message that is no HTTP": 1})
	x := r.exchanges[1]
	const start = 1700000000000000000
	equal(t, []int64{x.Request.FirstByte, x.Request.LastByte, x.Response.FirstByte, x.Response.LastByte},
		[]int64{start, start + 1000, start + 250e6, start + 250e6 + 3000})
	equal(t, header(x.Response.Trailers), "X-Sum: 9\n")
	if old := r.exchanges[2]; old.Response.FirstByte-old.Request.FirstByte != int64(42*time.Millisecond) {
		t.Errorf("the old file's answer came after %d ns", old.Response.FirstByte-old.Request.FirstByte)
	}
}

func TestGorRequestsWaitWithinBounds(t *testing.T) {
	var file strings.Builder
	const n = 1<<14 + 100
	for i := range n {
		file.WriteString(payload(fmt.Sprintf("1 %d %d", i, 1700000000000000000+int64(i)), second))
	}
	file.WriteString(payload("2 0 1700000001000000000", found)) // its request is given up by now
	file.WriteString(payload(fmt.Sprintf("2 %d 1700000001000000000", n-1), found))
	r := read("gor", "", []byte(file.String()), formats.Options{})
	if r.err != nil || len(r.exchanges) != n || r.leftOut["an answer without its request"] != 1 {
		t.Errorf("%d exchanges, left out %v, error %v", len(r.exchanges), r.leftOut, r.err)
	}
}

func TestGorErrorsSayWhere(t *testing.T) {
	good := payload("1 aa01 1700000000000000000 1000", asked)
	for file, want := range map[string]string{
		good + "1 aa02 17000":                                 fmt.Sprintf("gor: byte %d, payload 2: the file is cut off", len(good)),
		good + payload("9 aa02 1", second):                    `payload 2: "9 aa02 1" is no line like "1 ID TIME"`,
		good + payload("1 aa02 noon", second):                 `the time "noon" is no number`,
		good + payload("1 aa02 5 later", second):              `the latency "later" is no number`,
		good + payload("1 aa02 99999999999999999999", second): "is no number",
	} {
		r := read("gor", "", []byte(file), formats.Options{})
		if r.err == nil || !strings.Contains(r.err.Error(), want) {
			t.Errorf("error %v, want %q", r.err, want)
		}
		if len(r.exchanges) != 1 {
			t.Errorf("%d exchanges before the error, want 1", len(r.exchanges))
		}
	}
}

func FuzzReadGor(f *testing.F) {
	f.Add([]byte(payload("1 a 1700000000000000000 1000", asked) + payload("2 a 1700000000250000000 3000", answered)))
	f.Add([]byte(payload("1 a 5", second) + payload("1 a 6", second) + payload("2 a 1", found)))
	f.Fuzz(func(t *testing.T, file []byte) {
		checkExchanges(t, read("gor", "", file, formats.Options{MaxBody: 4096}).exchanges, 4096)
	})
}
