package replayer

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

// at makes recorded times from seconds after an hour in 2026.
func at(seconds ...float64) []int64 {
	var times []int64
	for _, s := range seconds {
		times = append(times, 1_780_000_000_000_000_000+int64(s*1e9))
	}
	return times
}

func starts(seconds ...float64) []time.Duration {
	all := []time.Duration{}
	for _, s := range seconds {
		all = append(all, time.Duration(s*1e9))
	}
	return all
}

func TestPlan(t *testing.T) {
	recorded := [][]int64{at(0, 1, 3), at(2, 2.5)}
	for _, tt := range []struct {
		name   string
		load   events.Load
		times  [][]int64
		rounds int
		beside int
		total  int
		want   [][]time.Duration // session 0 round 0, session 0 round 1, …, session 1 round 0, …
	}{
		{"as recorded", events.Load{}, recorded, 1, 1, 5, [][]time.Duration{starts(0, 1, 3), starts(2, 2.5)}},
		{"twice as fast", events.Load{Speed: 2}, recorded, 1, 1, 5, [][]time.Duration{starts(0, 0.5, 1.5), starts(1, 1.25)}},
		{"half as fast", events.Load{Speed: 0.5}, recorded, 1, 1, 5, [][]time.Duration{starts(0, 2, 6), starts(4, 5)}},
		{"copies beside each other", events.Load{Copies: 2}, recorded, 1, 2, 10, [][]time.Duration{starts(0, 1, 3), starts(2, 2.5)}},
		{"cut at a duration", events.Load{Duration: 2500 * time.Millisecond}, recorded, 1, 1, 3, [][]time.Duration{starts(0, 1), starts(2)}},
		{"again until a duration", events.Load{Duration: 5 * time.Second}, recorded, 2, 1, 7, // a round takes 3 s and 3/4 s
			[][]time.Duration{starts(0, 1, 3), starts(3.75, 4.75), starts(2, 2.5), starts()}},
		{"copies, cut at a duration", events.Load{Duration: 5 * time.Second, Copies: 3}, recorded, 1, 3, 15, [][]time.Duration{starts(0, 1, 3), starts(2, 2.5)}},
		{"a rate keeps the order of all requests", events.Load{Mode: "rate", Rate: 10}, recorded, 1, 1, 5,
			[][]time.Duration{starts(0, 0.1, 0.4), starts(0.2, 0.3)}},
		{"copies at a rate are rounds", events.Load{Mode: "rate", Rate: 10, Copies: 2}, recorded, 2, 1, 10,
			[][]time.Duration{starts(0, 0.1, 0.4), starts(0.5, 0.6, 0.9), starts(0.2, 0.3), starts(0.7, 0.8)}},
		{"a rate for a duration", events.Load{Mode: "rate", Rate: 10, Duration: 800 * time.Millisecond, Copies: 1}, recorded, 2, 1, 8,
			[][]time.Duration{starts(0, 0.1, 0.4), starts(0.5, 0.6), starts(0.2, 0.3), starts(0.7)}},
		{"one after another", events.Load{Mode: "fast", Copies: 2}, recorded, 2, 1, 10,
			[][]time.Duration{starts(0, 0, 0), starts(0, 0, 0), starts(0, 0), starts(0, 0)}},
		{"the same time twice", events.Load{Mode: "rate", Rate: 1}, [][]int64{at(1, 1), at(1)}, 1, 1, 3, [][]time.Duration{starts(0, 1), starts(2)}},
		{"a clock that went back", events.Load{}, [][]int64{at(5, 4, 6)}, 1, 1, 3, [][]time.Duration{starts(1, 1, 2)}},
		{"one request until a duration", events.Load{Duration: time.Second}, [][]int64{at(5)}, 1, 1, 1, [][]time.Duration{starts(0)}},
		{"nothing", events.Load{}, nil, 1, 1, 0, nil},
		{"nothing at a rate for a duration", events.Load{Mode: "rate", Rate: 5, Duration: time.Minute}, nil, 1, 1, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPlan(tt.load, tt.times)
			if err != nil {
				t.Fatal(err)
			}
			var got [][]time.Duration
			for session := range tt.times {
				for round := range p.Rounds() {
					got = append(got, p.Starts(session, round))
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("starts (-want +got):\n%s", diff)
			}
			if p.Rounds() != tt.rounds || p.Beside() != tt.beside || p.Total() != tt.total {
				t.Errorf("%d rounds of %d, %d requests, want %d of %d, %d", p.Rounds(), p.Beside(), p.Total(), tt.rounds, tt.beside, tt.total)
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, tt := range []struct {
		load events.Load
		want string
	}{
		{events.Load{Mode: "slow"}, `load mode "slow" is none of`},
		{events.Load{Speed: -1}, "load speed -1 is not above 0"},
		{events.Load{Mode: "rate"}, "load rate 0 is not between"},
		{events.Load{Mode: "rate", Rate: 1e9}, "is not between"},
		{events.Load{Rate: 5}, "load has a rate, and mode recorded uses none"},
		{events.Load{Copies: -1}, "below 0"},
		{events.Load{Copies: 20_000_000}, "at most 10000000"},
	} {
		_, err := NewPlan(tt.load, [][]int64{at(0)})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.load, err, tt.want)
		}
	}
}
