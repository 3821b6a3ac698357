// Package natstest runs a real NATS server with JetStream inside a test.
package natstest

import (
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
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
