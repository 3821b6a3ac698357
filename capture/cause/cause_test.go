package cause

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"tapedeck/events"
)

const ms = int64(1e6)

// start is where the tests' time begins.
const start = int64(1e18)

func field(name, value string) *events.Field {
	return &events.Field{Name: []byte(name), Value: []byte(value)}
}

// exchange is one with a JSON body whose request was read at once, at start + at.
func exchange(d events.Direction, at int64, method, target, body string, headers ...*events.Field) *events.Exchange {
	id := events.NewID(time.Unix(0, start+at))
	x := &events.Exchange{Id: id[:], Direction: d, Protocol: "http", Request: &events.Request{
		Method: method, Host: "shop", Target: target, FirstByte: start + at, LastByte: start + at,
		Headers: headers, Body: &events.Body{Data: []byte(body), Size: int64(len(body))}}}
	if body != "" {
		x.Request.Headers = append(x.Request.Headers, field("Content-Type", "application/json"))
	}
	return x
}

// ask is an inbound exchange whose request is complete.
func ask(l *Linker, at int64, method, target, body string, headers ...*events.Field) *Inbound {
	x := exchange(events.Direction_INBOUND, at, method, target, body, headers...)
	c := l.Begin(x)
	l.Asked(c, x.Request)
	return c
}

// call is an outbound exchange of a millisecond.
func call(l *Linker, at int64, method, target, body string, headers ...*events.Field) Link {
	return l.Link(Call{exchange(events.Direction_OUTBOUND, at, method, target, body, headers...), start + at + ms})
}

func TestTheOnlyOpenExchangeIsTheCause(t *testing.T) {
	l := New(false)
	c := ask(l, 0, "GET", "/a", "")
	link := call(l, ms, "GET", "/b", "")
	if link.Cause != c.id || link.Confidence < 0.9 || link.Confidence >= 1 {
		t.Errorf("got %v, want %s, nearly certain", link, c.id)
	}
}

func TestNothingOpenIsNoCause(t *testing.T) {
	l := New(false)
	if link := call(l, 0, "GET", "/b", ""); link != (Link{}) {
		t.Errorf("nothing was open: %v", link)
	}
	ask(l, 2*ms, "GET", "/a", "")
	if link := call(l, ms, "GET", "/b", ""); link != (Link{}) {
		t.Errorf("linked to an exchange that began later: %v", link)
	}
}

// crowd opens n exchanges that differ in what they ask for.
func crowd(l *Linker, n int) []*Inbound {
	var all []*Inbound
	for i := range n {
		all = append(all, ask(l, int64(i), "POST", "/orders", fmt.Sprintf(`{"mail":"customer%d@example.com","total":%d}`, i, 1000+i)))
	}
	return all
}

func TestValuesTellWhichOfMany(t *testing.T) {
	for name, send := range map[string]func(l *Linker, at int64, i int) Link{
		"path": func(l *Linker, at int64, i int) Link {
			return call(l, at, "GET", fmt.Sprintf("/users/customer%d@example.com", i), "")
		},
		"query": func(l *Linker, at int64, i int) Link {
			return call(l, at, "GET", fmt.Sprintf("/u?mail=customer%d%%40example.com", i), "")
		},
		"header": func(l *Linker, at int64, i int) Link {
			return call(l, at, "GET", "/u", "", field("X-User", fmt.Sprintf("customer%d@example.com", i)))
		},
		"body": func(l *Linker, at int64, i int) Link {
			return call(l, at, "POST", "/u", fmt.Sprintf(`{"to":{"address":"customer%d@example.com"}}`, i))
		},
		"number": func(l *Linker, at int64, i int) Link {
			return call(l, at, "POST", "/u", fmt.Sprintf(`{"cents":%d}`, 1000+i))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(false)
			all := crowd(l, 64)
			right := 0
			for n, i := range rand.Perm(64) {
				link := send(l, ms*int64(n+1), i)
				if link.Confidence >= 0.9 && link.Cause != all[i].id {
					t.Fatalf("call %d of exchange %d is linked to %s with %.3f", n, i, link.Cause, link.Confidence)
				}
				if link.Cause == all[i].id {
					right++
				}
			}
			if right < 60 {
				t.Errorf("%d of 64 are linked", right)
			}
		})
	}
}

