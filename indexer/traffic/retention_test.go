package traffic

import (
	"testing"
	"time"
)

func TestRetain(t *testing.T) {
	s := openStore(t)
	src := newSource("cart")
	day := 24 * time.Hour
	now := time.Now()
	for _, age := range []time.Duration{0, 5 * day, 40 * day} {
		at := now.Add(-age)
		mustWrite(t, s, src.tape(t, at, []exchange{{entryAt(at), getEndpoint("/x")}}, exchange{entryAt(at), getEndpoint("/x")}))
	}
	if _, err := s.Merge(t.Context()); err != nil {
		t.Fatal(err)
	}
	count := func() string {
		return ask[string](t, s, `select concat_ws(' ', (select count(*) from exchanges), (select count(*) from open_exchanges),
			(select count(*) from rollup_10s), (select count(*) from rollup_1m), (select count(*) from rollup_1d), (select count(*) from tapes))`)
	}
	steps := []struct {
		keep Retention
		want string
	}{
		{Retention{}, "3 3 3 3 3 3"}, // zero is for ever
		{Retention{Exchanges: 30 * day, Rollup10s: 3 * day, Rollup1m: 30 * day}, "2 2 1 2 3 3"},
		{Retention{Exchanges: day, Ledger: 30 * day}, "1 1 1 2 3 3"}, // the ledger's rows were written just now
	}
	for _, step := range steps {
		if _, err := s.Retain(t.Context(), step.keep); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != step.want {
			t.Errorf("after %+v rows are %q, want %q", step.keep, got, step.want)
		}
	}
	if _, err := s.pool.Exec(t.Context(), "update tapes set indexed_at = closed_at; update places set archived_at = now() - interval '1 year'"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Retain(t.Context(), Retention{Ledger: 30 * day}); err != nil || n != 1 {
		t.Errorf("Retain = %d, %v, want 1 ledger row dropped", n, err)
	}
	if got := count(); got != "1 1 1 2 3 2" {
		t.Errorf("rows are %q, want 1 1 1 2 3 2", got)
	}
}
