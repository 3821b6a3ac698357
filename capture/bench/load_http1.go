package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// build makes the requests ahead: a loader that formats measures itself.
func (w *loader) build() [][]byte {
	host, scheme := w.Host, ""
	if host == "" {
		host = w.Address
	}
	if w.Absolute {
		scheme = "http://" + host
	}
	credentials := ""
	if w.Credentials {
		credentials = "Authorization: Bearer of-the-benchmark-0123456789\r\nCookie: session=of-the-benchmark-0123456789; theme=dark\r\n"
	}
	requests := make([][]byte, max(w.Paths, 1))
	for i := range requests {
		requests[i] = fmt.Appendf(nil, "GET %s%s%d HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n%s\r\n", scheme, w.Prefix, i, host, credentials)
	}
	return requests
}

// http1 sends requests on one connection, and dials again when it was closed.
func (w *loader) http1(ctx context.Context, n int, conn net.Conn, r *bufio.Reader) {
	t, random := newTally(), rand.New(rand.NewPCG(uint64(n), 1))
	defer w.add(t)
	defer func() { conn.Close() }()
	for {
		due, ok := w.next(ctx)
		if !ok {
			return
		}
		sent := time.Since(w.begun)
		last, err := w.ask(conn, r, w.requests[random.IntN(len(w.requests))])
		if err == nil {
			now := time.Since(w.begun)
			t.answered(now-sent, now-due)
		} else {
			t.failed(err)
		}
		if err == nil && !last {
			continue
		}
		conn.Close()
		again, err := w.dial(ctx)
		if err != nil {
			t.failed(err)
			return
		}
		conn = again
		r.Reset(conn)
	}
}

// ask says also whether the connection ends with the answer.
func (w *loader) ask(conn net.Conn, r *bufio.Reader, request []byte) (last bool, err error) {
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write(request); err != nil {
		return true, err
	}
	a, err := readAnswer(r)
	if err != nil {
		return true, err
	}
	if a.status != 200 || a.body != int64(w.Body) {
		return true, fmt.Errorf("answered %d with %d bytes, want 200 with %d", a.status, a.body, w.Body)
	}
	return a.last, nil
}

type answer struct {
	status int
	body   int64 // bytes
	last   bool  // the connection ends
}

// readAnswer reads one answer and counts its body.
func readAnswer(r *bufio.Reader) (answer, error) {
	a := answer{body: -1}
	line, err := r.ReadSlice('\n')
	if err != nil {
		return a, err
	}
	if len(line) < 12 {
		return a, fmt.Errorf("no status line: %q", line)
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, fmt.Errorf("no status line: %q", line)
	}
	chunked := false
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return a, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")):
			a.body, err = strconv.ParseInt(string(value), 10, 64)
		case len(name) == len("Transfer-Encoding") && bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case len(name) == len("Connection") && bytes.EqualFold(name, []byte("Connection")):
			a.last = bytes.EqualFold(value, []byte("close"))
		}
		if err != nil {
			return a, err
		}
	}
	switch {
	case chunked:
		a.body, err = discardChunks(r)
	case a.body >= 0:
		_, err = r.Discard(int(a.body))
	default:
		a.last = true
		a.body, err = io.Copy(io.Discard, r)
	}
	return a, err
}

func discardChunks(r *bufio.Reader) (total int64, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return total, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return total, err
		}
		if _, err := r.Discard(int(n) + 2); err != nil {
			return total, err
		}
		if total += n; n == 0 {
			return total, nil
		}
	}
}
