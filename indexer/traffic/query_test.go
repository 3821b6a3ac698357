package traffic

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// width_bucket with these edges counts into the bins of Histogram.
func TestBinEdgesAreTheHistograms(t *testing.T) {
	edges := binEdges()
	widthBucket := func(n int64) (bin uint8) {
		for _, e := range edges {
			if e <= n {
				bin++
			}
		}
		return bin
	}
	for n := int64(0); n < 5000; n++ {
		if got, want := widthBucket(n), binOf(n); got != want {
			t.Fatalf("%d µs are in bin %d, want %d", n, got, want)
		}
	}
	for _, e := range append(edges, math.MaxInt64) {
		for _, n := range []int64{e - 1, e} {
			if got, want := widthBucket(n), binOf(n); got != want {
				t.Fatalf("%d µs are in bin %d, want %d", n, got, want)
			}
		}
	}
}

func TestWindowsAreOnTheEdgesOfSteps(t *testing.T) {
	for _, c := range []struct {
		length, step time.Duration
		want         time.Duration
	}{
		{30 * time.Second, 0, time.Second},
		{10 * time.Minute, 0, 5 * time.Second},
		{time.Hour, 0, 30 * time.Second},
		{24 * time.Hour, 0, 30 * time.Minute},
		{7 * 24 * time.Hour, 0, 3 * time.Hour},
		{400 * 24 * time.Hour, 0, 4 * 24 * time.Hour},
		{time.Hour, 1500 * time.Millisecond, 2 * time.Second},
		{time.Hour, 15 * time.Second, 20 * time.Second},
		{24 * time.Hour, time.Second, time.Minute}, // at most MaxPoints
	} {
		q := SeriesQuery{Step: c.step}
		from := noon.Add(1234 * time.Millisecond)
		w, err := q.window(from, from.Add(c.length))
		if err != nil {
			t.Fatal(err)
		}
		if w.step != c.want {
			t.Errorf("%s in steps of %s: step %s, want %s", c.length, c.step, w.step, c.want)
		}
		if w.from.After(from) || w.to.Before(from.Add(c.length)) || w.to.Sub(w.from)%w.step != 0 || w.to.Sub(w.from)/w.step > MaxPoints {
			t.Errorf("%s in steps of %s: from %s to %s", c.length, c.step, w.from, w.to)
		}
	}
	for _, q := range []SeriesQuery{{Step: -1}, {}} {
		if _, err := q.window(noon, noon.Add(time.Duration(q.Step))); err == nil {
			t.Errorf("step %s over %s: no error", q.Step, q.Step)
		}
	}
}

func TestLevelIsTheCoarsestThatFits(t *testing.T) {
	for step, want := range map[time.Duration]string{
		10 * time.Second: "rollup_10s", 30 * time.Second: "rollup_10s", time.Minute: "rollup_1m", 5 * time.Minute: "rollup_1m",
		30 * time.Minute: "rollup_10m", 3 * time.Hour: "rollup_1h", 48 * time.Hour: "rollup_1d",
	} {
		q := cellQuery{window: window{step: step}}
		if got := Levels[q.coarsest()].Table; got != want || q.raw() {
			t.Errorf("steps of %s come from %s (raw %v), want %s", step, got, q.raw(), want)
		}
	}
	if q := (cellQuery{window: window{step: time.Second}}); !q.raw() {
		t.Error("steps of 1s come from rollups")
	}
}

