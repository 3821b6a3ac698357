package http1

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// Proxy is a forward proxy (RFC 9110, 7.6; RFC 9112, 3.2.2) for one client
// connection. It is the one place with a parser in the path: requests of one
// connection go to many hosts, so it must know where each ends. It has one
// upstream connection a host, makes the request target origin-form, removes
// Proxy-* headers, and sends everything else on byte for byte. What two
// parsers could read in two ways is answered with 400 and the end of the
// connection.
type Proxy struct {
	// Dial connects to host:port. When it fails, a connection that is not nil
	// is written what would have been sent, and closed.
	Dial func(authority string) (net.Conn, error)
	// Tunnel takes the client's connection over for CONNECT; early is what the
	// client has sent behind its request.
	Tunnel func(authority string, early []byte)
	// Allow looks at the client's credentials (Proxy-Authorization: Basic);
	// nil asks for none.
	Allow func(user, password string) bool
	// Early is what was read from the client already.
	Early []byte

	client    net.Conn
	parser    parser
	unread    []byte // of the client
	ended     error  // of the client's side, once it was seen
	buf       []byte
	upstreams map[string]net.Conn
}

const (
	proxyBuffer  = 32 << 10
	maxUpstreams = 32
	// uploadGrace is how long a client may go on sending a request that is
	// answered already.
	uploadGrace = 5 * time.Second
)

// Serve answers requests until the connection can carry no more.
func (p *Proxy) Serve(client net.Conn) {
	p.client, p.unread, p.buf, p.upstreams = client, p.Early, make([]byte, proxyBuffer), map[string]net.Conn{}
	p.parser.strict = true
	defer func() {
		for _, u := range p.upstreams {
			u.Close()
		}
	}()
	for p.one() {
	}
}

// one handles a request and says whether another may follow.
func (p *Proxy) one() bool {
	raw, err := p.readHead()
	if err != nil {
		if p.parser.err != nil {
			WriteRefusal(p.client, http.StatusBadRequest, err.Error())
		}
		return false
	}
	h, err := parseHead(raw, false, true)
	if err != nil {
		WriteRefusal(p.client, http.StatusBadRequest, err.Error())
		return false
	}
	if !p.allowed(&h) {
		WriteRefusal(p.client, http.StatusProxyAuthRequired, "this proxy asks for the user and password of --proxy-user", `Proxy-Authenticate: Basic realm="tapedeck"`)
		return false
	}
	if string(h.first) == "CONNECT" {
		authority, ok := withPort(string(h.second), "443")
		if !ok {
			WriteRefusal(p.client, http.StatusBadRequest, "the target of CONNECT is no host:port")
			return false
		}
		p.Tunnel(authority, p.unread)
		return false
	}
	return p.forward(raw, &h)
}

// allowed says that the request carries credentials that Allow takes.
func (p *Proxy) allowed(h *head) bool {
	if p.Allow == nil {
		return true
	}
	// net/http reads the header that is Authorization's twin.
	given := &http.Request{Header: http.Header{"Authorization": {events.HeaderValue(h.fields, "Proxy-Authorization")}}}
	user, password, ok := given.BasicAuth()
	return ok && p.Allow(user, password)
}

// readHead reads up to the end of a head; what is behind it stays unread.
func (p *Proxy) readHead() ([]byte, error) {
	for {
		if !p.parser.begun() {
			p.unread = skipBlankLines(p.unread)
		}
		for len(p.unread) > 0 {
			n, f := p.parser.next(p.unread)
			head := p.parser.head
			p.unread = p.unread[n:]
			switch f {
			case gotHead:
				return bytes.Clone(head), nil // reads go on into the same bytes
			case gotBad:
				return nil, p.parser.err
			}
		}
		if err := p.read(); err != nil {
			return nil, err
		}
	}
}

func (p *Proxy) read() error {
	if p.ended != nil {
		return p.ended
	}
	n, err := p.client.Read(p.buf)
	p.unread = p.buf[:n]
	if n > 0 {
		return nil
	}
	return err
}

