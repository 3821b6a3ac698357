package traffic

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"tapedeck/internal/pgtest"
)

func TestMigrate(t *testing.T) {
	dsn := pgtest.New(t)
	s, err := Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	// Several indexers start at once: one migrates.
	var mu sync.Mutex
	var applied []string
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			names, err := s.Migrate(t.Context())
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			applied = append(applied, names...)
		})
	}
	wg.Wait()
	list, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range list {
		want = append(want, m.name)
	}
	if !slices.Equal(applied, want) {
		t.Errorf("applied %v, want %v", applied, want)
	}
	if again, err := s.Migrate(t.Context()); err != nil || len(again) != 0 {
		t.Errorf("Migrate again = %v, %v, want nothing to do", again, err)
	}
	if got := ask[string](t, s, "show statement_timeout"); got == "0" {
		t.Error("the connection that migrated has lost its timeouts")
	}

	// An older program must not write to a newer schema.
	if _, err := s.pool.Exec(t.Context(), "insert into migrations (version, name) values (9999, 'of the future')"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "upgrade tapedeck") {
		t.Errorf("Migrate of a newer schema = %v, want a refusal", err)
	}
}

func TestMigrateAllOrNothing(t *testing.T) {
	s, err := Open(t.Context(), pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	broken := []migration{{1, "0001_good", "create table good ()"}, {2, "0002_bad", "create table half (); select 1/0"}}
	applied, err := apply(t.Context(), conn.Conn(), broken)
	if err == nil || !slices.Equal(applied, []string{"0001_good"}) {
		t.Fatalf("apply = %v, %v, want the first and an error", applied, err)
	}
	if !ask[bool](t, s, "select to_regclass('good') is not null and to_regclass('half') is null") {
		t.Error("the failed migration left something behind")
	}
	broken[1].sql = "create table half ()"
	if applied, err = apply(t.Context(), conn.Conn(), broken); err != nil || !slices.Equal(applied, []string{"0002_bad"}) {
		t.Errorf("apply of the mended one = %v, %v", applied, err)
	}
}
