package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/benchtest"
	"tapedeck/internal/service"
	"tapedeck/internal/tool"
)

// stack is everything that runs.
type stack struct {
	folder    string
	keep      bool
	keepStore bool
	store     *disk  // of all that is stored, when the power is cut; else nil
	disk      string // that can be filled, with the first capture's spool; "" without the right to mount
	database  *database
	broker    *slot
	s3        *slot   // nil with a store: the archive is a directory then
	s3at      string  // its address
	workers   []*slot // archivers and indexers
	captures  []*slot
	links     []*link
	poisons   poisons
	fronts    []string // where the captures listen

	origin atomic.Pointer[load]
	server *http.Server
	nats   *nats.Conn
	js     jetstream.JetStream
	broken []string // faults that could not be undone, processes that would not end

	stop     context.CancelFunc
	keepers  sync.WaitGroup
	tapedeck string
	hidden   string // the object that a control took away
}

func (s *stack) slots() []*slot {
	all := []*slot{s.broker}
	if s.s3 != nil {
		all = append(all, s.s3)
	}
	return slices.Concat(all, s.workers, s.captures)
}

func startStack(ctx context.Context, c config) (*stack, error) {
	s := &stack{keep: c.keep, keepStore: c.keep, tapedeck: c.tapedeck}
	var err error
	if s.folder, err = os.MkdirTemp("", "tapedeck-faults-"); err != nil {
		return s, err
	}
	parent := "/var/tmp" // the database's user must be able to enter
	if c.power {
		if s.store, err = newDisk(ctx); err != nil {
			return s, err
		}
		parent = s.store.at
	} else {
		s.mountDisk()
	}
	if s.database, err = startDatabase(ctx, parent); err != nil {
		return s, err
	}
	back, err := s.startOrigin()
	if err != nil {
		return s, err
	}
	if s.store == nil {
		if err := s.defineS3(ctx); err != nil {
			return s, err
		}
	}
	if err := s.define(back, c); err != nil {
		return s, err
	}
	if err := s.startAll(ctx); err != nil || s.store == nil {
		return s, err
	}
	return s, command(ctx, "sync", "-f", s.store.at) // what setting up has written: files of the database's own script
}

// mountDisk makes a small file system, where that is allowed.
func (s *stack) mountDisk() {
	disk := filepath.Join(s.folder, "disk")
	err := os.Mkdir(disk, 0o700)
	if err == nil {
		err = exec.Command("mount", "-t", "tmpfs", "-o", "size=16m", "tapedeck-faults", disk).Run()
	}
	if err != nil {
		fmt.Println("no disk will be full, a tmpfs can't be mounted:", err)
		return
	}
	s.disk = disk
}

func (s *stack) startOrigin() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.origin.Load().ServeHTTP(w, r) })}
	go s.server.Serve(l)
	return l.Addr().String(), nil
}

// defineS3 says how the archive's server is started: VersityGW on a folder.
func (s *stack) defineS3(ctx context.Context) error {
	program, err := tool.VersityGW.Install(ctx)
	if err != nil {
		return err
	}
	if s.s3at, err = benchtest.FreeAddress(); err != nil {
		return err
	}
	access, secret := fmt.Sprintf("faults-%d", os.Getpid()), rand.Text()
	for name, value := range map[string]string{"ROOT_ACCESS_KEY_ID": access, "ROOT_SECRET_ACCESS_KEY": secret, "AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": ""} {
		if err := os.Setenv(name, value); err != nil { // of every process
			return err
		}
	}
	root, state := filepath.Join(s.folder, "s3"), filepath.Join(s.folder, "state")
	for _, folder := range []string{filepath.Join(root, bucket), state} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	s.s3 = &slot{name: "s3", folder: s.folder, command: func(string) *exec.Cmd {
		return exec.Command(program, "--port", s.s3at, "--region", region, "--quiet", "posix", "--sidecar", state, root)
	}}
	return nil
}

const (
	bucket = "tapes"
	region = "us-east-1"
)

