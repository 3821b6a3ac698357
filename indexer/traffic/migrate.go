package traffic

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationLock is taken for the length of a migration, so that of two
// indexers that start at once one migrates and the other one waits.
const migrationLock = 0x7461706564656b01

type migration struct {
	version   int
	name, sql string
}

// Migrate brings the schema up to this program's version and returns the names
// of the migrations it applied: none when there was nothing to do. Each is
// applied once, in its own transaction. It makes the timescaledb extension
// when that is missing and allowed, and refuses a schema that is newer than
// this program.
func (s *Store) Migrate(ctx context.Context) ([]string, error) {
	list, err := migrations()
	if err != nil {
		return nil, err
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	defer conn.Release()
	// A migration over much data takes its time; the timeouts are for the rest.
	if _, err := conn.Exec(ctx, "set statement_timeout = 0; set lock_timeout = 0; set client_min_messages = warning"); err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	defer conn.Exec(context.WithoutCancel(ctx), "reset statement_timeout; reset lock_timeout; reset client_min_messages")
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return nil, fmt.Errorf("migrate: lock: %w", err)
	}
	defer conn.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock($1)", int64(migrationLock))
	if err := extend(ctx, conn.Conn()); err != nil {
		return nil, err
	}
	if err := asOwner(ctx, conn.Conn()); err != nil {
		return nil, fmt.Errorf("migrate: act for %s: %w", OwnerRole, err)
	}
	defer conn.Exec(context.WithoutCancel(ctx), "reset role")
	return apply(ctx, conn.Conn(), list)
}

func apply(ctx context.Context, conn *pgx.Conn, list []migration) ([]string, error) {
	at, err := schemaVersion(ctx, conn)
	if err != nil {
		return nil, err
	}
	if newest := list[len(list)-1].version; at > newest {
		return nil, fmt.Errorf("migrate: the database has schema version %d, this tapedeck knows %d: upgrade tapedeck", at, newest)
	}
	var applied []string
	for _, m := range list {
		if m.version <= at {
			continue
		}
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, m.sql); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "insert into migrations (version, name) values ($1, $2)", m.version, m.name)
			return err
		})
		if notAllowed(err) {
			err = fmt.Errorf("%w: %w", ErrNotOwner, err)
		}
		if err != nil {
			return applied, fmt.Errorf("migrate: %s: %w", m.name, err)
		}
		applied = append(applied, m.name)
	}
	return applied, nil
}

// extend makes sure that the database has the timescaledb extension.
func extend(ctx context.Context, conn *pgx.Conn) error {
	var has bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_extension where extname = 'timescaledb')").Scan(&has); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if has {
		return nil
	}
	if _, err := conn.Exec(ctx, "create extension if not exists timescaledb"); err != nil {
		return fmt.Errorf("migrate: make the timescaledb extension (is it installed on the server, and in shared_preload_libraries?): %w", err)
	}
	return nil
}

func schemaVersion(ctx context.Context, conn *pgx.Conn) (version int, err error) {
	var has bool
	if err := conn.QueryRow(ctx, "select to_regclass(quote_ident(current_schema()) || '.migrations') is not null").Scan(&has); err != nil {
		return 0, fmt.Errorf("migrate: %w", err)
	}
	if !has { // asked first: who only writes may make no tables
		_, err = conn.Exec(ctx, `create table if not exists migrations (
			version int4 primary key, name text not null, applied_at timestamptz not null default now())`)
		if err != nil {
			return 0, fmt.Errorf("migrate: %w", err)
		}
	}
	if err := conn.QueryRow(ctx, "select coalesce(max(version), 0) from migrations").Scan(&version); err != nil {
		return 0, fmt.Errorf("migrate: read version: %w", err)
	}
	return version, nil
}

// migrations are the embedded files 0001_name.sql, 0002_name.sql, … in order
// and without a gap.
func migrations() ([]migration, error) {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	var list []migration
	for i, file := range files { // Glob sorts
		name := strings.TrimSuffix(strings.TrimPrefix(file, "migrations/"), ".sql")
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s is not number %04d", file, i+1)
		}
		text, err := migrationFiles.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", name, err)
		}
		list = append(list, migration{version, name, string(text)})
	}
	return list, nil
}
