package http1

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"time"
)

// lookAfter is how long an answer takes before the client is watched: most are
// over sooner.
const lookAfter = 100 * time.Millisecond

// watch reads what the client sends while it is answered: that it is gone must
// reach an upstream that has nothing to say, as the end of an event stream.
type watch struct {
	proxy    *Proxy
	upstream net.Conn
	timer    *time.Timer
	done     chan struct{}
	ahead    []byte // of the requests that follow
}

// watch begins when a request is sent.
func (p *Proxy) watch(upstream net.Conn) *watch {
	w := &watch{proxy: p, upstream: upstream, done: make(chan struct{})}
	w.timer = time.AfterFunc(lookAfter, func() {
		defer close(w.done)
		w.look()
	})
	return w
}

func (w *watch) look() {
	p := w.proxy
	for p.ended == nil && len(w.ahead) < proxyBuffer {
		w.ahead = slices.Grow(w.ahead, 512)
		n, err := p.client.Read(w.ahead[len(w.ahead):min(cap(w.ahead), proxyBuffer)])
		w.ahead = w.ahead[:len(w.ahead)+n]
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return // stop
		}
		p.ended = err
	}
	switch {
	case p.ended == nil:
	case p.ended != io.EOF:
		w.upstream.Close() // nobody reads the answer
	case len(p.unread)+len(w.ahead) == 0:
		halfClose(w.upstream) // it may be finishing its answer
	}
}

// stop ends it before the client's next request is read.
func (w *watch) stop() {
	if w == nil || w.timer.Stop() {
		return
	}
	p := w.proxy
	p.client.SetReadDeadline(time.Unix(1, 0))
	<-w.done
	p.client.SetReadDeadline(time.Time{})
	if len(w.ahead) > 0 {
		p.unread, w.ahead = append(bytes.Clone(p.unread), w.ahead...), nil
	}
}