// define says how each process of ours is started.
func (s *stack) define(back string, c config) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	address, err := benchtest.FreeAddress()
	if err != nil {
		return err
	}
	direct := "nats://" + address
	nats, err := s.linkTo("broker", direct)
	if err != nil {
		return err
	}
	dsn, err := s.linkTo("database", s.database.dsn)
	if err != nil {
		return err
	}
	archive := s.archiveURL()
	if s.s3 != nil {
		s3, err := s.linkTo("s3", "http://"+s.s3at)
		if err != nil {
			return err
		}
		archive = archiveAt(s3)
	}
	make := func(name, ready string, args func(life string) []string) *slot {
		return &slot{name: name, folder: s.folder, ready: ready, command: func(life string) *exec.Cmd {
			a := args(life)
			return exec.Command(a[0], a[1:]...)
		}}
	}
	common := func(service string) []string {
		return []string{s.tapedeck, service, "--nats", nats, "--log", "info", "--data", filepath.Join(s.stores(), service)}
	}
	broker := []string{self, "role", "broker", filepath.Join(s.stores(), "jetstream"), address, "0s"}
	if c.unsynced {
		broker[5] = "2m" // JetStream's default
	}
	s.broker = make("broker", "", func(string) []string { return broker })
	for i := range c.workers {
		s.workers = append(s.workers,
			make(fmt.Sprintf("archiver%d", i+1), "", func(string) []string {
				return append(common("archiver"), "--archive", archive, "--reel-age", "2s")
			}),
			make(fmt.Sprintf("indexer%d", i+1), "", func(string) []string {
				return append(common("indexer"), "--database", dsn)
			}))
	}
	for i, name := range []string{"shop", "desk"} {
		front, err := benchtest.FreeAddress()
		if err != nil {
			return err
		}
		s.fronts = append(s.fronts, front)
		s.captures = append(s.captures, make(name, `"listening"`, func(life string) []string {
			return append(common("capture"), "--service", name, "--instance", life, "--spool", s.spool(i), "--inbound", front+"="+back)
		}))
	}
	s.nats, s.js, err = service.ConnectLater(direct, "faults", slog.New(slog.DiscardHandler))
	return err
}

// stores is the folder of all that is stored.
func (s *stack) stores() string {
	if s.store != nil {
		return s.store.at
	}
	return s.folder
}

func (s *stack) archiveURL() string {
	if s.s3 == nil {
		return "file://" + filepath.Join(s.stores(), "archive")
	}
	return archiveAt("http://" + s.s3at)
}

func archiveAt(endpoint string) string {
	return "s3://" + bucket + "?" + url.Values{"endpoint": {endpoint}, "region": {region}}.Encode()
}

func (s *stack) spool(capture int) string {
	if capture == 0 && s.disk != "" {
		return filepath.Join(s.disk, "spool")
	}
	return filepath.Join(s.stores(), fmt.Sprintf("spool-%d", capture))
}

// startAll starts the processes and returns when captures relay.
func (s *stack) startAll(ctx context.Context) error {
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.keepers.Go(func() { s.broker.keep(ctx) })
	if !within(ctx, 30*time.Second, s.nats.IsConnected) {
		return errors.New("the broker does not answer")
	}
	if _, err := events.Setup(ctx, s.js, events.SetupOptions{Database: true, MaxBytes: 1 << 30}); err != nil {
		return err
	}
	for _, one := range s.slots()[1:] {
		s.keepers.Go(func() { one.keep(ctx) })
	}
	if !within(ctx, 30*time.Second, s.serving) {
		return errors.New("captures do not listen within 30 s")
	}
	return nil
}

func (s *stack) serving() bool {
	for _, c := range s.captures {
		if c.serving() == nil {
			return false
		}
	}
	return true
}

// heal ends the captures in peace and starts each again, so that all accounts
// are closed and the spools have somebody who drains them.
func (s *stack) heal(ctx context.Context) error {
	for _, c := range s.captures {
		if err := c.end(syscall.SIGTERM); err != nil {
			s.broken = append(s.broken, err.Error())
		}
		c.release()
	}
	if !within(ctx, 30*time.Second, s.serving) {
		return errors.New("captures do not come back within 30 s")
	}
	return nil
}

// close ends every process by its id and removes the files.
func (s *stack) close() {
	if s.stop != nil {
		s.stop()
		for _, one := range s.slots() {
			one.end(syscall.SIGKILL)
		}
		s.keepers.Wait()
	}
	for _, l := range s.links {
		l.Stop()
	}
	if s.nats != nil {
		s.nats.Close()
	}
	if s.server != nil {
		s.server.Close()
	}
	var errs []error
	if s.disk != "" {
		errs = append(errs, exec.Command("umount", s.disk).Run())
	}
	if s.database != nil {
		errs = append(errs, s.database.destroy())
	}
	if s.store != nil && !s.keepStore {
		errs = append(errs, s.store.destroy())
	}
	if !s.keep && s.folder != "" {
		errs = append(errs, os.RemoveAll(s.folder))
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "faults: clean up:", err)
	}
}

func within(ctx context.Context, d time.Duration, done func() bool) bool {
	for deadline := time.Now().Add(d); time.Now().Before(deadline); {
		if done() {
			return true
		}
		if !service.Sleep(ctx, 50*time.Millisecond) {
			return false
		}
	}
	return done()
}
