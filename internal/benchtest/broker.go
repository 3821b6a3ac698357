package benchtest

import (
	"context"
	"log/slog"
	"os"

	"tapedeck/internal/broker"
)

// Broker is what a process of its own does to be the NATS server of a
// benchmark, every message synced before its ack, until ctx is done.
func Broker(ctx context.Context, folder, address string) error {
	b, err := broker.Start(broker.Config{Dir: folder, Listen: address}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	defer b.Close()
	<-ctx.Done()
	return nil
}