func TestEqualExchangesAreNotToldApart(t *testing.T) {
	l := New(false)
	for i := range 8 {
		ask(l, int64(i), "GET", "/same", "")
	}
	if link := call(l, ms, "GET", "/same", ""); link != (Link{}) {
		t.Errorf("one of eight equal exchanges was chosen: %v", link)
	}
}

func TestAnswersOfDependenciesAreEvidence(t *testing.T) {
	l := New(false)
	all := crowd(l, 8)
	first := exchange(events.Direction_OUTBOUND, ms, "POST", "/reserve", `{"mail":"customer3@example.com"}`)
	first.Response = &events.Response{Status: "201", Headers: []*events.Field{field("Content-Type", "application/json")},
		Body: &events.Body{Data: []byte(`{"reservation":"r-8842-77"}`)}}
	if link := l.Link(Call{first, start + 2*ms}); link.Cause != all[3].id || link.Confidence < 0.9 {
		t.Fatalf("the first call: %v", link)
	}
	if link := call(l, 3*ms, "DELETE", "/reservations/r-8842-77", ""); link.Cause != all[3].id || link.Confidence < 0.9 {
		t.Errorf("the second call has only a value of the first one's answer: %v, want %s", link, all[3].id)
	}
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-%016x-01"

func TestTraceIsCertain(t *testing.T) {
	l := New(false)
	ask(l, 0, "GET", "/tea", "")
	c := ask(l, 0, "GET", "/pot", "", field("Traceparent", fmt.Sprintf(parent, 1)))
	link := call(l, ms, "GET", "/tea", "", field("traceparent", fmt.Sprintf(parent, 2)))
	if link.Cause != c.id || link.Confidence != 1 {
		t.Errorf("got %v, want %s with 1", link, c.id)
	}
	if blind := New(true); true {
		tea := ask(blind, 0, "GET", "/tea-17", "")
		ask(blind, 0, "GET", "/pot-18", "", field("Traceparent", fmt.Sprintf(parent, 1)))
		link := call(blind, ms, "GET", "/tea-17", "", field("traceparent", fmt.Sprintf(parent, 2)))
		if link.Cause != tea.id {
			t.Errorf("a blind linker saw a trace: %v", link)
		}
	}
}

func TestParentSpanTellsWithinATrace(t *testing.T) {
	b3 := func(span, parent string) []*events.Field {
		return []*events.Field{field("X-B3-TraceId", "463ac35c9f6413ad"), field("X-B3-SpanId", span), field("X-B3-ParentSpanId", parent)}
	}
	l := New(false)
	ask(l, 0, "GET", "/a", "", b3("00000000000000a1", "00000000000000a0")...)
	c := ask(l, 0, "GET", "/a", "", b3("00000000000000a2", "00000000000000a0")...)
	link := call(l, ms, "GET", "/b", "", b3("00000000000000a3", "00000000000000a2")...)
	if link.Cause != c.id || link.Confidence != 1 {
		t.Errorf("got %v, want %s with 1", link, c.id)
	}
}

func TestReplayIsPassedOnWhenNearlyCertain(t *testing.T) {
	l := New(false)
	ask(l, 0, "GET", "/items/4711", "", field("Tapedeck-Replay", "r1.s1"))
	if link := call(l, ms, "GET", "/items/4711", ""); link.Replay != "r1" || link.Confidence < replayConfidence {
		t.Errorf("got %v, want replay r1", link)
	}
	ask(l, 0, "GET", "/items/4711", "")
	if link := call(l, 2*ms, "GET", "/other", ""); link.Replay != "" {
		t.Errorf("one of two exchanges is a replay's, and the call is said to be: %v", link)
	}
}

func TestCallAfterTheEndIsLessCertain(t *testing.T) {
	l := New(false)
	c := ask(l, 0, "GET", "/a", "")
	l.Answered(c, start+ms)
	l.End(c, start+ms)
	awaited := ask(l, 0, "GET", "/a", "")
	if link := call(l, 2*ms, "GET", "/b", ""); link.Cause == c.id {
		t.Errorf("got %v, want %s, which is open", link, awaited.id)
	}
	l.End(awaited, start+3*ms)
	if link := call(l, 10*ms, "GET", "/b", ""); link.Confidence >= 0.9 {
		t.Errorf("nothing was open: %v", link)
	}
	if link := call(l, 3*ms+grace+ms, "GET", "/b", ""); link != (Link{}) {
		t.Errorf("everything had ended long ago: %v", link)
	}
}

func TestTableIsBounded(t *testing.T) {
	l := New(false)
	var all []*Inbound
	for i := range 3 * maxOpen {
		all = append(all, ask(l, int64(i), "GET", "/a", ""))
	}
	if n := len(l.open.open); n != maxOpen {
		t.Errorf("%d are known, want %d", n, maxOpen)
	}
	for _, c := range all {
		l.End(c, start+ms)
	}
	if n := len(l.open.open); n != 0 {
		t.Errorf("%d are known after their end", n)
	}
	if n := len(l.open.before(nil, start+ms/2)); n != maxEnded {
		t.Errorf("%d that ended during a call are known, want %d", n, maxEnded)
	}
	if n := len(l.open.before(nil, start+2*ms)); n != maxLate {
		t.Errorf("%d that ended before a call are looked at, want %d", n, maxLate)
	}
}

func TestForgettingKeepsProportions(t *testing.T) {
	l := New(false)
	for i := range remembered - 1 {
		l.past.count([]uint64{uint64(4 + 4*(i%2))})
	}
	before := l.past.weight(4, 1)
	l.past.count([]uint64{4})
	after := l.past.weight(4, 1)
	if n := l.past.calls.Load(); n != remembered/2 || before/after > 1.01 || after/before > 1.01 {
		t.Errorf("%d calls, weight %.3f before and %.3f after", n, before, after)
	}
}

// TestConcurrentUse is of use under the race detector.
func TestConcurrentUse(t *testing.T) {
	l := New(false)
	var wg sync.WaitGroup
	wrong := make(chan Link, 4096)
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				at := int64(g*200+i) * ms
				target := fmt.Sprintf("/items/%d", 100_000+g*200+i)
				c := ask(l, at, "GET", target, "")
				if link := call(l, at+ms/2, "GET", target, ""); link.Cause != c.id {
					wrong <- link
				}
				l.Answered(c, start+at+2*ms)
				l.End(c, start+at+2*ms)
			}
		})
	}
	wg.Wait()
	if len(wrong) > 8 {
		t.Errorf("%d of 800 are not linked to their cause", len(wrong))
	}
}

