package scenario

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/wire/http1"
)

func shopMatcher(t testing.TB, dependency string) *Matcher {
	t.Helper()
	r := newRecorder()
	r.shop(1, 1041)
	r.shop(2, 1042)
	return r.matcher(t, dependency)
}

func (r *recorder) matcher(t testing.TB, dependency string) *Matcher {
	t.Helper()
	bucket := openBucket(t)
	r.build(t, bucket, Options{})
	m := NewMatcher(new(http1.Protocol).Signature)
	for _, k := range readMocks(t, openScenario(t, bucket), dependency) {
		m.Add(k)
	}
	return m
}

func call(method, target, body string) *events.Exchange {
	return exchangeOf(began.Add(1e15), method, target, nil, body, 200, nil, "")
}

func TestMatcherFindsTheExactAnswer(t *testing.T) {
	m := shopMatcher(t, "catalog.test")
	for range 3 {
		got := m.Match(call("GET", "/products", ""))
		if got.Level != Exact || string(got.Mock.Answer(call("GET", "/products", "")).Body.Data) != products {
			t.Errorf("match %v, want the recorded products", got)
		}
	}
}

func TestMatcherLooksThroughWhatTheRunMadeUp(t *testing.T) {
	m := shopMatcher(t, "payments.test")
	charges := map[string]bool{}
	for order := 7; order < 10; order++ {
		live := call("POST", "/charges", fmt.Sprintf(`{"amount":1998, "currency":"EUR","order_id":%d}`, order))
		got := m.Match(live)
		if got.Level != Shape {
			t.Fatalf("order %d: match %+v, want shape", order, got)
		}
		body := string(got.Mock.Answer(live).Body.Data)
		if !strings.Contains(body, fmt.Sprintf(`"order_id":%d,`, order)) {
			t.Errorf("answer %s does not repeat order %d", body, order)
		}
		charges[body[:30]] = true
	}
	if len(charges) != 2 {
		t.Errorf("%d different answers, want the two recorded ones and the last again", len(charges))
	}
}

func TestMatcherMissesAndNamesTheClosest(t *testing.T) {
	m := shopMatcher(t, "payments.test")
	got := m.Match(call("POST", "/charges", `{"order_id":7,"amount":2500,"currency":"EUR"}`))
	want := []events.Difference{{Place: "request.body.$.amount", Want: "1998", Got: "2500"}}
	if got.Level != Miss || got.Mock == nil {
		t.Fatalf("match %+v, want a miss with the closest", got)
	}
	if diff := cmp.Diff(want, got.Differences); diff != "" {
		t.Error(diff)
	}
	if got := m.Match(call("DELETE", "/charges/7", "")); got.Level != Miss || got.Mock != nil {
		t.Errorf("match %+v, want a miss without a closest", got)
	}
}

// An id that nobody made up in the recording is no volatile one: product 3 is
// not answered with product 1.
func TestMatcherDoesNotAnswerForOthers(t *testing.T) {
	r := newRecorder()
	for n := 1; n < 3; n++ {
		r.outbound("catalog.test", "GET", fmt.Sprintf("/products/%d", n), "", 200, fmt.Sprintf(`{"id":%d}`, n))
		r.inbound("GET", fmt.Sprintf("/p/%d", n), nil, "", 200, nil, fmt.Sprintf(`{"id":%d}`, n))
	}
	m := r.matcher(t, "catalog.test")
	if got := m.Match(call("GET", "/products/2", "")); got.Level != Exact {
		t.Errorf("product 2: %+v, want exact", got)
	}
	if got := m.Match(call("GET", "/products/3", "")); got.Level != Miss {
		t.Errorf("product 3: level %s, want miss", got.Level)
	}
}

// All of GraphQL has one path. An operation never gets another one's answer.
func TestMatcherTellsOperationsApart(t *testing.T) {
	r := newRecorder()
	ask := func(operation string, id int) string {
		return fmt.Sprintf(`{"query":"%s { node }","variables":{"order_id":%d}}`, operation, id)
	}
	for n := 1041; n < 1044; n++ { // ids that the service makes up, so that they are volatile
		r.turn()
		r.outbound("api.test", "POST", "/graphql", ask("query GetCart", n), 200, fmt.Sprintf(`{"data":{"cart":{"order_id":%d}}}`, n))
		r.outbound("api.test", "POST", "/graphql", ask("mutation Pay", n), 200, fmt.Sprintf(`{"data":{"paid":{"order_id":%d}}}`, n))
		r.inbound("POST", "/orders", nil, `{"items":[]}`, 201, nil, fmt.Sprintf(`{"order_id":%d}`, n))
	}
	m := r.matcher(t, "api.test")
	for operation, want := range map[string]string{"query GetCart": "cart", "mutation Pay": "paid"} {
		live := call("POST", "/graphql", ask(operation, 7))
		got := m.Match(live)
		if got.Level != Shape || !strings.Contains(string(got.Mock.Answer(live).Body.Data), want) {
			t.Errorf("%s: match %+v, want the shape of %s", operation, got, want)
		}
	}
	if got := m.Match(call("POST", "/graphql", ask("mutation Refund", 1041))); got.Level != Miss {
		t.Errorf("another operation: level %s, want a miss", got.Level)
	}
}

func TestMatcherGivesEqualRequestsTheirAnswersInOrder(t *testing.T) {
	r := newRecorder()
	for _, state := range []string{"queued", "running", "done"} {
		r.outbound("jobs.test", "GET", "/jobs/1", "", 200, `{"state":"`+state+`"}`)
	}
	m := r.matcher(t, "jobs.test")
	var got []string
	for range 5 {
		got = append(got, string(m.Match(call("GET", "/jobs/1", "")).Mock.Exchange.Response.Body.Data))
	}
	want := []string{`{"state":"queued"}`, `{"state":"running"}`, `{"state":"done"}`, `{"state":"done"}`, `{"state":"done"}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTruncatedRequestIsNoExactMock(t *testing.T) {
	r := newRecorder()
	x := r.outbound("files.test", "PUT", "/files/a", "the first half", 201, "")
	x.Request.Body.Size = 1 << 20
	m := r.matcher(t, "files.test")
	if got := m.Match(call("PUT", "/files/a", "the first half")); got.Level != Shape {
		t.Errorf("level %s, want shape", got.Level)
	}
	if got := m.Match(call("PUT", "/files/a", "another body, whole")); got.Level != Shape {
		t.Errorf("level %s, want shape", got.Level)
	}
	if got := m.Match(call("PUT", "/files/b", "x")); got.Level != Miss {
		t.Errorf("level %s, want miss", got.Level)
	}
}

func BenchmarkMatch(b *testing.B) {
	m := NewMatcher(new(http1.Protocol).Signature)
	for n := range 100_000 {
		x := call("POST", "/charges", fmt.Sprintf(`{"order_id":%d,"amount":%d}`, n, n%1000))
		m.Add(&Mock{Exchange: x, Volatile: []*Volatile{{Place: "request.body.$.order_id", Class: string(ClassLinked)}}})
	}
	live := call("POST", "/charges", `{"order_id":900000,"amount":7}`)
	for b.Loop() {
		if m.Match(live).Level != Shape {
			b.Fatal("no match")
		}
	}
}
