package http1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"syscall"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

var _ wire.Client = (*Client)(nil)

// Client sends the recorded requests of one session to the pool's target, one
// at a time, byte for byte as they were recorded: request target, order,
// letter case and duplicates of fields, framing by Content-Length or chunks.
// It is not safe for concurrent use; a Pool has as many as there are sessions.
type Client struct {
	pool *Pool
}

// Close gives the session's connection back to the pool.
func (c *Client) Close() error {
	c.pool.release(c)
	return nil
}

// Do sends the request of x and returns the exchange as it went. No complete
// answer is an exchange with a Failure. It is an error when there was nothing
// to send: no request, a truncated body, a refused target.
func (c *Client) Do(ctx context.Context, x *events.Exchange) (*events.Exchange, error) {
	if x.Request == nil {
		return nil, errors.New("send exchange: it has no request")
	}
	if b := x.Request.Body; b != nil && b.Size != int64(len(b.Data)) {
		return nil, fmt.Errorf("send %s %s: %w: %d of %d bytes are there", x.Request.Method, x.Request.Target, ErrBody, len(b.Data), b.Size)
	}
	ctx, cancel := context.WithTimeout(ctx, c.pool.timeout())
	defer cancel()
	for {
		conn, err := c.pool.take(ctx, c)
		if err != nil {
			return c.unconnected(ctx, x, err)
		}
		got, again := conn.do(ctx, x)
		c.pool.give(c, conn)
		if !again {
			return got, nil
		}
	}
}

// ErrBody says that a request can't be sent because its body is not whole.
var ErrBody = errors.New("body is not whole")

// ErrRefused is wrapped by the errors of a Pool.Control that forbids a target.
var ErrRefused = errors.New("target refused")

// unconnected is an exchange that found no connection.
func (c *Client) unconnected(ctx context.Context, x *events.Exchange, err error) (*events.Exchange, error) {
	if errors.Is(err, ErrRefused) {
		return nil, fmt.Errorf("connect %s: %w", c.pool.Target, err)
	}
	now := time.Now()
	id := events.NewID(now)
	request := sentRequest(x.Request, c.pool.Target)
	request.FirstByte, request.LastByte = now.UnixNano(), now.UnixNano()
	return &events.Exchange{
		Id: id[:], Direction: x.Direction, Protocol: "http", Request: request,
		Connection: &events.Connection{Server: c.pool.address()},
		Failure:    failure(ctx, err),
	}, nil
}

// sentRequest is what the target sees of the request.
func sentRequest(r *events.Request, target *url.URL) *events.Request {
	version, headers := r.Version, r.Headers
	if version == versionTwo {
		version = "HTTP/1.1"
		if r.Host != "" && events.HeaderValue(headers, "Host") == "" {
			headers = append([]*events.Field{{Name: []byte("Host"), Value: []byte(r.Host)}}, headers...)
		}
	}
	return &events.Request{
		Method: r.Method, Scheme: target.Scheme, Host: events.HeaderValue(headers, "Host"), Target: originForm(r.Target),
		Version: version, Headers: headers, Body: r.Body, Trailers: r.Trailers,
	}
}

// versionTwo is the version of requests that were recorded over HTTP/2. They
// are sent as HTTP/1.1, which writes the host as a header.
const versionTwo = "HTTP/2.0"

// originForm is the request target without scheme and host, which only a
// proxy is sent.
func originForm(target string) string {
	_, rest, absolute := strings.Cut(target, "://")
	if !absolute || strings.HasPrefix(target, "/") {
		return target
	}
	if at := strings.IndexAny(rest, "/?"); at >= 0 {
		return "/" + strings.TrimPrefix(rest[at:], "/")
	}
	return "/"
}

// failure says in few words why there is no complete answer.
func failure(ctx context.Context, err error) string {
	refused, isRefusal := errors.AsType[*refusal](err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "cancelled"
	case ctx.Err() != nil:
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed before the answer was complete"
	case isRefusal:
		return "malformed answer: " + refused.text
	}
	return wire.Failure(err)
}

// closedEarly says that the other side had closed the connection.
func closedEarly(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// idempotent says that sending twice does what sending once does (RFC 9110,
// section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}
