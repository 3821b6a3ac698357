package replayer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/scenariotest"
	"tapedeck/scenariogen/scenario"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shop is a service with log-in, orders, and made-up ids: a real target.
type shop struct {
	*httptest.Server
	mu       sync.Mutex
	tokens   map[string]bool
	next     int
	price    int
	seen     []*http.Request
	stall    chan struct{} // closed: answers at once
	requests atomic.Int32
	arrived  chan struct{} // a request is there
}

func newShop(t *testing.T, price int) *shop {
	s := &shop{tokens: map[string]bool{}, price: price, next: int(time.Now().UnixNano() % 1_000_000), stall: make(chan struct{}), arrived: make(chan struct{}, 1000)}
	close(s.stall)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /orders", s.authorised(s.order))
	mux.HandleFunc("GET /orders/{id}", s.authorised(s.show))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Clone(context.Background()))
		stall := s.stall
		s.mu.Unlock()
		s.requests.Add(1)
		s.arrived <- struct{}{}
		select {
		case <-stall:
		case <-r.Context().Done():
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	if !strings.Contains(string(b), `"password":"right"`) {
		answer(w, 401, map[string]any{"error": "wrong password"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	token := fmt.Sprintf("tok_%x", sha256.Sum256(fmt.Append(nil, s.next)))[:36]
	s.tokens["Bearer "+token] = true
	answer(w, 200, map[string]any{"token": token, "expires_at": time.Now().Add(time.Hour).UTC()})
}

func (s *shop) authorised(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		known := s.tokens[r.Header.Get("Authorization")]
		s.mu.Unlock()
		if !known {
			answer(w, 401, map[string]any{"error": "unknown token"})
			return
		}
		next(w, r)
	}
}

func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	w.Header().Set("Location", fmt.Sprintf("/orders/%d", s.next))
	answer(w, 201, map[string]any{"id": s.next, "total": s.price, "created_at": time.Now().UTC()})
}

func (s *shop) show(w http.ResponseWriter, r *http.Request) {
	var id int
	fmt.Sscan(r.PathValue("id"), &id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == 0 || id > s.next {
		answer(w, 404, map[string]any{"error": "no such order"})
		return
	}
	answer(w, 200, map[string]any{"id": id, "total": s.price, "created_at": time.Now().UTC()})
}

// checkout records sessions that log in, order and look at the order.
func checkout(t *testing.T, bucket tapes.Bucket, sessions int) *scenario.Scenario {
	t.Helper()
	s := newShop(t, 1998)
	r := scenariotest.New(t)
	for range sessions {
		r.Session()
		var login struct{ Token string }
		var order struct{ ID int }
		json.Unmarshal(r.Inbound(s.URL, "POST", "/login", `{"user":"ada","password":"right"}`).Body.Data, &login)
		auth := []string{"Authorization", "Bearer " + login.Token, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
		json.Unmarshal(r.Inbound(s.URL, "POST", "/orders", `{"sku":"sku-17","count":2}`, auth...).Body.Data, &order)
		r.Inbound(s.URL, "GET", fmt.Sprintf("/orders/%d", order.ID), "", auth...)
	}
	return r.Save(bucket, "checkout")
}

func request(target string) events.ReplayRequest {
	return events.ReplayRequest{ID: "r1", Target: target, Load: events.Load{Mode: "fast"}}
}

func mustRun(t *testing.T, ctx context.Context, o Options) events.ReplayResult {
	t.Helper()
	result, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func wantVerdict(t *testing.T, r events.ReplayResult, want events.Verdict, reason string) {
	t.Helper()
	if r.Verdict != want || !strings.Contains(r.Reason, reason) {
		t.Errorf("verdict %s: %s\nwant %s: …%s…\nmisses %+v", r.Verdict, r.Reason, want, reason, r.Misses)
	}
}

func TestRunPasses(t *testing.T) {
	bucket := scenariotest.Archive(t)
	s := checkout(t, bucket, 5)
	target := newShop(t, 1998)
	var progress []events.ReplayProgress
	result := mustRun(t, t.Context(), Options{
		Request: request(target.URL), Scenario: s, Archive: bucket,
		Progress: func(p events.ReplayProgress) { progress = append(progress, p) },
	})
	wantVerdict(t, result, events.Passed, "15 answers as recorded")
	if result.Tests != (events.Checked{Total: 15, Passed: 15}) || result.Latency.Count != 15 || result.Throughput <= 0 || result.Errors != 0 {
		t.Errorf("result %+v", result)
	}
	if len(result.Endpoints) != 3 || result.Endpoints[0].Recorded == 0 || result.Endpoints[0].Latency.P50 == 0 {
		t.Errorf("endpoints %+v", result.Endpoints)
	}
	last := progress[len(progress)-1]
	h, err := UnpackHistogram(last.Histogram)
	if err != nil {
		t.Fatal(err)
	}
	if !last.Final || last.Tests != result.Tests || h.TotalCount() != 15 {
		t.Errorf("last progress %+v with %d latencies", last, h.TotalCount())
	}
	checkMarks(t, target, 5)
	checkDetails(t, bucket, result)
}

// checkMarks holds that each request says whose it is, and that a session has
// one trace, which is not the recorded one.
func checkMarks(t *testing.T, target *shop, sessions int) {
	t.Helper()
	traces := map[string]string{}
	for _, r := range target.seen {
		marker, trace := r.Header.Get("tapedeck-replay"), strings.Split(r.Header.Get("traceparent"), "-")
		if !strings.HasPrefix(marker, "r1.") || len(trace) != 4 || len(r.Header.Values("traceparent")) != 1 {
			t.Fatalf("marker %q, traceparent %q", marker, trace)
		}
		if trace[1] == "0af7651916cd43dd8448eb211c80319c" {
			t.Error("the recorded trace was sent")
		}
		if known, ok := traces[marker]; ok && known != trace[1] {
			t.Errorf("session %s has two traces", marker)
		}
		traces[marker] = trace[1]
	}
	if len(traces) != sessions {
		t.Errorf("%d sessions were marked, want %d", len(traces), sessions)
	}
}

func checkDetails(t *testing.T, bucket tapes.Bucket, result events.ReplayResult) {
	t.Helper()
	if result.Details != "replays/r1/" {
		t.Errorf("details in %q", result.Details)
	}
	for name, want := range map[string]string{
		"result.json": string(result.Verdict), "report.html": "<!doctype html>", "junit.xml": "<testsuites", "misses.json": `"misses"`,
	} {
		b, err := bucket.Get(t.Context(), result.Details+name, 0, -1)
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v, want it to hold %q: %.200s", name, err, want, b)
		}
	}
}

func TestRunMisses(t *testing.T) {
	bucket := scenariotest.Archive(t)
	s := checkout(t, bucket, 2)
	target := newShop(t, 2100)
	result := mustRun(t, t.Context(), Options{Request: request(target.URL), Scenario: s, Archive: bucket})
	wantVerdict(t, result, events.Missed, "4 of 6 answers not as recorded")
	m := result.Misses[0]
	if len(m.Diffs) != 1 || m.Diffs[0] != (events.Difference{Place: "response.body.$.total", Want: "1998", Got: "2100"}) {
		t.Errorf("miss %+v, want the total alone", m)
	}
	b, _ := bucket.Get(t.Context(), result.Details+"report.html", 0, -1)
	if !strings.Contains(string(b), "response.body.$.total") {
		t.Error("the report does not name the field")
	}

	// What a request asserts goes before what was recorded.
	o := Options{Request: request(target.URL), Scenario: s}
	o.Request.Assertions = []events.Assertion{{Place: "response.body.$.total", Rule: "ignore"}}
	wantVerdict(t, mustRun(t, t.Context(), o), events.Passed, "6 answers")
	o.Request.Assertions[0].Selector = `{method="GET"}`
	wantVerdict(t, mustRun(t, t.Context(), o), events.Missed, "2 of 6")
	o.Request.Assertions[0].Selector = ""
	o.Request.Goals = []string{"latency.p99 < 1h", "errors = 0", "throughput > 1000000", "errors < 1%"}
	wantVerdict(t, mustRun(t, t.Context(), o), events.Missed, "goal throughput > 1000000 was not reached: it is")
	o.Request.Goals = nil
	o.Request.Transforms = []events.Transform{{Selector: `{method="GET"}`, Place: "request.header.Authorization", Value: "none"}}
	result = mustRun(t, t.Context(), o)
	wantVerdict(t, result, events.Missed, "2 of 6")
	if d := result.Misses[0].Diffs; len(d) == 0 || d[0] != (events.Difference{Place: "response.status", Want: "200", Got: "401"}) {
		t.Errorf("differences %+v, want the status", d)
	}
}

func TestRunErrors(t *testing.T) {
	bucket := scenariotest.Archive(t)
	s := checkout(t, bucket, 1)
	target := newShop(t, 1998)
	for _, tt := range []struct {
		name   string
		change func(*Options)
		reason string
	}{
		{"no scenario", func(o *Options) { o.Scenario = nil }, "replay without a scenario"},
		{"no target", func(o *Options) { o.Request.Target = "" }, "request without a target"},
		{"no id", func(o *Options) { o.Request.ID = "" }, "id of the replay has 0 characters"},
		{"a bad id", func(o *Options) { o.Request.ID = "a\nb" }, "characters beside printable ASCII"},
		{"a refused target", func(o *Options) { o.Request.Target = "http://192.0.2.1" }, "target refused: 192.0.2.1 (192.0.2.1) is not among"},
		{"a target that is none", func(o *Options) { o.Request.Target = "localhost:3000" }, "is no URL like"},
		{"an unknown mode", func(o *Options) { o.Request.Load.Mode = "slow" }, "load mode"},
		{"chaos", func(o *Options) { o.Request.Chaos = []events.ChaosRule{{Fault: "reset"}} }, "chaos rules can't be applied"},
		{"a bad selector", func(o *Options) {
			o.Request.Assertions = []events.Assertion{{Selector: "{", Place: "p", Rule: "equal"}}
		}, "selector of assertion p"},
		{"a bad rule", func(o *Options) { o.Request.Assertions = []events.Assertion{{Place: "p", Rule: "near"}} }, `rule "near" is none of`},
		{"a bad place", func(o *Options) { o.Request.Transforms = []events.Transform{{Place: "request.body", Value: "x"}} }, "only request.header.<name> can be set"},
		{"a bad goal", func(o *Options) { o.Request.Goals = []string{"speed > 1"} }, `signal "speed" is none of`},
		{"mocks that are not ready", func(o *Options) { o.Ready = func(context.Context) error { return fmt.Errorf("mocks are not ready") } }, "mocks are not ready"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Request: request(target.URL), Scenario: s}
			tt.change(&o)
			wantVerdict(t, mustRun(t, t.Context(), o), events.Errored, tt.reason)
		})
	}
	if n := target.requests.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// A name that leads somewhere else when it is dialled ends the replay.
func TestRunChecksTheDialledAddress(t *testing.T) {
	s := checkout(t, scenariotest.Archive(t), 2)
	target := newShop(t, 1998)
	o := Options{Request: request(target.URL), Scenario: s}
	o.Ready = func(context.Context) error { return nil }
	r, err := prepare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := ParseTargets([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	r.pool.Control = elsewhere.Control(r.target)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	r.cancel, r.begin = cancel, time.Now()
	if err := r.sendAll(ctx); err != nil {
		t.Fatal(err)
	}
	if cause := context.Cause(ctx); cause == nil || !strings.Contains(cause.Error(), "is not among the replayer's --allow-target") {
		t.Errorf("ended because of %v", cause)
	}
	if n := target.requests.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestRunUnproved(t *testing.T) {
	s := checkout(t, scenariotest.Archive(t), 1)
	target := newShop(t, 1998)
	o := Options{Request: request(target.URL), Scenario: s, Mocks: func(context.Context) ([]events.MockResult, error) {
		return []events.MockResult{{Dependency: "payments", Served: 1}}, nil
	}}
	wantVerdict(t, mustRun(t, t.Context(), o), events.Incomplete, "not known whether the target called a real dependency")
	o.Request.Mocks = &events.MocksRequest{Isolation: "declared"}
	wantVerdict(t, mustRun(t, t.Context(), o), events.Passed, "")
	o.Share = scenario.Share{From: 1, To: 2}
	wantVerdict(t, mustRun(t, t.Context(), o), events.Incomplete, "nothing to test")

	target.Close()
	o.Share = scenario.Share{}
	result := mustRun(t, t.Context(), o)
	wantVerdict(t, result, events.Missed, "3 requests had no complete answer")
	if result.Misses[0].Failure != "refused" || result.Errors != 3 {
		t.Errorf("misses %+v", result.Misses)
	}
}

// A recording that is cut off proves nothing.
func TestRunTruncated(t *testing.T) {
	bucket := scenariotest.Archive(t)
	target := newShop(t, 1998)
	r := scenariotest.New(t)
	r.Edit = func(row *events.Row, x *events.Exchange) {
		row.Flags |= uint32(events.Flag_TRUNCATED)
		x.Response.Body.Data = x.Response.Body.Data[:5]
		x.Response.Body.Kept = 5
	}
	r.Inbound(target.URL, "POST", "/login", `{"user":"ada","password":"wrong"}`)
	result := mustRun(t, t.Context(), Options{Request: request(target.URL), Scenario: r.Save(bucket, "cut")})
	wantVerdict(t, result, events.Incomplete, "1 of 1 tests could not be checked: their recordings are truncated")

	r.Edit = func(row *events.Row, x *events.Exchange) {
		row.Flags |= uint32(events.Flag_TRUNCATED)
		x.Request.Body.Data = x.Request.Body.Data[:5]
		x.Request.Body.Kept = 5
	}
	r.Inbound(target.URL, "POST", "/login", `{"user":"bob","password":"wrong"}`)
	r.Edit = nil
	r.Inbound(target.URL, "POST", "/login", `{"user":"eve","password":"wrong"}`)
	result = mustRun(t, t.Context(), Options{Request: request(target.URL), Scenario: r.Save(bucket, "cut2")})
	wantVerdict(t, result, events.Incomplete, "2 of 3 tests could not be checked")
}

func TestRunStopsAtOnce(t *testing.T) {
	s := checkout(t, scenariotest.Archive(t), 3)
	target := newShop(t, 1998)
	target.stall = make(chan struct{})
	ctx, cancel := context.WithCancelCause(t.Context())
	var stopped time.Time
	go func() {
		<-target.arrived
		stopped = time.Now()
		cancel(context.Canceled)
	}()
	result := mustRun(t, ctx, Options{Request: request(target.URL), Scenario: s})
	if took := time.Since(stopped); took > time.Second {
		t.Errorf("stopped %s after it was told to", took)
	}
	wantVerdict(t, result, events.Incomplete, "cancelled after 0 of 9 tests")
	close(target.stall)
}
