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

// stack is what the services of one process share: a broker, which is embedded
// when none is named, the archive, the debug listener and one data folder.
type stack struct {
	service.Flags
	log      *slog.Logger
	debug    *service.Debug
	conn     *nats.Conn
	js       jetstream.JetStream
	archive  *tapes.Archive
	embedded *broker.Broker // nil: --nats
	lock     *os.File       // of the data folder, while embedded
	closers  []func()
}

// openStack opens all of it. listen is where other processes reach an
// embedded broker ("": nowhere).
func openStack(ctx context.Context, f service.Flags, listen string, log *slog.Logger) (*stack, error) {
	s := &stack{Flags: f, log: log}
	steps := []func() error{
		s.openDebug,
		func() error { return s.openArchive(ctx) },
		func() error { return s.openBroker(ctx, listen) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *stack) openDebug() (err error) {
	s.debug, err = service.NewDebug(s.HTTP)
	return err
}

func (s *stack) openArchive(ctx context.Context) (err error) {
	if s.archive, err = openArchive(ctx, &s.Flags); err != nil {
		return err
	}
	return service.Hint(s.archive.CheckWritable(ctx), archiveHint)
}

const archiveHint = "name an archive that can be written: --archive s3://bucket/prefix?endpoint=… or file:///dir"

func (s *stack) openBroker(ctx context.Context, listen string) (err error) {
	if s.NATS == "" {
		return s.embed(ctx, listen)
	}
	s.conn, s.js, err = service.Connect(s.NATS, "cli", s.log)
	return err
}

// embed starts the broker. Two of them on one folder would destroy each
// other's files, so the folder is locked.
func (s *stack) embed(ctx context.Context, listen string) error {
	err := s.MakeData()
	if err != nil {
		return err
	}
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

// url is where other processes reach the broker.
func (s *stack) url() string {
	switch {
	case s.embedded == nil:
		return s.conn.ConnectedUrlRedacted()
	case s.embedded.URL() == "":
		return "in this process"
	}
	return s.embedded.URL()
}

func (s *stack) close() {
	for _, close := range s.closers {
		close()
	}
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

// part is a service as a process runs it.
type part interface {
	Run(ctx context.Context) error
}

// readier is a part that knows whether it works.
type readier interface{ Ready() error }

// ready is ready when all of parts are.
func ready(parts map[string]part) func() error {
	return func() error {
		for name, p := range parts {
			if r, ok := p.(readier); ok {
				if err := r.Ready(); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
		return nil
	}
}