// Dropped chunks of a fine level do not make the past look empty.
func TestSeriesReachBackToWhatIsKept(t *testing.T) {
	s := openStore(t)
	src, now := newSource("cart"), noon
	old := now.Add(-9 * 24 * time.Hour)
	var list []exchange
	for i := range 10 {
		list = append(list, exchange{entryAt(old.Add(time.Duration(i) * time.Minute)), getEndpoint("/")})
	}
	list = append(list, exchange{entryAt(now), getEndpoint("/")})
	mustWrite(t, s, src.tape(t, now, list))
	mustMerge(t, s)
	if _, err := s.Retain(t.Context(), Retention{Rollup10s: 3 * 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	r := openReader(t, s)
	for _, c := range []struct {
		from time.Time
		want time.Duration
	}{{old, time.Minute}, {now.Add(-time.Minute), 10 * time.Second}} {
		got, err := r.Throughput(t.Context(), SeriesQuery{Query: Query{From: c.from, To: c.from.Add(20 * time.Minute)}, Step: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if got.Step != c.want || len(got.Series) != 1 || (got.Notice != "") != (c.want != 10*time.Second) {
			t.Errorf("from %s: steps of %s with %d series, notice %q; want %s", c.from, got.Step, len(got.Series), got.Notice, c.want)
		}
	}
}

// A selector that rollups can't answer is answered from rows, not too far back.
func TestRawSeriesAreBounded(t *testing.T) {
	s := openStore(t)
	src := newSource("cart")
	mustWrite(t, s, src.tape(t, noon, []exchange{
		{entryAt(noon.Add(-72 * time.Hour)), getEndpoint("/")}, {entryAt(noon.Add(-time.Hour)), getEndpoint("/")},
	}))
	e, err := selector.Parse("status=200")
	if err != nil {
		t.Fatal(err)
	}
	got, err := openReader(t, s).Throughput(t.Context(), SeriesQuery{Query: Query{Selector: e, From: noon.Add(-96 * time.Hour), To: noon}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Source != "exchanges" || got.Notice == "" || got.Series[0].Total.Requests != 1 || got.To.Sub(got.From) > MaxRawRange+got.Step {
		t.Errorf("got %d requests of %s from %s to %s, notice %q", got.Series[0].Total.Requests, got.Source, got.From, got.To, got.Notice)
	}
}

func TestGetSaysWhereTheTapeLies(t *testing.T) {
	s := openStore(t)
	src := newSource("cart")
	// The second one's clock is years ahead: it is stored under another time.
	tape := src.tape(t, noon, []exchange{{entryAt(noon), getEndpoint("/")}, {entryAt(noon.AddDate(5, 0, 0)), getEndpoint("/")}})
	mustWrite(t, s, tape)
	r := openReader(t, s)
	for i, archived := range []bool{false, true} {
		if archived {
			place := events.ArchivedTape{ID: tape.TapeID(), Offset: 7, Length: 99}
			if err := s.Archived(t.Context(), []events.Archived{{Object: "reel", Tapes: []events.ArchivedTape{place}}}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := r.Get(t.Context(), events.ID(tape.Index.Entries[i].Id))
		if err != nil {
			t.Fatal(err)
		}
		want := &Place{Object: "reel", Offset: 7, Length: 99}
		if !archived {
			want = nil
		}
		if got.Tape != tape.TapeID() || !cmp.Equal(got.Place, want) {
			t.Errorf("archived %v: tape %s at %v, want %v", archived, got.Tape, got.Place, want)
		}
	}
}

// The list finds what lies weeks apart, and a search that is stopped says how
// far it went and goes on from there.
func TestListSearchesEverFurther(t *testing.T) {
	s := openStore(t)
	src := newSource("cart")
	var list []exchange
	for _, ago := range []time.Duration{0, 30 * time.Minute, 5 * time.Hour, 20 * time.Hour, 10 * 24 * time.Hour, 40 * 24 * time.Hour} {
		list = append(list, exchange{entryAt(noon.Add(-ago)), getEndpoint("/")})
	}
	mustWrite(t, s, src.tape(t, noon, list))
	r := openReader(t, s)
	for _, oldest := range []bool{false, true} {
		page, err := r.List(t.Context(), ListQuery{Oldest: oldest})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Exchanges) != len(list) || !page.Next.IsZero() {
			t.Errorf("oldest first %v: %d of %d exchanges, next %q", oldest, len(page.Exchanges), len(list), page.Next)
		}
	}

	// 400,000 rows a day before, and a condition that none of them meets: 30 ms
	// are too few, but each search goes on where the last one ended.
	fillDay(t, s, 400_000)
	e, err := selector.Parse(`path=~".*(a|b)+(c|d)*x[0-9]*"`)
	if err != nil {
		t.Fatal(err)
	}
	q := ListQuery{Query: Query{Selector: e}}
	stopped := 0
	for range 100 {
		page, err := r.list(t.Context(), q, 30*time.Millisecond)
		if err != nil {
			// Not even the nearest hour could be searched in the time.
			if !timedOut(err) {
				t.Fatal(err)
			}
			break
		}
		if page.Next.IsZero() {
			break
		}
		if !page.Searched.Equal(page.Next.Time) {
			t.Fatalf("searched to %s, but the next search begins at %s", page.Searched, page.Next.Time)
		}
		if !q.Cursor.IsZero() && !page.Next.Time.Before(q.Cursor.Time) {
			t.Fatalf("the search does not get on: %s after %s", page.Next, q.Cursor)
		}
		stopped++
		q.Cursor = page.Next
	}
	if stopped == 0 {
		t.Error("a search of 400,000 rows in 30 ms was never stopped")
	}
}

// fillDay copies the oldest row n times over a day.
func fillDay(t *testing.T, s *Store, n int) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), `
		insert into exchanges (`+exchangeColumns+`)
		select `+`$1::timestamptz + n * interval '1 day' / $2, `+exchangeColumns[len("time, "):]+`
		from (select * from exchanges order by time limit 1) x, generate_series(1, $2) n`,
		noon.Add(-30*24*time.Hour), n)
	if err != nil {
		t.Fatal(err)
	}
}
