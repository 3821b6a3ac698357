package service

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ConnectOptions are those of every connection. They never give up and never hide a reason: a lost server is
// reconnected to for ever, nothing is buffered in memory (capture has a spool,
// workers have redelivery), and refused rights show in the log, since the
// server answers them with silence.
func ConnectOptions(name string, log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name("tapedeck " + name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(time.Second),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(10 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats disconnected, reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("nats reconnected", "url", c.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error("nats", "error", err) }),
	}
}

// Connect connects to a NATS server and fails when it can't be reached.
func Connect(url, name string, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	return connect(url, name, log)
}

// ConnectLater returns at once and keeps trying: for capture, which relays and
// spools while NATS is away.
func ConnectLater(url, name string, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	return connect(url, name, log, nats.RetryOnFailedConnect(true))
}

func connect(url, name string, log *slog.Logger, more ...nats.Option) (*nats.Conn, jetstream.JetStream, error) {
	conn, err := nats.Connect(url, append(ConnectOptions(name, log), more...)...)
	if err != nil {
		return nil, nil, Hint(fmt.Errorf("connect to NATS at %s: %w", redactURL(url), err),
			"start a server (nats-server -js) or `tapedeck up`, or name yours with --nats URL")
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("connect to NATS at %s: %w", redactURL(url), err)
	}
	return conn, js, nil
}

// CheckStreams fails with a hint when the broker was not set up.
func CheckStreams(ctx context.Context, js jetstream.JetStream, names ...string) error {
	for _, name := range names {
		if _, err := js.Stream(ctx, name); err != nil {
			return Hint(fmt.Errorf("look up stream %s: %w", name, err), "make the streams with `tapedeck admin setup`")
		}
	}
	return nil
}
