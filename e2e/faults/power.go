package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tapedeck/internal/benchtest"
	"tapedeck/internal/service"
)

// disk is a file system in a file: the file, copied while everything stands
// still, is what a power cut leaves of it.
type disk struct{ image, at string }

const diskSize = 8 << 30 // as far as it is used

func newDisk(ctx context.Context) (*disk, error) {
	// Where the database's user may go.
	at, err := os.MkdirTemp("/var/tmp", "tapedeck-power-")
	if err != nil {
		return nil, err
	}
	d := &disk{at + ".ext4", at}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, diskSize)); err != nil {
		return d, err
	}
	if err := command(ctx, "mkfs.ext4", "-q", d.image); err != nil {
		return d, err
	}
	return d, errors.Join(d.mount(ctx), os.Chmod(at, 0o755))
}

func (d *disk) mount(ctx context.Context) error {
	return command(ctx, "mount", "-o", "loop", d.image, d.at)
}

// unmount waits for those that have been killed.
func (d *disk) unmount(ctx context.Context) (err error) {
	within(ctx, 20*time.Second, func() bool { err = command(ctx, "umount", d.at); return err == nil })
	return err
}

func (d *disk) destroy() error {
	ctx := context.Background()
	return errors.Join(d.unmount(ctx), os.Remove(d.at), os.Remove(d.image))
}

func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// powerCut stops everything that writes, in the midst of it, and goes on with
// what had reached the disk by then.
func (s *stack) powerCut(ctx context.Context, hold time.Duration) error {
	work := context.WithoutCancel(ctx)
	database, err := s.database.processes()
	if err != nil {
		return err
	}
	for _, one := range s.slots() {
		one.signal(syscall.SIGSTOP)
	}
	for _, pid := range database {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	left := s.store.image + ".left"
	err = command(work, "cp", "--sparse=always", s.store.image, left)
	errs := []error{err, killed(work, database)}
	for _, one := range s.slots() {
		errs = append(errs, one.end(syscall.SIGKILL))
		defer one.release()
	}
	errs = append(errs, s.store.unmount(work), os.Rename(left, s.store.image), s.store.mount(work))
	service.Sleep(ctx, hold/4)
	_, err = s.database.script(work, "start")
	return errors.Join(append(errs, err)...)
}

// killed kills processes and waits until they are gone: the database takes an
// id that is in use for a server that runs.
func killed(ctx context.Context, all []int) error {
	for _, pid := range all {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range all {
		if !within(ctx, 20*time.Second, func() bool { return syscall.Kill(pid, 0) != nil }) {
			return fmt.Errorf("process %d of the database is still there", pid)
		}
	}
	return nil
}

// processes are the server's, the first of all first.
func (d *database) processes() ([]int, error) {
	b, err := os.ReadFile(filepath.Join(d.folder, "data", "postmaster.pid"))
	if err != nil {
		return nil, fmt.Errorf("find the database: %w", err)
	}
	pid, err := strconv.Atoi(strings.SplitN(string(b), "\n", 2)[0])
	if err != nil {
		return nil, fmt.Errorf("find the database: %w", err)
	}
	return append([]int{pid}, benchtest.Children(pid)...), nil
}
