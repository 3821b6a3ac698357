package main

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReadAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want answer
	}{
		"length":  {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", answer{200, 3, false}},
		"chunks":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", answer{200, 5, false}},
		"close":   {"HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx", answer{502, 1, true}},
		"to EOF":  {"HTTP/1.0 200 OK\r\n\r\nabcd", answer{200, 4, true}},
		"no body": {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", answer{404, 0, false}},
	} {
		got, err := readAnswer(bufio.NewReader(strings.NewReader(c.text)))
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	for _, text := range []string{"", "HTTP/1.1", "nonsense of some length\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n"} {
		if got, err := readAnswer(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%q is an answer: %+v", text, got)
		}
	}
}

// What the benchmark says of losses stands and falls with these.
func TestCountsMustAddUp(t *testing.T) {
	for name, c := range map[string]struct {
		counts
		block, ok bool
	}{
		"all taped":              {counts{Rows: 10, Begun: 10, Taped: 10}, true, true},
		"dropped in drop mode":   {counts{Rows: 7, Begun: 10, Taped: 7, Dropped: 3}, false, true},
		"dropped in block mode":  {counts{Rows: 7, Begun: 10, Taped: 7, Dropped: 3}, true, false},
		"a tape without rows":    {counts{Rows: 9, Begun: 10, Taped: 10}, false, false},
		"begun and gone":         {counts{Rows: 9, Begun: 10, Taped: 9}, false, false},
		"still open":             {counts{Rows: 9, Begun: 10, Taped: 9, Open: 1}, false, false},
		"never begun, block":     {counts{Rows: 9, Begun: 9, Taped: 9}, true, false},
		"one too many, in block": {counts{Rows: 11, Begun: 11, Taped: 11}, true, false},
	} {
		if err := c.check(10, c.block); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCountsOfPeers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "records")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const separator = "\n\U0001F435\U0001F648\U0001F649\n"
	write("1 aa 1 0\nGET / HTTP/1.1\r\n\r\n" + separator + "1 bb 2 0\nGET / HTTP/1.1\r\n\r\n" + separator + "2 aa 3 0\nHTTP/1.1 200 OK\r\n\r\n1 in a body\n2" + separator)
	if n, err := goreplayExchanges(file); n != 1 || err != nil {
		t.Errorf("goreplay: %d, %v, want 1", n, err)
	}
	write("3:abc}5:12:34}")
	if n, err := netstrings(file); n != 2 || err != nil {
		t.Errorf("mitmproxy: %d, %v, want 2", n, err)
	}
	write("3:abc}9:cut}")
	if n, err := netstrings(file); err == nil {
		t.Errorf("a cut file has %d records", n)
	}
}

func TestSlope(t *testing.T) {
	var points []point
	for i := range 10 {
		points = append(points, point{time.Duration(i) * time.Second, int64(100 + 7*i)})
	}
	if got := slope(points); math.Abs(got-7) > 1e-9 {
		t.Errorf("slope is %v, want 7", got)
	}
	if got := slope(points[:1]); got != 0 {
		t.Errorf("slope of one point is %v", got)
	}
}

func TestBodyHasItsLength(t *testing.T) {
	for _, n := range []int{smallBody, largeBody} {
		if got := len(jsonBody(n)); got != n {
			t.Errorf("%d bytes, want %d", got, n)
		}
	}
}
