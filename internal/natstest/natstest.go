// Package natstest runs a real NATS server with JetStream inside a test.
package natstest

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/benchtest"
	"tapedeck/internal/broker"
	"tapedeck/internal/service"
)

// New starts a server with tapedeck's streams and all durables and connects
// to it; it ends with the test.
func New(t testing.TB) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	_, conn, js := Start(t, t.TempDir())
	if _, err := events.Setup(t.Context(), js, events.SetupOptions{Database: true, MaxBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	return conn, js
}

// Start starts a server on a store folder, with a listener on loopback and
// without any stream.
func Start(t testing.TB, dir string) (*broker.Broker, *nats.Conn, jetstream.JetStream) {
	t.Helper()
	b, err := broker.Start(broker.Config{Dir: dir, Listen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	conn, js, err := service.Connect(b.URL(), t.Name(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return b, conn, js
}

// Cluster is three servers that hold their streams together.
type Cluster struct {
	configs []broker.Config
	servers []*broker.Broker // nil: stopped
}

// NewCluster starts one and connects to it; it ends with the test.
func NewCluster(t testing.TB) (*Cluster, jetstream.JetStream) {
	t.Helper()
	c := &Cluster{servers: make([]*broker.Broker, 3)}
	var urls, routes []string
	for range c.servers {
		client, route := freeAddress(t), freeAddress(t)
		urls, routes = append(urls, "nats://"+client), append(routes, "nats://"+route)
		c.configs = append(c.configs, broker.Config{Dir: t.TempDir(), Listen: client, Cluster: &broker.Cluster{
			Name: "test", Server: client, Listen: route,
		}})
	}
	for i := range c.configs {
		c.configs[i].Cluster.Routes = routes
		c.Start(t, i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.Stop(i)
		}
	})
	conn, js, err := service.Connect(strings.Join(urls, ","), t.Name(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return c, js
}

func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := benchtest.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// Start starts a server that is stopped.
func (c *Cluster) Start(t testing.TB, i int) {
	t.Helper()
	b, err := broker.Start(c.configs[i], slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.servers[i] = b
}

// Stop stops a server.
func (c *Cluster) Stop(i int) {
	if c.servers[i] != nil {
		c.servers[i].Close()
		c.servers[i] = nil
	}
}
