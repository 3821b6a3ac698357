package harness

import (
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/jackc/pgx/v5"

	"tapedeck/internal/natstest"
	"tapedeck/internal/pgtest"
)

func TestHealth(t *testing.T) {
	x, h := newIndex(t), start(t)
	x.write(inbound(time.Now().Add(-time.Minute)))
	broker, _ := natstest.New(t)
	archive := t.TempDir()
	if err := os.WriteFile(filepath.Join(archive, "object"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty, err := url.Parse(pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	plain := plainServer(t)

	type change = func(jsonData, secrets map[string]string)
	for name, c := range map[string]struct {
		change
		status backend.HealthStatus
		says   []string
	}{
		"all of it": {func(j, _ map[string]string) { j["archiveUrl"], j["natsUrl"] = archive, broker.ConnectedUrl() },
			backend.HealthStatusOk, []string{"Database: works, last exchange at ", "Archive: works", "NATS: works"}},
		"only the index": {func(_, _ map[string]string) {}, backend.HealthStatusOk, []string{"Database: works"}},
		"empty archive": {func(j, _ map[string]string) { j["archiveUrl"] = "file://" + t.TempDir() },
			backend.HealthStatusOk, []string{"Archive: works, empty so far"}},
		"no settings": {func(j, _ map[string]string) { clear(j) },
			backend.HealthStatusError, []string{"Settings: no database host is set"}},
		"no server": {func(j, _ map[string]string) { j["dbHost"] = "127.0.0.1:1" },
			backend.HealthStatusError, []string{"Database: connect to database 127.0.0.1:1"}},
		"no such database": {func(j, _ map[string]string) { j["dbName"] = "never_made" },
			backend.HealthStatusError, []string{`there is no database "never_made"`}},
		"no such user": {func(j, _ map[string]string) { j["dbUser"] = "never_made" },
			backend.HealthStatusError, []string{`refuses the user "never_made" or the password`}},
		"not migrated": {func(j, _ map[string]string) { j["dbName"] = empty.Path[1:] },
			backend.HealthStatusError, []string{"has no index of this version: start `tapedeck indexer`"}},
		"no TLS there": {func(j, _ map[string]string) { j["dbHost"], j["sslMode"] = plain, "" },
			backend.HealthStatusError, []string{"does not speak TLS"}},
		"parts away": {func(j, _ map[string]string) { j["archiveUrl"], j["natsUrl"] = "/never/made", "nats://127.0.0.1:1" },
			backend.HealthStatusError, []string{"Database: works", "Archive: there is no archive", "NATS: connect to nats://127.0.0.1:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := h.Health(t.Context(), x.source(c.change))
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != c.status {
				t.Errorf("got %s: %s", got.Status, got.Message)
			}
			for _, want := range c.says {
				if !strings.Contains(got.Message, want) || !strings.Contains(string(got.JSONDetails), "verboseMessage") {
					t.Errorf("got %q %s, want %q", got.Message, got.JSONDetails, want)
				}
			}
		})
	}
}

// plainServer refuses TLS as a PostgreSQL server without it does.
func plainServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := io.ReadFull(conn, make([]byte, 8)); err == nil { // SSLRequest
				conn.Write([]byte("N"))
			}
			conn.Close()
		}
	}()
	return l.Addr().String()
}

// When Grafana saves the data source, what the old settings opened is closed.
func TestSettingsChange(t *testing.T) {
	before, after, h := newIndex(t), newIndex(t), start(t)
	if got := ask(t, h, before.source(), query("A", "traffic", nil))["A"]; got.Error != nil {
		t.Fatal(got.Error)
	}
	if n := connections(t, before); n == 0 {
		t.Fatal("the plugin has no connection to the database that it asked")
	}
	if got := ask(t, h, after.source(), query("A", "traffic", nil))["A"]; got.Error != nil {
		t.Fatal(got.Error)
	}
	// Queries in hand are given a few seconds.
	waitFor(t, "old connections to be closed", func() bool { return connections(t, before) == 0 })
	if n := connections(t, after); n == 0 {
		t.Error("the plugin has no connection to the new database")
	}
	h.Close()
	if h.Running() {
		t.Error("the plugin runs on")
	}
	waitFor(t, "all connections to be closed", func() bool { return connections(t, after) == 0 })
}

// connections counts the plugin's connections to an index.
func connections(t *testing.T, x *index) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), x.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	err = conn.QueryRow(t.Context(), `select count(*) from pg_stat_activity
		where datname = current_database() and application_name = 'tapedeck grafana'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}
