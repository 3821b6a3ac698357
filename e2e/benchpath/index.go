package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/benchtest"
	"tapedeck/internal/service"
)

// index is a database of this run alone, on the given server.
type index struct {
	admin *pgx.Conn
	name  string
	dsn   string
}

func openIndex(ctx context.Context, dsn string) (*index, error) {
	admin, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	x := &index{admin: admin, name: fmt.Sprintf("tapedeck_bench_%d_%d", os.Getpid(), time.Now().UnixMilli())}
	if _, err := admin.Exec(ctx, "create database "+x.name); err != nil {
		return nil, fmt.Errorf("create database %s: %w", x.name, err)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	u.Path = "/" + x.name
	x.dsn = u.String()
	conn, err := pgx.Connect(ctx, x.dsn)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "create extension if not exists timescaledb")
	return x, err
}

func (x *index) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := x.admin.Exec(ctx, "drop database "+x.name+" with (force)"); err != nil {
		fmt.Fprintln(os.Stderr, "benchpath:", err)
	}
	x.admin.Close(ctx)
}

// wait returns the number of exchanges in the index when it is at least want,
// or an error when it stands still for 30 s.
func (x *index) wait(ctx context.Context, want int) (int, error) {
	conn, err := pgx.Connect(ctx, x.dsn)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	got, moved := 0, time.Now()
	for {
		var n int
		if err := conn.QueryRow(ctx, "select coalesce(sum(exchanges), 0) from tapes").Scan(&n); err != nil {
			return 0, err
		}
		if n > got {
			got, moved = n, time.Now()
		}
		if got >= want {
			break
		}
		if time.Since(moved) > 30*time.Second {
			return got, fmt.Errorf("sent %d, but the index stands at %d", want, got)
		}
		if !service.Sleep(ctx, 50*time.Millisecond) {
			return got, ctx.Err()
		}
	}
	var rows int
	err = conn.QueryRow(ctx, "select count(distinct id) from exchanges").Scan(&rows)
	return rows, err
}

// cpu is what the database's processes have used so far, 0 when they are not
// on this machine.
func (x *index) cpu(ctx context.Context) time.Duration {
	var backend int
	if err := x.admin.QueryRow(ctx, "select pg_backend_pid()").Scan(&backend); err != nil {
		return 0
	}
	postmaster := benchtest.StatOf(backend).Parent
	if postmaster <= 1 {
		return 0
	}
	total := benchtest.StatOf(postmaster).CPU
	for _, child := range benchtest.Children(postmaster) {
		total += benchtest.StatOf(child).CPU
	}
	return total
}

// archivedExchanges counts the exchanges in an archive, each once.
func archivedExchanges(ctx context.Context, folder string) (int, error) {
	archive, err := tapes.Open(ctx, folder)
	if err != nil {
		return 0, err
	}
	seen := map[events.ID]bool{}
	for located, err := range archive.Scan(ctx, tapes.ScanOptions{}) {
		if err != nil {
			return 0, err
		}
		for _, e := range located.Front.Index.Entries {
			if e.Kind == events.Kind_EXCHANGE {
				seen[events.ID(e.Id)] = true
			}
		}
	}
	return len(seen), nil
}