// forward sends a request on and brings its answer back.
func (p *Proxy) forward(raw []byte, h *head) bool {
	authority, target, ok := absoluteForm(h.second)
	if !ok {
		WriteRefusal(p.client, http.StatusBadRequest, "this is a proxy: it takes http://host/path and CONNECT host:port")
		return false
	}
	kind, length, err := h.requestBody()
	if err != nil {
		WriteRefusal(p.client, http.StatusBadRequest, err.Error())
		return false
	}
	upstream, err := p.upstream(authority)
	rewritten := rewrite(raw, h, target)
	if err != nil {
		if upstream != nil {
			upstream.Write(rewritten)
			upstream.Close()
		}
		WriteRefusal(p.client, http.StatusBadGateway, "can't connect to "+authority+": "+wire.Failure(err))
		return false
	}
	p.parser.frame(kind, length)
	if _, err := upstream.Write(rewritten); err != nil {
		return false // as a stale connection without us
	}
	return p.exchange(upstream, authority, h)
}

// upstream is the connection to a host, as long as it lives.
func (p *Proxy) upstream(authority string) (net.Conn, error) {
	if u := p.upstreams[authority]; u != nil {
		if alive(plain(u)) {
			return u, nil
		}
		p.drop(authority)
	}
	if len(p.upstreams) >= maxUpstreams {
		for a := range p.upstreams {
			p.drop(a)
			break
		}
	}
	u, err := p.Dial(authority)
	if err == nil {
		p.upstreams[authority] = u
	}
	return u, err
}

func (p *Proxy) drop(authority string) {
	p.upstreams[authority].Close()
	delete(p.upstreams, authority)
}

// plain is the connection below one that watches it.
func plain(c net.Conn) net.Conn {
	if w, ok := c.(interface{ NetConn() net.Conn }); ok {
		return w.NetConn()
	}
	return c
}

// exchange sends the body while it waits for the answer, which may come first.
func (p *Proxy) exchange(upstream net.Conn, authority string, h *head) bool {
	sent := make(chan error, 1)
	var client *watch
	if p.parser.state == inEnd {
		p.parser.next(nil) // no body
		client = p.watch(upstream)
		sent <- nil
	} else {
		go func() {
			err := p.sendBody(upstream)
			if err == nil {
				client = p.watch(upstream)
			}
			sent <- err
		}()
	}
	a := &proxyAnswer{method: string(h.first), to: p.client, from: upstream}
	a.parser.strict = true
	keep, switched := a.relay()
	if !keep && !switched {
		p.drop(authority)
	}
	err := p.bodySent(sent)
	client.stop()
	if switched {
		if err == nil {
			p.splice(upstream)
		}
		return false
	}
	if err != nil {
		if p.parser.err != nil && !a.begun {
			WriteRefusal(p.client, http.StatusBadRequest, err.Error())
		}
		return false
	}
	return keep && keepsAlive(string(h.third), h.fields)
}

// bodySent waits for a client that is still sending what is answered already.
func (p *Proxy) bodySent(sent chan error) error {
	select {
	case err := <-sent:
		return err
	default:
	}
	p.client.SetReadDeadline(time.Now().Add(uploadGrace))
	err := <-sent
	p.client.SetReadDeadline(time.Time{})
	return err
}

// sendBody copies the request's body as it is framed.
func (p *Proxy) sendBody(upstream net.Conn) error {
	for {
		b := p.unread
		end := false
		for len(p.unread) > 0 && !end || p.parser.state == inEnd {
			n, f := p.parser.next(p.unread)
			p.unread = p.unread[n:]
			switch f {
			case gotBad:
				upstream.Close() // neither side can tell any more what is what
				return p.parser.err
			case gotEnd:
				end = true
			}
			if end {
				break
			}
		}
		if b = b[:len(b)-len(p.unread)]; len(b) > 0 {
			if _, err := upstream.Write(b); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
		if err := p.read(); err != nil {
			halfClose(upstream)
			return err
		}
	}
}

func halfClose(c net.Conn) {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
}

// splice copies both ways after an upgrade.
func (p *Proxy) splice(upstream net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := upstream.Write(p.unread); err == nil {
			io.Copy(writerOnly{upstream}, p.client)
		}
		halfClose(upstream)
	}()
	io.Copy(writerOnly{p.client}, readerOnly{upstream})
	halfClose(p.client)
	<-done
}

// writerOnly and readerOnly hide the short cuts of a TCP connection, which
// would pass by what watches it.
type writerOnly struct{ io.Writer }
type readerOnly struct{ io.Reader }
