package traffic

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// The index and a scan of the tapes say the same of the same exchanges, at any
// moment: nothing merged yet, some of it, all of it.
func TestReaderAndScanSayTheSame(t *testing.T) {
	r := newRandom(t)
	s := openStore(t)
	tapes := randomTapes(t, r, 500, noon.Add(-90*time.Minute), 3*time.Hour)
	mustWrite(t, s, tapes[:len(tapes)/2]...)
	mustMerge(t, s)
	mustWrite(t, s, tapes[len(tapes)/2:]...)
	twins := twins{openReader(t, s), scanOf(t, tapes)}
	for _, state := range []string{"half in the queue", "merged"} {
		t.Run(state, func(t *testing.T) {
			for range 12 {
				twins.compareViews(t, r)
			}
		})
		mustMerge(t, s)
	}
	twins.compareSingles(t, r)
}

func mustMerge(t testing.TB, s *Store) {
	t.Helper()
	for {
		n, err := s.Merge(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

type twins struct {
	reader *Reader
	scan   *Scan
}

func randomQuery(r *rand.Rand) Query {
	q := Query{}
	for r.IntN(3) > 0 {
		if e, err := selector.Parse(randomSelector(r, 2)); err == nil {
			q.Selector = e
			break
		}
	}
	if r.IntN(2) == 0 {
		q.From = noon.Add(-time.Duration(r.Int64N(int64(90 * time.Minute)))).Truncate(time.Microsecond)
	}
	if r.IntN(2) == 0 {
		q.To = noon.Add(time.Duration(r.Int64N(int64(90 * time.Minute)))).Truncate(time.Microsecond)
	}
	return q
}

func (w twins) compareViews(t *testing.T, r *rand.Rand) {
	t.Helper()
	ctx, q := t.Context(), randomQuery(r)
	w.comparePages(t, ListQuery{Query: q, Text: pick(r, "", "", "order", "(X)", "é"), Oldest: r.IntN(2) == 0, Limit: pick(r, 0, 30, 1000)})
	series := SeriesQuery{
		Query: q, Step: pick(r, 0, time.Second, 7*time.Second, 10*time.Second, time.Minute, 10*time.Minute, 70*time.Minute, 24*time.Hour),
		By:    pick(r, nil, []selector.Key{selector.Service}, []selector.Key{selector.Direction, selector.Endpoint}, splitKeys),
		Limit: pick(r, 0, 3),
	}
	compare(t, series, func(v Views) (any, error) { return v.Throughput(ctx, series) }, w)
	compare(t, series, func(v Views) (any, error) { return v.Latency(ctx, series) }, w)
	compare(t, series, func(v Views) (any, error) { return v.HeatMap(ctx, series) }, w)
	top := TopQuery{Query: q, By: series.By, Order: pick(r, append([]Order{""}, Orders()...)...), Limit: pick(r, 0, 3)}
	compare(t, top, func(v Views) (any, error) { return v.Top(ctx, top) }, w)
	compare(t, q, func(v Views) (any, error) { return v.Dependencies(ctx, q) }, w)
	compare(t, q, func(v Views) (any, error) { return v.Map(ctx, q) }, w)
	for _, k := range []selector.Key{"service", "version", "endpoint", "status", "class", "error", "path", "replay", "direction", "tag"} {
		values := ValuesQuery{Query: q, Key: k, Tag: pick(r, "", "user"), Limit: pick(r, 0, 3)}
		compare(t, values, func(v Views) (any, error) { return v.Values(ctx, values) }, w)
	}
}

// compare asks both; the source is the only thing they may differ in.
func compare(t *testing.T, q any, ask func(Views) (any, error), w twins) {
	t.Helper()
	got, err := ask(w.reader)
	if err != nil {
		t.Fatalf("%s: reader: %v", asJSON(q), err)
	}
	want, err := ask(w.scan)
	if err != nil {
		t.Fatalf("%s: scan: %v", asJSON(q), err)
	}
	if diff := cmp.Diff(plain(t, want), plain(t, got)); diff != "" {
		t.Fatalf("%T of %s: the scan (-) and the reader (+) differ:\n%.6000s", got, asJSON(q), diff)
	}
}

func asJSON(q any) string {
	b, _ := json.Marshal(q)
	return string(b)
}

// plain is the JSON without the source.
func plain(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if m, ok := out.(map[string]any); ok {
		delete(m, "source")
	}
	return out
}

// comparePages follows both lists to their ends.
func (w twins) comparePages(t *testing.T, q ListQuery) {
	t.Helper()
	seen := map[events.ID]bool{}
	for n := 0; ; n++ {
		got, err := w.reader.List(t.Context(), q)
		if err != nil {
			t.Fatalf("%s: reader: %v", asJSON(q), err)
		}
		want, err := w.scan.List(t.Context(), q)
		if err != nil {
			t.Fatalf("%s: scan: %v", asJSON(q), err)
		}
		if diff := cmp.Diff(plain(t, want), plain(t, got)); diff != "" {
			t.Fatalf("page %d of %s: the scan (-) and the reader (+) differ:\n%.4000s", n, asJSON(q), diff)
		}
		for _, r := range got.Exchanges {
			if seen[r.ID] {
				t.Fatalf("%s: exchange %s is on two pages", asJSON(q), r.ID)
			}
			seen[r.ID] = true
		}
		if got.Next.IsZero() {
			return
		}
		if q.Cursor, err = ParseCursor(got.Next.String()); err != nil {
			t.Fatal(err)
		}
	}
}

func (w twins) compareSingles(t *testing.T, r *rand.Rand) {
	t.Helper()
	ctx, n := t.Context(), 0
	for row := range w.scan.Rows() {
		if n++; n%50 == 0 {
			compare(t, row.ID, func(v Views) (any, error) { return v.Get(ctx, row.ID) }, w)
		}
	}
	if _, err := w.reader.Get(ctx, events.NewID(noon)); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of an unknown exchange = %v, want ErrNotFound", err)
	}
	for i := range 6 {
		trace := events.TraceID(fixedID(i))
		compare(t, trace, func(v Views) (any, error) { return v.Trace(ctx, trace) }, w)
		session := SessionQuery{Session: events.SessionID(fixedID(i))}
		compare(t, session, func(v Views) (any, error) { return v.Session(ctx, session) }, w)
		session.At = noon
		compare(t, session, func(v Views) (any, error) { return v.Session(ctx, session) }, w)
	}
	compare(t, "services", func(v Views) (any, error) { return v.Services(ctx) }, w)
}

// fixedID is what randomID makes.
func fixedID(n int) (id [16]byte) {
	id[0], id[15] = byte(n), byte(n)
	return id
}

func TestNothingRecorded(t *testing.T) {
	s := openStore(t)
	w := twins{openReader(t, s), scanOf(t, nil)}
	ctx := t.Context()
	w.comparePages(t, ListQuery{})
	compare(t, "", func(v Views) (any, error) { return v.Throughput(ctx, SeriesQuery{}) }, w)
	compare(t, "", func(v Views) (any, error) { return v.Latency(ctx, SeriesQuery{}) }, w)
	compare(t, "", func(v Views) (any, error) { return v.HeatMap(ctx, SeriesQuery{}) }, w)
	compare(t, "", func(v Views) (any, error) { return v.Top(ctx, TopQuery{}) }, w)
	compare(t, "", func(v Views) (any, error) { return v.Map(ctx, Query{}) }, w)
	compare(t, "", func(v Views) (any, error) { return v.Dependencies(ctx, Query{}) }, w)
	compare(t, "", func(v Views) (any, error) { return v.Services(ctx) }, w)
	compare(t, "", func(v Views) (any, error) { return v.Trace(ctx, events.TraceID{1}) }, w)
	compare(t, "", func(v Views) (any, error) { return v.Session(ctx, SessionQuery{}) }, w)
	compare(t, "", func(v Views) (any, error) { return v.Values(ctx, ValuesQuery{Key: "service"}) }, w)
}

func TestRefusedQueries(t *testing.T) {
	v := scanOf(t, nil)
	for name, err := range map[string]error{
		"split":  second(v.Throughput(t.Context(), SeriesQuery{By: []selector.Key{selector.Path}})),
		"order":  second(v.Top(t.Context(), TopQuery{Order: "happiness"})),
		"values": second(v.Values(t.Context(), ValuesQuery{Key: selector.Trace})),
		"key":    second(v.Values(t.Context(), ValuesQuery{Key: "servce"})),
		"text":   second(v.List(t.Context(), ListQuery{Text: string(make([]byte, 500))})),
		"cursor": second(ParseCursor("12_34")),
		"limit":  second(v.List(t.Context(), ListQuery{Limit: -1})),
	} {
		if !errors.Is(err, ErrQuery) {
			t.Errorf("%s: %v, want ErrQuery", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
