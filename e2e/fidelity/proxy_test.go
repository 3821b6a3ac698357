package fidelity

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	firstLine = regexp.MustCompile(`^([A-Z]+) (/[^ \r\n]*) (HTTP/1\.[01])\r\n`)
	anyLine   = regexp.MustCompile(`([A-Z]+) (/[^ \r\n]*) (HTTP/1\.[01])\r\n`)
	refusal   = regexp.MustCompile(`HTTP/1\.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: \d+\r\nConnection: close\r\n\r\ntapedeck: [^\n]+\n$`)
	// What the proxy leaves out: its own headers, and blank lines between
	// requests (RFC 9112, section 2.2).
	proxyOnly = regexp.MustCompile(`(?mi)^Proxy-[^\n]*\n`)
	blank     = regexp.MustCompile(`(\r\n\r\n|hello)[\r\n]+([A-Z]+ /)`)
)

// absolute is k as it is said to a proxy: with absolute-form targets, and
// headers that are for the proxy alone. It is nil when k has no request line to
// begin with.
func (k *talk) absolute(host string) *talk {
	if len(k.pieces) == 0 || !firstLine.MatchString(k.said()) {
		return nil
	}
	line := firstLine
	if k.pipelined {
		line = anyLine
	}
	said := line.ReplaceAllString(k.said(), "${1} http://"+host+"${2} ${3}\r\nProxy-Connection: keep-alive\r\nproxy-authorization: Basic x\r\n")
	forProxy := *k
	forProxy.pieces = []string{said}
	return &forProxy
}

// between relays to an origin and keeps what it is sent.
type between struct {
	l      net.Listener
	mu     sync.Mutex
	sent   []*bytes.Buffer
	relays sync.WaitGroup
}

func standBetween(origin string) (*between, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &between{l: l}
	b.relays.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o, err := net.Dial("tcp", origin)
			if err != nil {
				c.Close()
				continue
			}
			sent := &bytes.Buffer{}
			b.mu.Lock()
			b.sent = append(b.sent, sent)
			b.mu.Unlock()
			b.relays.Go(func() { pump(c.(*net.TCPConn), o.(*net.TCPConn), sent) })
		}
	})
	return b, nil
}

func pump(client, origin *net.TCPConn, sent *bytes.Buffer) {
	for _, c := range []net.Conn{client, origin} {
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
	}
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(client, origin)
		client.CloseWrite()
	})
	io.Copy(origin, io.TeeReader(client, sent))
	origin.CloseWrite()
	back.Wait()
}

// all is what the origin was sent, when it is over.
func (b *between) all() string {
	b.l.Close()
	b.relays.Wait()
	all := ""
	for _, sent := range b.sent {
		all += sent.String()
	}
	return all
}

// forwarded counts what the proxy did with cases.
type forwarded struct{ same, refused, ended atomic.Int32 }

// through sends k by the proxy and says what is wrong with it. The origin must
// be sent what the client wrote, with targets in origin-form and without the
// proxy's headers, or a beginning of that. The client must see what it would
// see directly, or what the origin answers to that beginning, and behind it or
// in its stead the proxy's refusal.
func (f *forwarded) through(proxy, direct string, k *talk) error {
	b, err := standBetween(direct)
	if err != nil {
		return err
	}
	got := k.absolute(b.l.Addr().String()).with(proxy)
	sent := b.all()
	said := proxyOnly.ReplaceAllString(k.said(), "")
	if k.pipelined {
		said = blank.ReplaceAllString(said, "$1$2")
	}
	if !strings.HasPrefix(said, sent) {
		return fmt.Errorf("%s: the origin is sent %.500q", k.name, sent)
	}
	answered := refusal.ReplaceAllString(got.Answer, "")
	refused := answered != got.Answer
	var want []string
	for i := range retries {
		ask := &talk{pieces: []string{sent}} // what has reached the origin
		if i%2 == 0 {
			ask = k
		}
		if i%4 > 1 {
			ask = ask.slowly()
		}
		answer := ask.with(direct).Answer
		switch {
		case answer == got.Answer && ask.said() == k.said():
			f.same.Add(1)
			return nil
		case strings.HasPrefix(k.name, "split/"): // well-formed
		case refused && (answered == "" || answer == answered):
			f.refused.Add(1)
			return nil
		case answer == got.Answer:
			f.ended.Add(1)
			return nil
		}
		want = append(want, answer)
	}
	slices.Sort(want)
	return fmt.Errorf("%s: through the proxy %v; direct %.900q", k.name, got, slices.Compact(want))
}

// TestTheForwardProxyForwardsOrRefuses: absolute-form requests, the one place
// with a parser in the path.
func TestTheForwardProxyForwardsOrRefuses(t *testing.T) {
	all := cases()
	for _, o := range origins {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			direct := o.start(t, time.Minute)
			c := startCapture(t, direct)
			var f forwarded
			some(all, finish, func(k *talk) {
				if k.absolute("h") == nil {
					return
				}
				if err := f.through(c.proxy(), direct, k); err != nil {
					t.Error(err)
				}
			})
			c.mustBeWhole(int(f.same.Load()))
			if f.same.Load() < 200 {
				t.Error("the proxy refuses too much")
			}
			t.Logf("%d cases as direct, %d refused, %d ended early", f.same.Load(), f.refused.Load(), f.ended.Load())
		})
	}
}
