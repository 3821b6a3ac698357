package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"

	"tapedeck/events"
)

// Pool holds the connections to one target. Each session has a Client of its
// own, which keeps its connection while there are enough of them; an idle one
// goes to another session rather than let a request wait.
type Pool struct {
	Target  *url.URL      // http or https, with the host to connect to
	Max     int           // connections; default 64
	Timeout time.Duration // of one request, connecting included; default 30 s
	MaxBody int64         // bytes kept of an answer's body; default DefaultMaxBody
	TLS     *tls.Config   // for https; default: the system's roots, the target's name
	// Control may forbid to connect to an address that a name resolved to, by
	// an error that wraps ErrRefused; see net.Dialer.
	Control func(network, address string, c syscall.RawConn) error

	once  sync.Once
	slots chan struct{} // one for each exchange under way

	mu   sync.Mutex
	open int
	idle []*clientConn // longest idle first
}

// Client is a session's own.
func (p *Pool) Client() *Client { return &Client{pool: p} }

// Close closes the idle connections. Exchanges under way must have ended.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.Close()
	}
	p.open -= len(p.idle)
	p.idle = nil
	return nil
}

func (p *Pool) timeout() time.Duration { return orDefault(p.Timeout, 30*time.Second) }

func (p *Pool) max() int { return orDefault(p.Max, 64) }

func (p *Pool) address() string {
	port := p.Target.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[p.Target.Scheme]
	}
	return net.JoinHostPort(p.Target.Hostname(), orDefault(port, "80"))
}

// take waits for a slot and finds the session a connection.
func (p *Pool) take(ctx context.Context, client *Client) (*clientConn, error) {
	p.once.Do(func() { p.slots = make(chan struct{}, p.max()) })
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		c := p.pick(client)
		if c == nil {
			break
		}
		if alive(c.Conn) {
			return c, nil
		}
		p.drop(c)
	}
	c, err := p.dial(ctx)
	if err != nil {
		p.drop(nil)
		<-p.slots
	}
	return c, err
}

// pick takes an idle connection: the session's own, else one that no session
// holds, else, when no more may be opened, the longest idle. Without one, a
// connection may be opened and is already counted.
func (p *Pool) pick(client *Client) *clientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.IndexFunc(p.idle, func(c *clientConn) bool { return c.holder == client })
	if at < 0 {
		at = slices.IndexFunc(p.idle, func(c *clientConn) bool { return c.holder == nil })
	}
	if at < 0 && p.open >= p.max() && len(p.idle) > 0 {
		at = 0
	}
	if at < 0 {
		p.open++
		return nil
	}
	c := p.idle[at]
	p.idle = slices.Delete(p.idle, at, at+1)
	return c
}

// drop closes a connection, or gives back the count of one that did not open.
func (p *Pool) drop(c *clientConn) {
	if c != nil {
		c.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
}

// give ends an exchange.
func (p *Pool) give(client *Client, c *clientConn) {
	c.holder = client
	if c.broken {
		p.drop(c)
	} else {
		p.mu.Lock()
		p.idle = append(p.idle, c)
		p.mu.Unlock()
	}
	<-p.slots
}

// release leaves the session's connection to the others.
func (p *Pool) release(client *Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		if c.holder == client {
			c.holder = nil
		}
	}
}

func (p *Pool) dial(ctx context.Context) (*clientConn, error) {
	dialer := net.Dialer{Control: p.Control}
	nc, err := dialer.DialContext(ctx, "tcp", p.address())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	id := events.NewID(now)
	info := &events.Connection{Id: id[:], Client: nc.LocalAddr().String(), Server: nc.RemoteAddr().String(), OpenedAt: now.UnixNano()}
	if p.Target.Scheme == "https" {
		if nc, err = p.secure(ctx, nc, info); err != nil {
			return nil, err
		}
	}
	return &clientConn{
		Conn: nc, target: p.Target, info: info,
		in:  &puller{r: bufio.NewReaderSize(nc, 8<<10), maxHead: DefaultMaxHead, maxBody: orDefault(p.MaxBody, DefaultMaxBody), cut: true},
		out: bufio.NewWriterSize(nc, 8<<10),
	}, nil
}

func (p *Pool) secure(ctx context.Context, nc net.Conn, info *events.Connection) (net.Conn, error) {
	config := &tls.Config{}
	if p.TLS != nil {
		config = p.TLS.Clone()
	}
	config.ServerName = orDefault(config.ServerName, p.Target.Hostname())
	config.NextProtos = []string{"http/1.1"}
	tc := tls.Client(nc, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	info.Tls = tlsFacts(tc.ConnectionState())
	return tc, nil
}
