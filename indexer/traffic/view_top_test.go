package traffic

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tapedeck/events/selector"
)

// What a ranking and a heat map say is what the rows say.
func TestTopAndHeatMapCountRows(t *testing.T) {
	r, s := newRandom(t), openStore(t)
	src := newSource("cart")
	mustWrite(t, s, src.randomTape(t, r, noon, 700))
	mustMerge(t, s)
	mustWrite(t, s, src.randomTape(t, r, noon, 300)) // in the queue
	reader, hour := openReader(t, s), Query{From: noon.Add(-time.Hour), To: noon}

	for order, sql := range map[Order]string{
		"requests":   "count(*)",
		"errors":     "count(*) filter (where class >= 3)",
		"error_rate": "(count(*) filter (where class >= 3))::float8 / count(*)",
		"max":        "max(duration_us)",
		"bytes":      "sum(request_bytes + response_bytes)",
	} {
		top, err := reader.Top(t.Context(), TopQuery{Query: hour, By: []selector.Key{selector.Endpoint}, Order: order, Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range top.Groups {
			got = append(got, fmt.Sprintf("%s %d %d %d", g.Labels[selector.Endpoint], g.Requests, g.Errors(), g.RequestBytes+g.ResponseBytes))
		}
		want := ask[[]string](t, s, `select array_agg(line) from (
			select template || ' ' || count(*) || ' ' || count(*) filter (where class >= 3) || ' ' || sum(request_bytes + response_bytes) as line
			from exchanges join endpoints e on e.id = endpoint_id group by template order by `+sql+` desc, count(*) desc, template limit 3) x`)
		if !slices.Equal(got, want) || top.More != 2 {
			t.Errorf("by %s: %q and %d more, want %q and 2 more", order, got, top.More, want)
		}
	}
	checkHeatMap(t, s, reader, hour)
}

// checkHeatMap counts the rows below each bound. Bounds lie between whole µs,
// so that no row is on one.
func checkHeatMap(t *testing.T, s *Store, reader *Reader, q Query) {
	t.Helper()
	m, err := reader.HeatMap(t.Context(), SeriesQuery{Query: q, Step: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Points) < 6 || len(m.Bounds) < 10 || len(m.Bounds) > maxRows || !slices.IsSorted(m.Bounds) {
		t.Fatalf("%d points, bounds %s", len(m.Points), m.Bounds)
	}
	for _, p := range m.Points {
		var below int64
		for i, bound := range m.Bounds {
			below += p.Counts[i]
			want := ask[int64](t, s, "select count(*) from exchanges where time >= $1 and time < $2 and duration_us < $3::float8",
				p.Time, p.Time.Add(m.Step), float64(bound)/float64(time.Microsecond))
			if below != want {
				t.Fatalf("%s: %d exchanges below %s, want %d", p.Time, below, bound, want)
			}
		}
	}
}

// However far durations lie apart, there are no more rows than can be told apart.
func TestHeatMapRows(t *testing.T) {
	var h Histogram
	h.Add(20 * time.Millisecond)
	if r := chooseRows(&h); r.count() != 1 || r.width != 1 {
		t.Errorf("one duration makes %+v", r)
	}
	h.Add(time.Microsecond)
	h.Add(time.Minute)
	r := chooseRows(&h)
	if r.width == 1 || r.count() > maxRows {
		t.Errorf("1 µs to 1 min makes %+v", r)
	}
	h.Add(0)
	h.Add(1 << 62)
	if r = chooseRows(&h); r.width != 4 || r.bound(r.last) <= r.bound(r.last-1) || r.at(0) != r.first {
		t.Errorf("everything makes %+v", r)
	}
}

func TestStatementsShowWhatWasAsked(t *testing.T) {
	s := openStore(t)
	mustWrite(t, s, newSource("cart").randomTape(t, newRandom(t), noon, 10))
	e, err := selector.Parse(`{service="it's \"cart\""}`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, kept := WithStatements(t.Context())
	if _, err := openReader(t, s).Top(ctx, TopQuery{Query: Query{Selector: e, From: noon.Add(-time.Hour), To: noon}}); err != nil {
		t.Fatal(err)
	}
	text := kept.String()
	for _, want := range []string{"SELECT", "e.service = $1", `-- $1 = "it's \"cart\""`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
