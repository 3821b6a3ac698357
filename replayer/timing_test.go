package replayer

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/internal/scenariotest"
	"tapedeck/scenariogen/scenario"
)

// timetable records sessions whose requests start at these milliseconds.
func timetable(t *testing.T, sessions ...[]int) *scenario.Scenario {
	t.Helper()
	quick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer quick.Close()
	r := scenariotest.New(t)
	begin := time.Now()
	for n, session := range sessions {
		r.Session()
		for i, ms := range session {
			r.Edit = func(row *events.Row, x *events.Exchange) {
				took := x.Response.LastByte - x.Request.FirstByte
				row.Time = begin.Add(time.Duration(ms) * time.Millisecond)
				x.Request.FirstByte = row.Time.UnixNano()
				x.Response.LastByte = x.Request.FirstByte + took
			}
			r.Inbound(quick.URL, "GET", fmt.Sprintf("/s%d/r%d", n, i), "")
		}
	}
	return r.Save(scenariotest.Archive(t), "timetable")
}

// A late answer delays its own session only, and what waited behind it has the
// waiting in its latency.
func TestLateAnswerDelaysItsOwnSession(t *testing.T) {
	s := timetable(t, []int{0, 50}, []int{60})
	var mu sync.Mutex
	arrived := map[string]time.Time{}
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		arrived[r.URL.Path] = time.Now()
		mu.Unlock()
		if r.URL.Path == "/s0/r0" {
			<-time.After(300 * time.Millisecond)
		}
	}))
	defer target.Close()
	begin := time.Now()
	o := Options{Request: events.ReplayRequest{ID: "r1", Target: target.URL}, Scenario: s}
	result := mustRun(t, t.Context(), o)
	wantVerdict(t, result, events.Passed, "3 answers")
	if late := arrived["/s1/r0"].Sub(begin); late < 60*time.Millisecond || late > 250*time.Millisecond {
		t.Errorf("the other session's request came after %s, want about 60 ms", late)
	}
	if late := arrived["/s0/r1"].Sub(begin); late < 300*time.Millisecond {
		t.Errorf("the second request came after %s, before the first was answered", late)
	}
	if got := result.Latency.P50; got < 245*time.Millisecond { // of 300, 250 and a quick one
		t.Errorf("median latency %s: it does not count from the intended start", got)
	}
}

func TestLoadEndsByTheClock(t *testing.T) {
	s := timetable(t, []int{0, 1}, []int{2})
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer target.Close()
	o := Options{Scenario: s, Request: events.ReplayRequest{ID: "r1", Target: target.URL,
		Load: events.Load{Mode: "fast", Duration: 200 * time.Millisecond, Connections: 4}}}
	result := mustRun(t, t.Context(), o)
	wantVerdict(t, result, events.Passed, "")
	if took := result.EndedAt.Sub(result.StartedAt); took < 200*time.Millisecond || took > 2*time.Second {
		t.Errorf("took %s, want 200 ms", took)
	}
	if result.Tests.Total < 10 || result.Tests.Total != result.Tests.Passed {
		t.Errorf("tests %+v", result.Tests)
	}

	o.Request.Load = events.Load{Mode: "rate", Rate: 200, Duration: 250 * time.Millisecond}
	result = mustRun(t, t.Context(), o)
	wantVerdict(t, result, events.Passed, "50 answers")
	if took := result.EndedAt.Sub(result.StartedAt); took < 245*time.Millisecond {
		t.Errorf("took %s: faster than the rate", took)
	}
}
