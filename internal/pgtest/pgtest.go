// Package pgtest gives each test a fresh database on a real TimescaleDB.
//
// The server is the one of TAPEDECK_DATABASE (its user must be allowed to make
// databases), else the one that deploy/local/timescale.sh installs and starts
// in the user's cache folder. It is shared by all tests and goes on running. A
// test that has none skips, and fails with REQUIRE_SERVICES=1.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// New makes an empty database with the timescaledb extension and returns its
// address. It is dropped when the test ends, whoever is still connected.
func New(t testing.TB) string {
	t.Helper()
	dsn, err := server()
	if err != nil {
		if os.Getenv("REQUIRE_SERVICES") == "1" {
			t.Fatalf("TimescaleDB is required: %v", err)
		}
		t.Skipf("no TimescaleDB: %v", err)
	}
	name := databaseName(time.Now())
	if err := execute(t.Context(), dsn, "create database "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := execute(ctx, dsn, "drop database if exists "+name+" with (force)"); err != nil {
			t.Error(err)
		}
	})
	own, err := inDatabase(dsn, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := execute(t.Context(), own, "create extension if not exists timescaledb"); err != nil {
		t.Fatal(err)
	}
	return own
}

// server starts the server once a process; several processes may do so at once.
var server = sync.OnceValues(func() (string, error) {
	dsn := os.Getenv("TAPEDECK_DATABASE")
	if dsn == "" {
		var err error
		if dsn, err = start(); err != nil {
			return "", err
		}
	}
	if err := sweep(dsn); err != nil {
		return "", err
	}
	return dsn, nil
})

func start() (string, error) {
	script, err := findScript()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, script, "start")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s start: %w: %s", script, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

func findScript() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		script := filepath.Join(dir, "deploy", "local", "timescale.sh")
		if _, err := os.Stat(script); err == nil {
			return script, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find deploy/local/timescale.sh above the test's folder: not there")
		}
		dir = parent
	}
}

const (
	prefix = "tapedeck_test_"
	// No test lives as long; what is older was left behind by a killed one.
	oldest = 6 * time.Hour
)

func databaseName(now time.Time) string {
	random := make([]byte, 6)
	rand.Read(random) // never fails (crypto/rand)
	return prefix + strconv.FormatInt(now.Unix(), 10) + "_" + hex.EncodeToString(random)
}

func leftBehind(name string, now time.Time) bool {
	made, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "_")
	seconds, err := strconv.ParseInt(made, 10, 64)
	return err == nil && now.Sub(time.Unix(seconds, 0)) > oldest
}

// sweep drops the databases of tests that were killed.
func sweep(dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "select datname::text from pg_database where starts_with(datname, $1)", prefix)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		if !leftBehind(name, time.Now()) {
			continue
		}
		// Another process may be sweeping as well.
		if _, err := conn.Exec(ctx, "drop database if exists "+pgx.Identifier{name}.Sanitize()+" with (force)"); err != nil {
			return err
		}
	}
	return nil
}

func inDatabase(dsn, name string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme == "" {
		return "", errors.New("TAPEDECK_DATABASE is not of the form postgres://user:password@host:port/database")
	}
	u.Path = "/" + name
	return u.String(), nil
}

// Exec runs statements in a database of New.
func Exec(ctx context.Context, dsn, sql string) error { return execute(ctx, dsn, sql) }

func execute(ctx context.Context, dsn, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}
