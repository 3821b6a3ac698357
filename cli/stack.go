package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/broker"
	"tapedeck/internal/service"
)

// stack is what services in this process share: a broker, which is embedded
// when none is named, the archive, and one data folder.
type stack struct {
	service.Flags
	log      *slog.Logger
	conn     *nats.Conn
	js       jetstream.JetStream
	archive  *tapes.Archive
	debug    *service.Debug
	embedded *broker.Broker // nil: --nats
	lock     *os.File       // of the data folder, while embedded
}

// openStack connects to --nats, or starts a broker in the data folder with
// streams set up; listen is where other processes reach that ("": nowhere).
func openStack(ctx context.Context, f service.Flags, listen string, log *slog.Logger) (*stack, error) {
	s := &stack{Flags: f, log: log}
	if err := s.open(ctx, listen); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stack) open(ctx context.Context, listen string) error {
	if err := s.MakeData(); err != nil {
		return err
	}
	var err error
	if s.debug, err = service.NewDebug(s.HTTP); err != nil {
		return err
	}
	if s.archive, err = openArchive(ctx, &s.Flags); err != nil {
		return err
	}
	if err := s.archive.CheckWritable(ctx); err != nil {
		return service.Hint(err, "name an archive that can be written: --archive s3://bucket/prefix?endpoint=… or file:///dir")
	}
	if s.NATS != "" {
		s.conn, s.js, err = service.Connect(s.NATS, "cli", s.log)
		return err
	}
	return s.embed(ctx, listen)
}

// embed starts the broker. Two of them on one folder would destroy each
// other's files, so the folder is locked.
func (s *stack) embed(ctx context.Context, listen string) error {
	var err error
	if s.lock, err = lockData(s.Data); err != nil {
		return err
	}
	s.embedded, err = broker.Start(broker.Config{Dir: filepath.Join(s.Data, "jetstream"), Listen: listen}, s.log)
	if err != nil {
		return err
	}
	if s.conn, s.js, err = s.embedded.Connect("cli"); err != nil {
		return err
	}
	_, err = events.Setup(ctx, s.js, events.SetupOptions{Database: s.Database != ""})
	if errors.Is(err, events.ErrDiffers) {
		s.log.Warn("the embedded broker is not as this version makes it", "error", err)
		return nil
	}
	return err
}

// lockData makes this process the only one with a broker in the data folder.
func lockData(data string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(data, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, service.Hint(fmt.Errorf("lock data folder: %w", err), "choose a folder that can be written with --data DIR")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, service.Hint(fmt.Errorf("data folder %s is in use by another tapedeck", data),
			"stop that one, use its broker with --nats URL, or choose another folder with --data DIR")
	}
	return f, nil
}

func (s *stack) close() {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.embedded != nil {
		s.embedded.Close()
	}
	if s.lock != nil {
		s.lock.Close()
	}
}
