package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"tapedeck/internal/service"
)

// database is a TimescaleDB of this run alone, on the software that the tests'
// one is installed from.
type database struct {
	slot   *slot // only its lock
	folder string
	root   string
	dsn    string
}

const script = "deploy/local/timescale.sh"

// startDatabase starts one in a folder below parent.
func startDatabase(ctx context.Context, parent string) (*database, error) {
	if out, err := exec.CommandContext(ctx, script, "install").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("install TimescaleDB: %w: %s", err, out)
	}
	root, err := softwareRoot()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(parent, "tapedeck-faults-")
	if err != nil {
		return nil, fmt.Errorf("make the database's folder: %w", err)
	}
	d := &database{slot: &slot{name: "database"}, folder: folder, root: root}
	if err := os.Chmod(folder, 0o755); err != nil {
		return d, err
	}
	d.dsn, err = d.script(ctx, "start")
	return d, err
}

// softwareRoot is where timescale.sh installs by default.
func softwareRoot() (string, error) {
	if os.Getuid() == 0 {
		return "/var/tmp/tapedeck-0/timescale/root", nil
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "tapedeck", "timescale", "root"), nil
}

func (d *database) script(ctx context.Context, verb string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, script, verb, d.folder)
	cmd.Env = append(os.Environ(), "TS_ROOT="+d.root)
	cmd.WaitDelay = time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("database %s: %w: %s", verb, err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// cut ends every connection but its own.
func (d *database) cut(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, d.dsn)
	if err != nil {
		return nil // restarting: they are cut already
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'")
	if err != nil && conn.IsClosed() {
		return nil // a restart came between
	}
	return err
}

// restart stops the server, or makes it crash, and starts it again. The start
// is not ended by ctx: the run goes on with it.
func (d *database) restart(ctx context.Context, hold time.Duration, crash bool) error {
	work := context.WithoutCancel(ctx)
	stop := func() error { _, err := d.script(work, "stop"); return err }
	if crash {
		stop = d.crash
	}
	if err := stop(); err != nil {
		return err
	}
	service.Sleep(ctx, hold)
	_, err := d.script(work, "start")
	return err
}

// crash is PostgreSQL's immediate shutdown: nothing is written, the next start
// recovers.
func (d *database) crash() error {
	all, err := d.processes()
	if err != nil {
		return err
	}
	pid := all[0]
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("crash the database: %w", err)
	}
	for deadline := time.Now().Add(20 * time.Second); syscall.Kill(pid, 0) == nil; {
		if time.Now().After(deadline) {
			return fmt.Errorf("crash the database: process %d is still there", pid)
		}
		service.Sleep(context.Background(), 20*time.Millisecond)
	}
	return nil
}

func (d *database) destroy() error {
	_, err := d.script(context.Background(), "destroy")
	return err
}
