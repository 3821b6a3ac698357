package http1

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"tapedeck/events"
)

// clientConn is one connection to the target.
type clientConn struct {
	net.Conn
	target *url.URL
	in     *puller
	out    *bufio.Writer
	info   *events.Connection // Ordinal is of the next exchange
	ctx    context.Context    // of the exchange under way
	used   bool               // it has carried an exchange
	broken bool               // it can't carry another
	holder *Client            // whose requests it carried last
}

// do carries one exchange. again says that the connection, kept alive, turned
// out to be closed before the request could be handled.
func (c *clientConn) do(ctx context.Context, x *events.Exchange) (got *events.Exchange, again bool) {
	c.ctx = ctx
	c.resetDeadline()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() {
			c.broken = true // the deadline may be set at any moment
		}
		c.SetDeadline(time.Time{})
	}()
	reused := c.used
	c.used = true
	got = c.begin(x)
	err := c.exchange(got)
	c.info.Ordinal++
	if err == nil {
		return got, false
	}
	c.broken = true
	if reused && got.Response == nil && ctx.Err() == nil && closedEarly(err) && idempotent(got.Request.Method) {
		return nil, true
	}
	got.Failure = failure(ctx, err)
	return got, false
}

func (c *clientConn) begin(x *events.Exchange) *events.Exchange {
	now := time.Now()
	id := events.NewID(now)
	request := sentRequest(x.Request, c.target)
	request.FirstByte = now.UnixNano()
	return &events.Exchange{
		Id: id[:], Direction: x.Direction, Protocol: "http", Request: request,
		Connection: &events.Connection{
			Id: c.info.Id, Client: c.info.Client, Server: c.info.Server, OpenedAt: c.info.OpenedAt,
			Ordinal: c.info.Ordinal, Tls: c.info.Tls,
		},
	}
}

// exchange sends the request and reads its answer into got.
func (c *clientConn) exchange(got *events.Exchange) error {
	r := got.Request
	chunked := isChunked(r.Headers)
	data := r.GetBody().GetData()
	version := orDefault(r.Version, "HTTP/1.1")
	writeLine(c.out, r.Method, r.Target, version)
	writeFields(c.out, r.Headers, chunked, len(data), nil)
	c.out.WriteString("\r\n")
	if strings.EqualFold(events.HeaderValue(r.Headers, "Expect"), "100-continue") && (chunked || len(data) > 0) {
		return c.afterContinue(got, chunked)
	}
	return c.bothWays(got, func() error {
		writeBody(c.out, data, chunked, r.Trailers)
		return c.out.Flush()
	})
}

// afterContinue sends the body when the target asks for it, or after a second
// of silence (RFC 9110, section 10.1.1).
func (c *clientConn) afterContinue(got *events.Exchange, chunked bool) error {
	r := got.Request
	if err := c.out.Flush(); err != nil {
		return err
	}
	r.LastByte = time.Now().UnixNano()
	if c.wait(time.Second) {
		response, frame, err := c.head(r.Method)
		if err != nil {
			return err
		}
		if response.Status != "100" {
			c.broken = true // it did not want the body
			return c.finish(got, response, frame)
		}
		got.Interim = append(got.Interim, response)
	}
	return c.bothWays(got, func() error {
		writeBody(c.out, r.GetBody().GetData(), chunked, r.Trailers)
		return c.out.Flush()
	})
}

// wait says whether an answer begins within d.
func (c *clientConn) wait(d time.Duration) bool {
	c.SetReadDeadline(time.Now().Add(d))
	_, err := c.in.r.Peek(1)
	c.resetDeadline()
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// resetDeadline sets that of the exchange's context, which may just have ended.
func (c *clientConn) resetDeadline() {
	deadline, _ := c.ctx.Deadline()
	c.SetDeadline(deadline)
	if c.ctx.Err() != nil {
		c.SetDeadline(time.Unix(1, 0))
	}
}

// bothWays sends the body and reads the answer. A target may answer before it
// has read a large body, so that one is sent beside the reading.
func (c *clientConn) bothWays(got *events.Exchange, send func() error) error {
	if got.Request.GetBody().GetSize() <= 64<<10 {
		sendErr := send()
		got.Request.LastByte = time.Now().UnixNano()
		return c.answer(got, sendErr)
	}
	sent := make(chan error, 1)
	go func() {
		err := send()
		got.Request.LastByte = time.Now().UnixNano()
		sent <- err
	}()
	err := c.answer(got, nil)
	select {
	case sendErr := <-sent:
		c.broken = c.broken || sendErr != nil
	default:
		// The answer is there and the body is not: the rest isn't wanted.
		c.broken = true
		c.SetWriteDeadline(time.Unix(1, 0))
		<-sent
	}
	return err
}

// answer reads the answer. A target that answers and closes without reading
// makes sending fail, and its answer counts all the same.
func (c *clientConn) answer(got *events.Exchange, sendErr error) error {
	for {
		response, frame, err := c.head(got.Request.Method)
		if err != nil {
			return errors.Join(sendErr, err)
		}
		if strings.HasPrefix(response.Status, "1") && response.Status != "101" {
			got.Interim = append(got.Interim, response)
			continue
		}
		c.broken = c.broken || sendErr != nil
		return c.finish(got, response, frame)
	}
}

// head reads a response without its body.
func (c *clientConn) head(method string) (*events.Response, framing, error) {
	if _, err := c.in.r.Peek(1); err != nil {
		return nil, framing{}, unexpected(err)
	}
	first := time.Now().UnixNano()
	response, frame, err := c.in.response(method)
	if err != nil {
		return nil, framing{}, err
	}
	response.FirstByte, response.LastByte = first, time.Now().UnixNano()
	return response, frame, nil
}

// finish reads the body of the final response.
func (c *clientConn) finish(got *events.Exchange, response *events.Response, frame framing) (err error) {
	got.Response = response
	response.Body, response.Trailers, err = c.in.body(frame)
	response.LastByte = time.Now().UnixNano()
	if frame.kind == closeBody || response.Status == "101" || !keepsAlive(response.Version, response.Headers) ||
		connectionHas(got.Request.Headers, "close") {
		c.broken = true
	}
	return err
}
