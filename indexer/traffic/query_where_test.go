package traffic

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// The two evaluators of the selector give the same answer on generated
// exchanges and generated selectors: more than 10^5 pairs a run.
func TestSelectorInSQLIsTheSameAsInMemory(t *testing.T) {
	r := newRandom(t)
	s := openStore(t)
	tapes := randomTapes(t, r, 1500, noon, time.Hour)
	mustWrite(t, s, tapes...)
	reader := openReader(t, s)
	var rows []events.Row
	for row := range scanOf(t, tapes).Rows() {
		if !row.Open {
			rows = append(rows, row)
		}
	}
	pairs, matched, compared := 0, 0, 0
	for pairs < 250_000 {
		text := randomSelector(r, 3)
		e, err := selector.Parse(text)
		if err != nil {
			continue // generated expressions are not always in the language
		}
		compared++
		got, want := chosenBySQL(t, reader, e), map[events.ID]bool{}
		for i := range rows {
			if e.Match(&rows[i]) {
				want[rows[i].ID] = true
			}
		}
		pairs += len(rows)
		matched += len(want)
		if !maps.Equal(got, want) {
			reportDifference(t, e, rows, got, want)
		}
	}
	t.Logf("%d selectors, %d pairs, %d of them matched", compared, pairs, matched)
	if matched < pairs/50 || matched > pairs-pairs/50 {
		t.Errorf("%d of %d pairs matched: the test sees one side only", matched, pairs)
	}
}

func chosenBySQL(t *testing.T, r *Reader, e *selector.Expr) map[events.ID]bool {
	t.Helper()
	chosen := map[events.ID]bool{}
	// As the views do it: endpoints and the rest apart.
	about, rest := split(e)
	statement := dollar.Select("x.id").From("exchanges x").
		Join(endpointSource + " e on e.id = x.endpoint_id").Join("workloads w on w.id = x.workload_id").
		Where(where(about)).Where(where(rest))
	err := r.read(t.Context(), queryTimeout, func(tx pgx.Tx) error {
		return query(t.Context(), tx, statement, func(row pgx.CollectableRow) error {
			var id [16]byte
			err := row.Scan(&id)
			chosen[id] = true
			return err
		})
	})
	if err != nil {
		t.Fatalf("%s: %v", e, err)
	}
	return chosen
}

func reportDifference(t *testing.T, e *selector.Expr, rows []events.Row, got, want map[events.ID]bool) {
	t.Helper()
	for i := range rows {
		if id := rows[i].ID; got[id] != want[id] {
			t.Fatalf("%s: SQL says %v, memory says %v of %+v", e, got[id], want[id], rows[i])
		}
	}
	t.Fatalf("%s: SQL chooses exchanges that are not there", e)
}

func TestSplitIsTheSameSelector(t *testing.T) {
	r := newRandom(t)
	var rows []events.Row
	for row := range scanOf(t, randomTapes(t, r, 300, noon, time.Hour)).Rows() {
		rows = append(rows, row)
	}
	for range 500 {
		e, err := selector.Parse(randomSelector(r, 3))
		if err != nil {
			continue
		}
		about, rest := split(e)
		about.Walk(func(c *selector.Condition) {
			if c.Key != selector.Replay && !slices.Contains(endpointKeys, c.Key) {
				t.Errorf("%s is asked of the endpoints", c)
			}
		})
		for i := range rows {
			p := endpointOf(&rows[i])
			if got, want := p.matches(about) && rest.Match(&rows[i]), e.Match(&rows[i]); got != want {
				t.Fatalf("%s splits into %s and %s: %v, want %v of %+v", e, about, rest, got, want, rows[i])
			}
		}
	}
}
