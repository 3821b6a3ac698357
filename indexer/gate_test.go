package indexer

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// gate stands before the database and can be shut: connections break and new
// ones are refused, as when the server is gone. It can also break connections
// at the commit, before the server has it or after it.
type gate struct {
	dsn, target, address string

	mu       sync.Mutex
	cuts     []cut // the next commits, nothing once it is empty
	listener net.Listener
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

type cut int

const (
	noCut cut = iota
	cutBefore
	cutAfter // the server commits, and the answer is lost
)

func newGate(t testing.TB, dsn string) *gate {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{target: u.Host, address: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	g.open(t)
	u.Host = g.address
	g.dsn = u.String()
	t.Cleanup(func() { g.shut(); g.wg.Wait() })
	return g
}

func (g *gate) open(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listener, g.address = l, l.Addr().String()
	g.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			g.wg.Go(func() { g.relay(conn) })
		}
	})
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listener.Close()
	for c := range g.conns {
		c.Close()
	}
}

func (g *gate) keep(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c] = true
}

func (g *gate) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer server.Close()
	g.keep(client)
	g.keep(server)
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(client, server) // it ends when either side is closed
		client.Close()
	})
	wg.Go(func() {
		g.forward(server, client)
		server.Close()
		client.Close()
	})
	wg.Wait()
}

// forward relays what the client says, until a commit is to be cut.
func (g *gate) forward(server, client net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		how := noCut
		if bytes.Contains(b[:n], []byte("commit\x00")) {
			how = g.nextCut()
		}
		if how == cutBefore {
			return
		}
		if how == cutAfter {
			client.Close() // what was written is executed all the same
		}
		if _, err := server.Write(b[:n]); err != nil || how == cutAfter {
			return
		}
	}
}

func (g *gate) nextCut() cut {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.cuts) == 0 {
		return noCut
	}
	how := g.cuts[0]
	g.cuts = g.cuts[1:]
	return how
}

// left is how many commits are still to be cut.
func (g *gate) left() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.cuts)
}