func BenchmarkExchanges(b *testing.B) {
	for _, open := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("open=%d", open), func(b *testing.B) {
			l := New(false)
			crowd(l, open-1)
			in := exchange(events.Direction_INBOUND, 0, "POST", "/orders", `{"mail":"ada@example.com","items":[{"sku":"tea-100","quantity":2}],"card":"4242"}`, field("Authorization", "Bearer tok_8f3aa1"), field("User-Agent", "curl"))
			out := exchange(events.Direction_OUTBOUND, 1, "POST", "/v1/charges", `{"amount":1780,"currency":"EUR","card":"4242","mail":"ada@example.com"}`)
			b.ReportAllocs()
			for i := ms; b.Loop(); i += ms { // an inbound exchange and its call
				in.Request.FirstByte, in.Request.LastByte, out.Request.FirstByte = start+i, start+i, start+i+ms/4
				c := l.Begin(in)
				l.Asked(c, in.Request)
				l.Link(Call{out, start + i + ms/2})
				l.End(c, start+i+ms)
			}
		})
	}
}

func BenchmarkParallel(b *testing.B) {
	l := New(false)
	crowd(l, 64)
	in := exchange(events.Direction_INBOUND, 0, "GET", "/orders/4711", "")
	out := exchange(events.Direction_OUTBOUND, 1, "GET", "/orders/4711", "")
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			c := l.Begin(in)
			l.Asked(c, in.Request)
			l.Link(Call{out, start + ms})
			l.End(c, start+2*ms)
		}
	})
}
