package canary

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

// database is what the server of an index writes, read through the server: it
// may be on another machine.
type database struct {
	t     *testing.T
	conn  *pgx.Conn
	begin string // of the WAL that is ours, and of others on that server
}

// watch keeps the server's WAL from now on, as long as the test runs.
func watch(t *testing.T, dsn string) *database {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	d := &database{t: t, conn: conn}
	d.one(&d.begin, "select pg_current_wal_lsn()::text")
	var slot string // temporary: it ends with the connection
	d.one(&slot, "select slot_name::text from pg_create_physical_replication_slot('canary_' || pg_backend_pid(), true, true)")
	return d
}

func (d *database) one(to any, sql string, args ...any) {
	d.t.Helper()
	if err := d.conn.QueryRow(d.t.Context(), sql, args...).Scan(to); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
}

func (d *database) all(sql string, args ...any) []string {
	d.t.Helper()
	rows, err := d.conn.Query(d.t.Context(), sql, args...)
	if err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return out
}

// tables are all rows, as text.
func (d *database) tables() (out []byte) {
	d.t.Helper()
	for _, table := range d.all(`select format('%I.%I', schemaname, tablename) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')`) {
		for _, row := range d.all("select t::text from " + table + " t") {
			out = append(append(out, row...), '\n')
		}
	}
	return out
}

// files are those of the database, after all was written to them.
func (d *database) files() (out []byte) {
	d.t.Helper()
	if _, err := d.conn.Exec(d.t.Context(), "checkpoint"); err != nil {
		d.t.Fatal(err)
	}
	var folder string
	d.one(&folder, "select 'base/' || oid from pg_database where datname = current_database()")
	return d.read(folder, d.all("select pg_ls_dir($1)", folder))
}

// wal are the segments since watch.
func (d *database) wal() []byte {
	d.t.Helper()
	var end string
	d.one(&end, "select pg_current_wal_lsn()::text")
	return d.read("pg_wal", d.all(`select name from pg_ls_waldir() where name between pg_walfile_name($1::pg_lsn) and pg_walfile_name($2::pg_lsn)`, d.begin, end))
}

func (d *database) read(folder string, names []string) (out []byte) {
	d.t.Helper()
	if len(names) == 0 {
		d.t.Fatalf("there is nothing in %s", folder)
	}
	for _, name := range names {
		var b []byte
		d.one(&b, "select coalesce(pg_read_binary_file($1, true), '')", fmt.Sprintf("%s/%s", folder, name))
		out = append(out, b...)
	}
	return out
}
