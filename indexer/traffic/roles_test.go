package traffic

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"tapedeck/internal/pgtest"
)

// login makes a user in a role, and returns the database's address for it.
func login(t *testing.T, dsn, role string) string {
	t.Helper()
	name, password := "t_"+randomWord(), randomWord()
	if err := pgtest.Exec(t.Context(), dsn, "create role "+name+" login password '"+password+"' in role "+role); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pgtest.Exec(context.WithoutCancel(t.Context()), dsn, "drop role "+name); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, password)
	return u.String()
}

func randomWord() string { return strings.ToLower(cryptorand.Text()) }

func refusedFor(t *testing.T, s *Store, what, sql string) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), sql)
	if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "42501" {
		t.Errorf("%s: %v, want insufficient privilege", what, err)
	}
}

// An indexer and a reader work as what they are, and as no more.
func TestRoles(t *testing.T) {
	dsn := pgtest.New(t)
	admin := openAt(t, dsn)
	if _, err := admin.SetRoles(t.Context()); err != nil {
		t.Fatal(err)
	}
	if made, err := admin.SetRoles(t.Context()); err != nil || len(made) != 0 {
		t.Errorf("SetRoles again = %v, %v", made, err)
	}

	writer := openAt(t, login(t, dsn, WriterRole)) // migrates: there is nothing to do
	src, r := newSource("cart"), rand.New(rand.NewPCG(1, 1))
	mustWrite(t, writer, src.randomTape(t, r, noon, 30), src.randomTape(t, r, noon.AddDate(0, 0, -9), 30))
	if _, err := writer.Merge(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkLevels(t, writer)
	if err := writer.SetChunk(t.Context(), time.Hour); err != nil {
		t.Error(err)
	}
	if n, err := writer.Retain(t.Context(), Retention{Exchanges: 7 * 24 * time.Hour, Ledger: 1000 * time.Hour}); err != nil || n != 1 {
		t.Errorf("Retain = %d, %v, want one chunk", n, err)
	}
	if n := ask[int](t, writer, "select count(*) from exchanges"); n != 30 {
		t.Errorf("%d exchanges are left, want 30", n)
	}
	if _, err := writer.pool.Exec(t.Context(), "select drop_old_chunks('exchanges', now())"); err == nil {
		t.Error("a writer drops what is new")
	}
	refusedFor(t, writer, "a writer drops a table", "drop table tapes")
	refusedFor(t, writer, "a writer makes a table", "create table more (x int)")
	refusedFor(t, writer, "a writer drops chunks", "select drop_chunks('exchanges', older_than => now())")

	readerDSN := login(t, dsn, ReaderRole)
	reader, err := OpenReader(t.Context(), readerDSN)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if page, err := reader.List(t.Context(), ListQuery{Limit: 100}); err != nil || len(page.Exchanges) != 30 {
		t.Errorf("a reader lists %d exchanges, %v, want 30", len(page.Exchanges), err)
	}
	curious := &Store{pool: reader.pool}
	for _, table := range ownTables {
		refusedFor(t, curious, "a reader deletes from "+table, "set transaction read write; delete from "+table)
	}
	refusedFor(t, curious, "a reader drops chunks", "set transaction read write; select drop_old_chunks('exchanges', now() - interval '1 year')")
}

// What a migration makes later has the same owner and rights.
func TestRolesOfWhatComesLater(t *testing.T) {
	dsn := pgtest.New(t)
	admin := openAt(t, dsn)
	if _, err := admin.SetRoles(t.Context()); err != nil {
		t.Fatal(err)
	}
	owner, err := Open(t.Context(), login(t, dsn, OwnerRole))
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	conn, err := owner.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	next := []migration{{9999, "later", "create table later (x int); insert into later values (1)"}}
	writer := openAt(t, login(t, dsn, WriterRole))
	other, err := writer.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Release()
	if _, err := apply(t.Context(), other.Conn(), next); !errors.Is(err, ErrNotOwner) {
		t.Errorf("a writer migrates: %v, want ErrNotOwner", err)
	}
	if err := asOwner(t.Context(), conn.Conn()); err != nil {
		t.Fatal(err)
	}
	if _, err := apply(t.Context(), conn.Conn(), next); err != nil {
		t.Fatal(err)
	}
	reader, err := OpenReader(t.Context(), login(t, dsn, ReaderRole))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if n := ask[int](t, &Store{pool: reader.pool}, "select count(*) from later"); n != 1 {
		t.Errorf("a reader sees %d rows of a new table, want 1", n)
	}
	all := ask[[]string](t, admin, "select array_agg(tablename::text order by tablename::text collate \"C\") from pg_tables where schemaname = current_schema()")
	want := append(slices.Clone(ownTables), "later")
	slices.Sort(want)
	if !slices.Equal(want, all) {
		t.Errorf("the schema has %v, want ownTables and the new one: %v", all, want)
	}
}

// A user that may make no roles is told so, and nothing is half done.
func TestRolesRefused(t *testing.T) {
	dsn := pgtest.New(t)
	admin := openAt(t, dsn)
	if _, err := admin.SetRoles(t.Context()); err != nil {
		t.Fatal(err)
	}
	writer := openAt(t, login(t, dsn, WriterRole))
	if _, err := writer.SetRoles(t.Context()); !errors.Is(err, ErrRoles) {
		t.Errorf("SetRoles = %v, want ErrRoles", err)
	}
}
