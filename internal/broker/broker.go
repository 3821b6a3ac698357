// Package broker is NATS with JetStream inside this process: the in-process
// mode of the commands, and tests. Nothing else imports the server.
package broker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/internal/service"
)

// Broker is a NATS server with JetStream in this process. Its file store
// syncs every message before the ack: with the server's default a power cut
// loses what was acked in the last two minutes.
type Broker struct {
	server *server.Server
	log    *slog.Logger
}

// Config says where it listens and keeps its files.
type Config struct {
	Dir    string // of the store
	Listen string // "host:port" for other processes; "" = only this process
	// SyncInterval is how often what was acked is synced to the disk; zero is
	// before each ack. Anything else loses acked messages with the power.
	SyncInterval time.Duration
	// Cluster makes it one server of several; nil: it is the only one.
	Cluster *Cluster
}

// Cluster is what a server of several has to know.
type Cluster struct {
	Name   string // of the cluster
	Server string // of this one, unlike the others'
	Listen string // "host:port" for the other servers
	Routes []string
}

func (c *Cluster) set(o *server.Options) error {
	if c == nil {
		return nil
	}
	host, port, err := splitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("cluster address %q of the embedded NATS: %w", c.Listen, err)
	}
	o.ServerName = c.Server
	o.Cluster = server.ClusterOpts{Name: c.Name, Host: host, Port: port}
	o.Routes = server.RoutesFromStr(strings.Join(c.Routes, ","))
	return nil
}

// Start starts a server and returns when it is ready.
func Start(c Config, log *slog.Logger) (*Broker, error) {
	options := &server.Options{
		JetStream:    true,
		StoreDir:     c.Dir,
		SyncAlways:   c.SyncInterval == 0,
		SyncInterval: cmp.Or(c.SyncInterval, time.Minute),
		NoSigs:       true,
		DontListen:   c.Listen == "",
		MaxPayload:   1 << 20,
	}
	if c.Listen != "" {
		host, port, err := splitHostPort(c.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen address %q of the embedded NATS: %w", c.Listen, err)
		}
		options.Host, options.Port = host, port
	}
	if err := c.Cluster.set(options); err != nil {
		return nil, err
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	words := &serverLog{log: log}
	s.SetLogger(words, false, false)
	s.Start()
	if !s.ReadyForConnections(20*time.Second) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, service.Hint(fmt.Errorf("embedded NATS did not start in %s: %w", filepath.Clean(c.Dir), words.cause()),
			"is the folder writable, and no other tapedeck running on it? Choose another with --data DIR")
	}
	return &Broker{server: s, log: log}, nil
}

// Connect connects without a socket.
func (b *Broker) Connect(name string) (*nats.Conn, jetstream.JetStream, error) {
	conn, err := nats.Connect("", append(service.ConnectOptions(name, b.log), nats.InProcessServer(b.server))...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the embedded NATS: %w", err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("connect to the embedded NATS: %w", err)
	}
	return conn, js, nil
}

// URL is where other processes reach it, "" when it does not listen.
func (b *Broker) URL() string {
	if b.server.Addr() == nil {
		return ""
	}
	return b.server.ClientURL()
}

// Close stops the server and waits until its files are closed.
func (b *Broker) Close() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// serverLog keeps the server's own words for the debug level and remembers why
// it could not start.
type serverLog struct {
	log  *slog.Logger
	last error
}

func (l *serverLog) cause() error {
	if l.last == nil {
		return errors.New("it was not ready within 20 s")
	}
	return l.last
}

func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("nats server", "message", fmt.Sprintf(format, v...))
}
func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Debug("nats server", "message", fmt.Sprintf(format, v...))
}
func (l *serverLog) Errorf(format string, v ...any) {
	l.last = fmt.Errorf(format, v...)
	l.log.Warn("nats server", "error", l.last)
}
func (l *serverLog) Fatalf(format string, v ...any) { l.last = fmt.Errorf(format, v...) }
func (l *serverLog) Debugf(string, ...any)          {}
func (l *serverLog) Tracef(string, ...any)          {}

func splitHostPort(address string) (string, int, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return "", 0, fmt.Errorf("port %q is no number from 0 to 65535", port)
	}
	if n == 0 {
		n = -1 // nats-server's word for "any free port"
	}
	return host, n, nil
}
