package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"tapedeck/internal/benchtest"
	"tapedeck/internal/service"
)

// The recorders of others.

// goreplay watches the origin's port: the loader goes past it.
var goreplay = side{name: "GoReplay --input-raw", start: func(ctx context.Context, l *lab) (*turn, error) {
	program, err := l.program("goreplay")
	if err != nil {
		return nil, err
	}
	dir, err := l.fresh()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "requests.gor")
	p, err := benchtest.Start("goreplay", program, "--input-raw", l.clear, "--input-raw-track-response",
		"--output-file", file, "--output-file-append", "--output-file-size-limit", "64gb", "--output-file-flush-interval", "200ms")
	if err != nil {
		return nil, err
	}
	before, err := watching(ctx, l, file)
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("%w: %s", err, p.Output())
	}
	return &turn{process: p, address: l.clear, recorded: func(context.Context, int64) (counts, error) {
		n, err := goreplayExchanges(file)
		return counts{Rows: n - before}, err
	}}, nil
}}

// watching sends single requests until one is in the file, and returns how
// many are in it when no more come.
func watching(ctx context.Context, l *lab, file string) (int64, error) {
	single := load{Address: l.clear, Connections: 1, Requests: 1, Prefix: small, Body: smallBody}
	for range 50 {
		if _, err := runLoad(ctx, single); err != nil {
			return 0, err
		}
		if !service.Sleep(ctx, 200*time.Millisecond) {
			return 0, ctx.Err()
		}
		if n, err := goreplayExchanges(file); err == nil && n > 0 {
			service.Sleep(ctx, time.Second)
			return goreplayExchanges(file)
		}
	}
	return 0, fmt.Errorf("goreplay sees no traffic of %s", l.clear)
}

// goreplayExchanges counts requests and answers, which lie behind each other
// between separators, and returns the lesser.
func goreplayExchanges(file string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	separator := []byte("\U0001F435\U0001F648\U0001F649\n")
	var requests, answers int64
	r, first := bufio.NewReaderSize(f, 1<<20), true
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case first && bytes.HasPrefix(line, []byte("1 ")):
			requests++
		case first && bytes.HasPrefix(line, []byte("2 ")):
			answers++
		}
		first = bytes.HasSuffix(line, separator)
		if err == io.EOF {
			return min(requests, answers), nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return 0, err
		}
	}
}

var mitmproxy = side{name: "mitmdump -w", start: func(ctx context.Context, l *lab) (*turn, error) {
	return startMitmdump(ctx, l, "--mode", "reverse:http://"+l.clear)
}}

func startMitmdump(ctx context.Context, l *lab, mode ...string) (*turn, error) {
	program, err := l.program("mitmdump")
	if err != nil {
		return nil, err
	}
	dir, err := l.fresh()
	if err != nil {
		return nil, err
	}
	flows := filepath.Join(dir, "flows")
	t, err := listening(ctx, "mitmdump", func(address string) (string, []string) {
		args := []string{"--set", "confdir=" + dir, "--listen-host", "127.0.0.1", "-p", portOf(address), "-q", "-w", flows}
		return program, append(args, mode...)
	})
	if err != nil {
		return nil, err
	}
	t.recorded = func(context.Context, int64) (counts, error) {
		n, err := netstrings(flows)
		return counts{Rows: n}, err
	}
	return t, nil
}

// netstrings counts the records of a file in which each stands behind its
// length.
func netstrings(file string) (n int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		length, err := r.ReadString(':')
		if err == io.EOF && length == "" {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		size, err := strconv.Atoi(length[:len(length)-1])
		if err != nil {
			return n, err
		}
		if _, err := r.Discard(size + 1); err != nil {
			return n, err
		}
		n++
	}
}

// hoverfly keeps one of equal exchanges, so that it has no count to compare.
func hoverfly(name string, paths int, change func(*lab, *load)) side {
	return side{name: name, vary: func(w *load) { w.Paths = paths }, start: func(ctx context.Context, l *lab) (*turn, error) {
		program := os.Getenv("HOVERFLY")
		if program == "" {
			var err error
			if program, err = l.program("hoverfly"); err != nil {
				return nil, errMissing{"not installed, set HOVERFLY"}
			}
		}
		admin, err := benchtest.FreeAddress()
		if err != nil {
			return nil, err
		}
		t, err := listening(ctx, "hoverfly", func(address string) (string, []string) {
			return program, []string{"-capture", "-pp", portOf(address), "-ap", portOf(admin), "-listen-on-host", "127.0.0.1", "-log-level", "error", "-tls-verification=false"}
		})
		if err == nil {
			t.change = func(w *load) { change(l, w) }
		}
		return t, err
	}}
}
