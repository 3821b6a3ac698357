package capture

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"tapedeck/internal/natstest"
)

// The relay against what it is made of: the same 64 keep-alive connections ask
// the same bare server for 1 KiB of JSON directly, through a relay that only
// copies, and through capture with every exchange recorded and published. All
// parts share the machine; cpu-µs/op is that of the whole process.

const benchConnections = 64

var benchBody = `{"items":[` + string(bytes.Repeat([]byte(`{"id":17,"name":"a product","price":12.5},`), 22)) + `{}]}`

// benchServer answers each request head with the same bytes.
func benchServer(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				answerBench(c)
			}()
		}
	}()
	return l.Addr().String()
}

var benchAnswer = []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(benchBody)) + "\r\n\r\n" + benchBody)

func answerBench(c net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		for range bytes.Count(buf[:n], []byte("\r\n\r\n")) {
			if _, err := c.Write(benchAnswer); err != nil {
				return
			}
		}
	}
}

// bareRelay is io.Copy both ways, without the splice that would keep the bytes
// in the kernel: nothing that looks at bytes can have that.
func bareRelay(b *testing.B, upstream string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				u, err := net.Dial("tcp", upstream)
				if err != nil {
					return
				}
				defer u.Close()
				go func() {
					io.Copy(struct{ io.Writer }{u}, struct{ io.Reader }{c})
					u.(*net.TCPConn).CloseWrite()
				}()
				io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{u})
			}()
		}
	}()
	return l.Addr().String()
}

// load sends b.N requests over the connections, one at a time on each.
func load(b *testing.B, address string) {
	var wg sync.WaitGroup
	for i := range benchConnections {
		n := b.N / benchConnections
		if i < b.N%benchConnections {
			n++
		}
		wg.Go(func() {
			if err := ask(address, i, n); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

func ask(address string, connection, n int) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	return askOn(c, address, connection, n)
}

// askOn sends n requests and reads their answers.
func askOn(c net.Conn, address string, connection, n int) error {
	r := bufio.NewReaderSize(c, 8192)
	var request []byte
	for i := range n {
		request = fmt.Appendf(request[:0], "GET /api/v1/items/%d?n=%d HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: application/json\r\nAuthorization: Bearer abcdefghijklmnop\r\n\r\n", i, connection, address)
		if _, err := c.Write(request); err != nil {
			return err
		}
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return err
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := r.Discard(len(benchBody)); err != nil {
			return err
		}
	}
	return nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func measure(b *testing.B, address string, after func()) {
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	load(b, address)
	b.StopTimer()
	if after != nil {
		after()
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e3, "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

func BenchmarkRelay(b *testing.B) {
	b.Run("direct", func(b *testing.B) { measure(b, benchServer(b), nil) })
	b.Run("bare", func(b *testing.B) { measure(b, bareRelay(b, benchServer(b)), nil) })
	for _, pressure := range []string{"drop", "block"} {
		b.Run("capture-"+pressure, func(b *testing.B) {
			_, js := natstest.New(b)
			c := start(b, Config{Inbound: []string{"0=" + benchServer(b)}, OnPressure: pressure, TapeAge: time.Second}, Deps{JS: js, Data: b.TempDir()})
			measure(b, c.Addrs()[0].String(), c.stop)
			counts := c.Counts()
			b.ReportMetric(float64(counts.Taped)/float64(b.N), "recorded/op")
			if counts.Begun != uint64(b.N) && pressure == "block" || counts.Open != 0 {
				b.Errorf("%+v of %d", counts, b.N)
			}
		})
	}
}
