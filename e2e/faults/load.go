package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tapedeck/internal/service"
)

// idleCut is how long a connection must have been quiet for an ending capture
// to close it; a little less than capture's own, clients see it later.
const idleCut = 80 * time.Millisecond

// answer is a request that got its answer.
type answer struct {
	life string
	at   time.Time
}

// load is what the clients know: the oracle.
type load struct {
	next   atomic.Int64
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	answered map[int]answer
	reached  map[int]int // how often the origin saw a number
	refused  int         // dials while nobody served
	broken   map[string]int
	wrong    []string // errors that we caused
}

func startLoad(s *stack, c config) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, answered: map[int]answer{}, reached: map[int]int{}, broken: map[string]int{}}
	s.origin.Store(l)
	for i := range c.clients {
		r := rand.New(rand.NewPCG(c.seed, uint64(i)+1))
		l.wg.Go(func() {
			for ctx.Err() == nil {
				n := r.IntN(len(s.captures))
				l.visit(ctx, r, s.captures[n], s.fronts[n])
				service.Sleep(ctx, time.Duration(r.IntN(60))*time.Millisecond)
			}
		})
	}
	return l
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

func (l *load) sent() int { return int(l.next.Load()) }

// visit is one connection with some requests.
func (l *load) visit(ctx context.Context, r *rand.Rand, capture *slot, address string) {
	before := capture.serving()
	conn, err := net.DialTimeout("tcp", address, 30*time.Second)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refused++
		if before != nil && capture.current() == before {
			l.wrong = append(l.wrong, fmt.Sprintf("dial while %s serves: %v", before.name, err))
		}
		return
	}
	defer conn.Close()
	if before == nil || capture.current() != before {
		return // whose it is, is not known
	}
	reader := bufio.NewReader(conn)
	last := time.Now()
	for i := range 1 + r.IntN(12) {
		if ctx.Err() != nil {
			return
		}
		idle := time.Since(last)
		n := int(l.next.Add(1))
		got, err := exchange(conn, reader, n, r)
		if err != nil {
			l.failed(before, n, i == 0, got, idle, err)
			return
		}
		last = time.Now()
		l.mu.Lock()
		l.answered[n] = answer{before.name, last}
		l.mu.Unlock()
		service.Sleep(ctx, time.Duration(r.IntN(40))*time.Millisecond)
	}
}

// failed judges an error: an ending capture may close connections that are
// quiet or that it never accepted, a killed one all of its own.
func (l *load) failed(capture *life, n int, first, got bool, idle time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked, at := capture.ending()
	switch {
	case asked == syscall.SIGKILL:
		l.broken["by a killed capture"]++
	case asked == syscall.SIGTERM && !got && (first || idle >= idleCut):
		l.broken["idle, by an ending capture"]++
	default:
		l.wrong = append(l.wrong, fmt.Sprintf("request %d on %s (asked to end: %v, %s ago; idle %s, answer begun %v): %v",
			n, capture.name, asked, time.Since(at).Round(time.Millisecond), idle.Round(time.Millisecond), got, err))
	}
}

// exchange sends request n; got says that bytes of an answer came.
func exchange(conn net.Conn, reader *bufio.Reader, n int, r *rand.Rand) (got bool, err error) {
	conn.SetDeadline(time.Now().Add(time.Minute))
	request := fmt.Sprintf("GET /items/%d HTTP/1.1\r\nHost: shop.example\r\n\r\n", n)
	if r.IntN(3) == 0 {
		body := strings.Repeat("order ", r.IntN(500))
		request = fmt.Sprintf("POST /items/%d HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n%s", n, len(body), body)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return false, err
	}
	if _, err := reader.Peek(1); err != nil {
		return false, err
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return true, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return true, err
	}
	if response.StatusCode != http.StatusOK || !bytes.Equal(body, bodyOf(n)) {
		return true, fmt.Errorf("status %d with %d bytes that are not the origin's", response.StatusCode, len(body))
	}
	return true, nil
}

// bodyOf is what the origin answers; one in two hundred is longer than a
// record holds.
func bodyOf(n int) []byte {
	repeat := n % 150
	if n%200 == 0 {
		repeat = 40_000
	}
	return fmt.Appendf(nil, `{"n":%d,"items":"%s"}`, n, strings.Repeat("lorem "+strconv.Itoa(n%7)+" ", repeat))
}

// ServeHTTP is the origin.
func (l *load) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	n, err := numberOf(r.URL.Path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	l.reached[n]++
	l.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Write(bodyOf(n))
}

func numberOf(path string) (int, error) {
	rest, found := strings.CutPrefix(path, "/items/")
	if !found {
		return 0, errors.New("no item: " + path)
	}
	return strconv.Atoi(rest)
}
