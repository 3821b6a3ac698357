package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"

	"tapedeck/internal/benchtest"
	"tapedeck/internal/service"
)

// settings are what the command line says.
type settings struct {
	tapedeck string // binary
	peers    string // folder of binaries
	profiles string // folder for CPU profiles; "" takes none
	rounds   int
	duration time.Duration // of one measurement
	soak     int64         // exchanges
	sides    *regexp.Regexp
}

// lab is what all sides share: the origin, the broker, a folder.
type lab struct {
	settings
	folder, self       string
	clear, secure, rpc string // addresses of the origin
	certificate, key   string
	natsURL            string
	origin, broker     *benchtest.Process
	conn               *nats.Conn
	tapes              *taker
	turns              int // taken so far
}

func openLab(ctx context.Context, s settings) (*lab, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if s.tapedeck, err = filepath.Abs(s.tapedeck); err != nil {
		return nil, err
	}
	if s.peers, err = filepath.Abs(s.peers); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "tapedeck-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{settings: s, folder: folder, self: self, certificate: filepath.Join(folder, "origin.pem"), key: filepath.Join(folder, "origin.key")}
	if err := l.open(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) open(ctx context.Context) error {
	if err := writeCertificate(l.certificate, l.key); err != nil {
		return err
	}
	var nats string
	for _, address := range []*string{&l.clear, &l.secure, &l.rpc, &nats} {
		free, err := benchtest.FreeAddress()
		if err != nil {
			return err
		}
		*address = free
	}
	l.natsURL = "nats://" + nats
	var err error
	if l.origin, err = l.role("origin", l.clear, l.secure, l.rpc, l.certificate, l.key); err != nil {
		return err
	}
	if l.broker, err = l.role("broker", filepath.Join(l.folder, "jetstream"), nats); err != nil {
		return err
	}
	if err := benchtest.Answering(ctx, l.clear, l.secure, l.rpc, nats); err != nil {
		return err
	}
	if l.conn, _, err = service.Connect(l.natsURL, "bench", slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	l.tapes, err = newTaker(ctx, l.conn)
	return err
}

func (l *lab) close() {
	if l.conn != nil {
		l.conn.Close()
	}
	for _, p := range []*benchtest.Process{l.origin, l.broker} {
		if p == nil {
			continue
		}
		if _, err := p.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	os.RemoveAll(l.folder)
}

// role starts this program as another process.
func (l *lab) role(name string, args ...string) (*benchtest.Process, error) {
	return benchtest.Start(name, l.self, append([]string{"role", name}, args...)...)
}

// fresh is a new folder for a turn.
func (l *lab) fresh() (string, error) {
	l.turns++
	dir := filepath.Join(l.folder, fmt.Sprint("turn", l.turns))
	return dir, os.Mkdir(dir, 0o755)
}

// program finds a peer: in the peers' folder, else on the PATH.
func (l *lab) program(name string) (string, error) {
	file := filepath.Join(l.peers, name)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	file, err := exec.LookPath(name)
	if err != nil {
		return "", errMissing{"not installed: capture/bench/peers.sh"}
	}
	return file, nil
}
