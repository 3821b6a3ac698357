package traffic

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/events/selector"
)

func TestPipeline(t *testing.T) {
	s := openStore(t)
	cart, pay := newSource("cart"), newSource("pay")
	exchanges := func(at time.Time, n int) (list []exchange) {
		for range n {
			list = append(list, exchange{entryAt(at), getEndpoint("/x")})
		}
		return list
	}
	before := noon.Add(-2 * time.Hour) // outside, and says what was dropped until then
	cart.counters.Dropped = map[string]uint64{"overload": 100}
	mustWrite(t, s, cart.tape(t, before, exchanges(before, 1)))
	for i, dropped := range []uint64{103, 103, 110} {
		at := noon.Add(time.Duration(i) * 30 * time.Second)
		cart.counters.Dropped = map[string]uint64{"overload": dropped}
		mustWrite(t, s, cart.tape(t, at, exchanges(at, 2)))
	}
	mustWrite(t, s, pay.tape(t, noon, exchanges(noon, 1)))
	reader := openReader(t, s)

	q := PipelineQuery{Query: Query{From: noon, To: noon.Add(2 * time.Minute)}, Step: time.Minute}
	p, err := reader.Pipeline(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	type counts struct{ Tapes, Exchanges, Dead, Dropped int64 }
	got := map[string][]counts{}
	for _, series := range p.Series {
		for _, at := range series.Points {
			got[series.Service.Service] = append(got[series.Service.Service], counts{at.Tapes, at.Exchanges, at.Dead, at.Dropped})
			if at.MaxLag < at.MeanLag || at.MeanLag <= 0 || at.Bytes <= 0 {
				t.Errorf("%s: %+v", series.Service.Service, at)
			}
		}
	}
	want := map[string][]counts{"cart": {{2, 4, 0, 3}, {1, 2, 0, 7}}, "pay": {{1, 1, 0, 0}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	q.Selector, _ = selector.Parse(`{service=~"p.*"}`)
	if p, err = reader.Pipeline(t.Context(), q); err != nil || len(p.Series) != 1 || p.Series[0].Service.Service != "pay" {
		t.Errorf("pipeline of pay: %+v %v", p, err)
	}
	q.Selector, _ = selector.Parse(`{status>=500}`)
	if _, err = reader.Pipeline(t.Context(), q); !errors.Is(err, ErrQuery) {
		t.Errorf("by status: %v, want ErrQuery", err)
	}
}

func TestOutcomesAreRead(t *testing.T) {
	s := openStore(t)
	for i, name := range []string{"checkout", "checkout", "login"} {
		at := noon.Add(time.Duration(i) * time.Minute)
		ready := events.ScenarioReady{Name: name, Version: at.Format("04"), CreatedAt: at, Tests: i}
		if err := s.StoreScenario(t.Context(), ready, []byte(asJSON(ready))); err != nil {
			t.Fatal(err)
		}
		result := events.ReplayResult{ID: at.Format("04"), Scenario: name, StartedAt: at, Verdict: events.Missed, Tests: events.Checked{Total: i}}
		if err := s.StoreReplay(t.Context(), result, []byte(asJSON(result))); err != nil {
			t.Fatal(err)
		}
	}
	reader := openReader(t, s)
	for q, want := range map[OutcomeQuery]string{
		{}:                          "login:2 checkout:1 checkout:0 ",
		{Scenario: "checkout"}:      "checkout:1 checkout:0 ",
		{Limit: 1}:                  "login:2 ",
		{From: noon, To: noon}:      "",
		{To: noon.Add(time.Second)}: "checkout:0 ",
		{Scenario: "'; drop --"}:    "",
	} {
		scenarios, err := reader.Scenarios(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		replays, err := reader.Replays(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var ready, ran string
		for _, v := range scenarios {
			ready += v.Name + ":" + string(rune('0'+v.Tests)) + " "
		}
		for _, v := range replays {
			ran += v.Scenario + ":" + string(rune('0'+v.Tests.Total)) + " "
		}
		if ready != want || ran != want {
			t.Errorf("%+v: scenarios %q, replays %q, want %q", q, ready, ran, want)
		}
	}
}
