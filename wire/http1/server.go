package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

var _ wire.Server = (*Server)(nil)

// Server answers HTTP/1.1 requests with recorded or made responses: fields in
// the order, letter case and number they have in the answer, framed by what is
// really sent. The zero value serves with the defaults.
type Server struct {
	MaxHead      int           // bytes of a request's head; default DefaultMaxHead
	MaxBody      int64         // bytes of a request's body, answered 413 beyond; default DefaultMaxBody
	IdleTimeout  time.Duration // between requests of a connection; default 2 min
	ReadTimeout  time.Duration // from the first byte of a request to its last; default 1 min
	DrainTimeout time.Duration // for answers under way when ctx is done; default 5 s
	Log          *slog.Logger  // refused requests at debug level; default: none
}

func (s *Server) withDefaults() *Server {
	c := *s
	c.MaxHead = orDefault(c.MaxHead, DefaultMaxHead)
	c.MaxBody = orDefault(c.MaxBody, DefaultMaxBody)
	c.IdleTimeout = orDefault(c.IdleTimeout, 2*time.Minute)
	c.ReadTimeout = orDefault(c.ReadTimeout, time.Minute)
	c.DrainTimeout = orDefault(c.DrainTimeout, 5*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &c
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Serve answers on l until ctx is done, then closes l, lets answers under way
// finish for DrainTimeout, and returns nil. Any other end is an error of l.
func (s *Server) Serve(ctx context.Context, l net.Listener, answer wire.Answer) error {
	answering, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	run := &serving{Server: s.withDefaults(), ctx: answering, answer: answer, open: map[*serverConn]bool{}}
	stop := context.AfterFunc(ctx, func() {
		l.Close()
		run.drain()
	})
	defer stop()
	err := run.accept(ctx, l)
	run.drain() // a listener that failed ends its connections too
	run.finish(cancel)
	return err
}

// serving is one call of Serve.
type serving struct {
	*Server
	ctx    context.Context // of answers
	answer wire.Answer
	wg     sync.WaitGroup

	mu       sync.Mutex
	draining bool
	open     map[*serverConn]bool // true: between requests
}

func (s *serving) accept(ctx context.Context, l net.Listener) error {
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err == nil {
			s.wg.Go(func() { s.serve(c) })
			continue
		}
		// Out of file descriptors passes; a closed listener does not.
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		s.Log.Warn("accept failed", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// drain ends the connections that wait for a request; the others end with the
// answer they are at.
func (s *serving) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for c, idle := range s.open {
		if idle {
			c.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

func (s *serving) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// finish waits for the connections, and cuts those that outlast DrainTimeout.
func (s *serving) finish(cancel context.CancelFunc) {
	cut := time.AfterFunc(s.DrainTimeout, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.open {
			c.Close()
		}
	})
	s.wg.Wait()
	cut.Stop()
}

// waits notes that c waits for a request, or no longer does; the answer is
// false when it must not wait because the server drains.
func (s *serving) waits(c *serverConn, idle bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = idle
	if idle && s.draining {
		return false
	}
	if idle {
		c.SetReadDeadline(time.Now().Add(s.IdleTimeout))
	} else {
		c.SetReadDeadline(time.Now().Add(s.ReadTimeout))
	}
	return true
}

func (s *serving) forget(c *serverConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

type serverConn struct {
	net.Conn
	in   *puller
	out  *bufio.Writer
	info *events.Connection // Ordinal is of the next exchange
}

func (s *serving) serve(nc net.Conn) {
	c := &serverConn{
		Conn: nc,
		in:   &puller{r: bufio.NewReaderSize(nc, 8<<10), maxHead: s.MaxHead, maxBody: s.MaxBody},
		out:  bufio.NewWriterSize(nc, 8<<10),
	}
	now := time.Now()
	id := events.NewID(now)
	c.info = &events.Connection{Id: id[:], Client: nc.RemoteAddr().String(), Server: nc.LocalAddr().String(), OpenedAt: now.UnixNano()}
	defer s.forget(c)
	defer nc.Close()
	for s.waits(c, true) && s.next(c) {
		c.info.Ordinal++
	}
}

// next answers one request; false ends the connection.
func (s *serving) next(c *serverConn) bool {
	// Answers to pipelined requests go out together.
	if c.in.r.Buffered() == 0 && c.out.Flush() != nil {
		return false
	}
	if _, err := c.in.r.Peek(1); err != nil {
		return false
	}
	s.waits(c, false)
	x, err := s.read(c)
	if err != nil {
		s.refuse(c, err)
		return false
	}
	response := s.answer(s.ctx, x)
	if response == nil {
		c.out.Flush()
		return false
	}
	closing := !keepsAlive(x.Request.Version, x.Request.Headers) || connectionHas(response.Headers, "close") ||
		response.Status == "101" || s.isDraining()
	writeResponse(c.out, x.Request, response, closing)
	if !closing {
		return true
	}
	c.out.Flush()
	linger(c.Conn, c.in.r)
	return false
}

// read reads a request with its body as an exchange.
func (s *serving) read(c *serverConn) (*events.Exchange, error) {
	first := time.Now()
	r, frame, err := c.in.request()
	if err != nil {
		return nil, err
	}
	if err := s.goOn(c, r, frame); err != nil {
		return nil, err
	}
	if r.Body, r.Trailers, err = c.in.body(frame); err != nil {
		return nil, err
	}
	id := events.NewID(first)
	r.FirstByte, r.LastByte = first.UnixNano(), time.Now().UnixNano()
	x := &events.Exchange{Id: id[:], Protocol: "http", Request: r, Connection: c.connection()}
	if x.Connection.Tls != nil {
		r.Scheme = "https"
	}
	return x, nil
}

// goOn sends 100 Continue to a client that waits for it (RFC 9110, 10.1.1).
func (s *serving) goOn(c *serverConn, r *events.Request, frame framing) error {
	waits := strings.EqualFold(events.HeaderValue(r.Headers, "Expect"), "100-continue")
	if !waits || frame.none() || r.Version != "HTTP/1.1" || frame.length > s.MaxBody {
		return nil
	}
	c.out.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
	return c.out.Flush()
}

func (c *serverConn) connection() *events.Connection {
	info := &events.Connection{Id: c.info.Id, Client: c.info.Client, Server: c.info.Server, OpenedAt: c.info.OpenedAt, Ordinal: c.info.Ordinal}
	if t, ok := c.Conn.(*tls.Conn); ok {
		info.Tls = tlsFacts(t.ConnectionState())
	}
	return info
}

func tlsFacts(state tls.ConnectionState) *events.TLS {
	return &events.TLS{
		Version:    tls.VersionName(state.Version),
		Cipher:     tls.CipherSuiteName(state.CipherSuite),
		ServerName: state.ServerName,
		Alpn:       state.NegotiatedProtocol,
	}
}

// refuse answers what is no acceptable request, so that its sender learns why.
func (s *serving) refuse(c *serverConn, err error) {
	s.Log.Debug("request refused", "peer", c.info.Client, "err", err)
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		c.out.Flush()
		return
	}
	text := "tapedeck: " + r.text + "\n"
	writeResponse(c.out, &events.Request{Version: "HTTP/1.1"}, &events.Response{
		Status: strconv.Itoa(r.status), Reason: http.StatusText(r.status),
		Headers: []*events.Field{{Name: []byte("Content-Type"), Value: []byte("text/plain; charset=utf-8")}},
		Body:    &events.Body{Data: []byte(text), Size: int64(len(text)), Kept: int64(len(text))},
	}, true)
	c.out.Flush()
	linger(c.Conn, c.in.r)
}

// linger reads what still comes before the connection closes: closing with
// unread bytes resets it, and the client may lose the answer.
func linger(c net.Conn, r io.Reader) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	io.CopyN(io.Discard, r, 1<<20)
}
