package indexer

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// gate stands before the database and can be shut: connections break and new
// ones are refused, as when the server is gone.
type gate struct {
	dsn, target, address string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

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
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		wg.Go(func() {
			io.Copy(way[0], way[1]) // it ends when either side is closed
			way[0].Close()
		})
	}
	wg.Wait()
}
