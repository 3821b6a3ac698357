package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// load sends the exchanges over keep-alive connections as fast as answers
// come, and returns how many were answered with 200 and the CPU it took.
func load(ctx context.Context, address string, c config) (int, time.Duration, error) {
	before := ownCPU()
	var next, answered atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, c.connections)
	for range c.connections {
		wg.Go(func() {
			if err := connection(ctx, address, int64(c.exchanges), &next, &answered); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, 0, fmt.Errorf("load after %d answers: %w", answered.Load(), err)
	default:
		return int(answered.Load()), ownCPU() - before, nil
	}
}

func connection(ctx context.Context, address string, total int64, next, answered *atomic.Int64) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	reader := bufio.NewReaderSize(conn, 16<<10)
	var request []byte
	for n := next.Add(1); n <= total; n = next.Add(1) {
		request = fmt.Appendf(request[:0], "GET /api/v1/items/%d HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: benchpath\r\nAccept: */*\r\nX-Request-Id: %016d\r\n\r\n", n%10_000, n)
		if _, err := conn.Write(request); err != nil {
			return err
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode == http.StatusOK {
			answered.Add(1)
		}
	}
	return nil
}

func ownCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
