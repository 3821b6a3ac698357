package harness

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"tapedeck/events"
)

// minutes is how long the shop's traffic lasts.
const minutes = 50

// shopTraffic is an hour of a shop: each minute a checkout through the gateway,
// which calls orders, which calls a database and a payment service outside.
// Every fifth payment fails, and the checkout with it; some clients ask for
// what is not there.
func shopTraffic() (list []sample) {
	in, out := events.Direction_INBOUND, events.Direction_OUTBOUND
	for i := range minutes {
		at, n := hour.Add(time.Duration(i)*time.Minute), byte(i+1)
		status, class := "200", events.StatusClass_OK
		if i%5 == 0 {
			status, class = "503", events.StatusClass_SERVER
		}
		call := func(after, took time.Duration, service string, direction events.Direction, host, template string, span, parent byte) sample {
			s := sample{at: at.Add(after), service: service, direction: direction, host: host, template: template,
				status: status, class: class, duration: took, session: n, trace: n, span: span, parent: parent, tag: "a"}
			list = append(list, s)
			return s
		}
		ms := time.Millisecond
		call(0, 100*ms+time.Duration(i)*ms, "gateway", in, "shop.example", "/checkout", 1, 0)
		call(1*ms, 80*ms, "gateway", out, "orders:8080", "/orders", 2, 1)
		call(2*ms, 78*ms, "orders", in, "orders:8080", "/orders", 2, 1)
		call(3*ms, 40*ms, "orders", out, "pay.example", "/charge", 4, 2)
		db := call(50*ms, 2*ms, "orders", out, "db:5432", "select * from stock where id = ?", 3, 2)
		list[len(list)-1] = db.database()
	}
	for i := range 7 {
		list = append(list, sample{at: hour.Add(time.Duration(i) * time.Second), service: "gateway", direction: in, host: "shop.example",
			template: "/missing", path: "/missing/" + string(rune('a'+i)), method: "GET", status: "404", class: events.StatusClass_CLIENT, duration: time.Millisecond})
	}
	// What a replay sent is apart everywhere.
	for i := range 4 {
		list = append(list, sample{at: hour.Add(20*time.Minute + time.Duration(i)*time.Second), service: "orders", direction: in, host: "orders:8080",
			template: "/orders", status: "200", class: events.StatusClass_OK, replay: "r1"})
	}
	return list
}

// recorded are the samples but for replays.
func recorded(all []sample) []sample {
	return slices.DeleteFunc(slices.Clone(all), func(s sample) bool { return s.replay != "" })
}

// database is the sample as a statement that a database answered.
func (s sample) database() sample {
	s.protocol, s.method, s.status, s.class = "postgres", "SELECT", "", events.StatusClass_OK
	return s
}

// shop is an index of the shop's traffic, with a plugin to ask about it.
func shop(t *testing.T) (x *index, h *Host, samples []sample, ids []events.ID) {
	t.Helper()
	x, h, samples = newIndex(t), start(t), shopTraffic()
	ids = x.writeClosed(closed, samples)
	x.storeOutcomes()
	return x, h, samples, ids
}

// closed is when the shop's tapes were closed.
var closed = hour.Add(52 * time.Minute)

// storeOutcomes is what scenariogen and replayer say of a replay that missed.
func (x *index) storeOutcomes() {
	x.t.Helper()
	ready := events.ScenarioReady{ID: "q1", Name: "checkout", Version: "1", Tests: 4, Sessions: 2, Mocks: 6, CreatedAt: hour.Add(10 * time.Minute),
		From: hour, To: hour.Add(5 * time.Minute), Dependencies: []events.Dependency{{Name: "db:5432"}, {Name: "pay.example"}}}
	result := events.ReplayResult{ID: "r1", Scenario: "checkout", Version: "1", Target: "http://127.0.0.1:8080", Verdict: events.Missed,
		Reason: "1 answer differs", StartedAt: hour.Add(20 * time.Minute), EndedAt: hour.Add(21 * time.Minute),
		Tests: events.Checked{Total: 4, Passed: 3, Missed: 1}, Throughput: 12.5, Latency: events.Latency{P95: 40 * time.Millisecond}}
	raw, err := json.Marshal(ready)
	if err == nil {
		err = x.store.StoreScenario(x.t.Context(), ready, raw)
	}
	if err != nil {
		x.t.Fatal(err)
	}
	if raw, err = json.Marshal(result); err == nil {
		err = x.store.StoreReplay(x.t.Context(), result, raw)
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

// count counts samples.
func count(samples []sample, which func(sample) bool) (n float64) {
	for _, s := range samples {
		if which(s) {
			n++
		}
	}
	return n
}

func failed(s sample) bool {
	return slices.Contains([]events.StatusClass{events.StatusClass_SERVER, events.StatusClass_FAILED}, s.class)
}
