package capture

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

func TestDue(t *testing.T) {
	for _, test := range []struct {
		since     time.Duration
		exchanges int
		want      bool
	}{
		{500 * time.Millisecond, 1000, false},
		{time.Second, 10, true},
		{time.Second, 9, false},
		{2 * time.Second, 19, false},
		{2 * time.Second, 20, true},
		{4900 * time.Millisecond, 1, false},
		{5 * time.Second, 0, true},
	} {
		if got := due(test.since, test.exchanges, time.Second); got != test.want {
			t.Errorf("after %s with %d exchanges: %v, want %v", test.since, test.exchanges, got, test.want)
		}
	}
}

// testRecorder publishes into a slice.
func testRecorder(now time.Time) (*recorder, *[]*events.Header) {
	var headers []*events.Header
	r := newRecorder(now)
	r.workload, r.age, r.log, r.metrics = &events.Workload{Service: "shop"}, time.Second, slog.New(slog.DiscardHandler), newMetrics()
	r.spooled = func() int { return 3 }
	r.publish = func(c *closedTape) {
		f, err := events.ParseFront(c.bytes)
		if err != nil {
			panic(err)
		}
		headers = append(headers, f.Header)
	}
	return r, &headers
}

func addOne(r *recorder, at time.Time) {
	r.begun.Add(1)
	id := events.NewID(at)
	x := &events.Exchange{Id: id[:], Request: &events.Request{Body: &events.Body{}}}
	r.add(&events.Entry{Id: id[:]}, &events.Endpoint{Protocol: "http"}, x)
}

func TestIdleSourceStillSpeaks(t *testing.T) {
	now := time.Unix(1000, 0)
	r, headers := testRecorder(now)
	for range 65 {
		now = now.Add(time.Second)
		r.tick(now)
	}
	if len(*headers) != 2 || (*headers)[1].Number != 2 || (*headers)[1].Counters.SpooledTapes != 3 {
		t.Fatalf("%d tapes in 65 s, %v, want one every 30 s", len(*headers), *headers)
	}
	r.end()
	r.end()
	r.tick(now.Add(time.Hour))
	if len(*headers) != 3 || !(*headers)[2].Last {
		t.Errorf("%d tapes, last %v, want one more, the last", len(*headers), (*headers)[len(*headers)-1])
	}
}

func TestCountersAreCumulative(t *testing.T) {
	now := time.Now()
	r, headers := testRecorder(now)
	addOne(r, now)
	addOne(r, now)
	r.begun.Add(3) // two of them stay open
	r.drop(wire.DropPressure, 1)
	r.tick(now.Add(time.Minute))
	addOne(r, now)
	addOne(r, now)
	r.lost(&closedTape{exchanges: 1}, dropSpool)
	r.end()
	first, last := (*headers)[0].Counters, (*headers)[1].Counters
	if first.Begun != 5 || first.Taped != 2 || first.Open != 2 || first.Dropped[wire.DropPressure] != 1 {
		t.Errorf("first: %v", first)
	}
	if last.Begun != 7 || last.Taped != 3 || last.Open != 2 || last.Dropped[wire.DropPressure] != 1 || last.Dropped[dropSpool] != 1 {
		t.Errorf("last: %v", last)
	}
}

func TestTapesStayBelowThePayloadBound(t *testing.T) {
	r, _ := testRecorder(time.Now())
	largest := 0
	r.publish = func(c *closedTape) { largest = max(largest, len(c.bytes)) }
	for i := range 200 {
		r.begun.Add(1)
		id := events.NewID(time.Now())
		n := i * 2600 % (events.BodyInline + 1)
		x := &events.Exchange{Id: id[:], Request: &events.Request{Body: &events.Body{Data: random(n)}}, Response: &events.Response{Body: &events.Body{Data: random(events.BodyInline - n)}}}
		r.add(&events.Entry{Id: id[:]}, &events.Endpoint{}, x)
		r.addPart(&events.Part{ExchangeId: id[:], Data: random(n)}, "")
	}
	r.end()
	if largest > 1<<20-64<<10 || largest < events.TapeSize/2 {
		t.Errorf("largest tape has %d bytes", largest)
	}
}

func TestTooLargeIsCounted(t *testing.T) {
	r, _ := testRecorder(time.Now())
	id := events.NewID(time.Now())
	x := &events.Exchange{Id: id[:], Request: &events.Request{Headers: []*events.Field{{Value: make([]byte, 1<<20)}}}}
	r.begun.Add(1)
	r.add(&events.Entry{Id: id[:]}, &events.Endpoint{}, x)
	if c := r.Counts(); c.Dropped[dropTooLarge] != 1 || c.Open != 0 {
		t.Errorf("%+v", c)
	}
}

func TestConfig(t *testing.T) {
	c := Config{Inbound: []string{"8080=localhost:3000", ":8081=4000", "[::1]:0=:5000"}, Outbound: []string{"9000", "127.0.0.1:9001=payments:443", "9002=https://payments", "9003=https://[::1]:8443/"}, Host: "127.0.0.1"}
	got, err := c.routes()
	if err != nil {
		t.Fatal(err)
	}
	want := []route{
		{direction: events.Direction_INBOUND, listen: "127.0.0.1:8080", upstream: "localhost:3000"},
		{direction: events.Direction_INBOUND, listen: ":8081", upstream: "localhost:4000"},
		{direction: events.Direction_INBOUND, listen: "[::1]:0", upstream: "localhost:5000"},
		{direction: events.Direction_OUTBOUND, listen: "127.0.0.1:9000", upstream: ""},
		{direction: events.Direction_OUTBOUND, listen: "127.0.0.1:9001", upstream: "payments:443"},
		{direction: events.Direction_OUTBOUND, listen: "127.0.0.1:9002", upstream: "payments:443", secure: true},
		{direction: events.Direction_OUTBOUND, listen: "127.0.0.1:9003", upstream: "[::1]:8443", secure: true},
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("route %d: got %v, want %v", i, got[i], want[i])
		}
	}
	for _, bad := range []Config{
		{Inbound: []string{"8080"}}, {Inbound: []string{"8080="}}, {Inbound: []string{"x=localhost:1"}}, {Inbound: []string{"99999=localhost:1"}},
		{Inbound: []string{"8080=localhost"}}, {Outbound: []string{"8080=payments"}}, {Outbound: []string{"8080=payments:0"}}, {Outbound: []string{""}},
	} {
		if _, err := bad.routes(); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "17": 17, "1MiB": 1 << 20, "64 KiB": 64 << 10, "2GB": 2e9, "5B": 5} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%s: got %d, %v, want %d", text, b, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1TiBs", "99999999999GiB"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	for name, cfg := range map[string]Config{
		"spool": {Spool: "/proc/nowhere"},
		"key":   {RedactionKey: "/proc/nowhere/key"},
	} {
		_, err := New(cfg, Deps{Data: t.TempDir()})
		if err == nil || errors.Unwrap(err) == nil {
			t.Errorf("%s: got %v, want an error with its cause", name, err)
		}
	}
}

// The recorder waits for the publisher with its lock held; the publisher must
// be able to count what it loses meanwhile.
func TestLossIsCountedWhileATapeWaits(t *testing.T) {
	r, _ := testRecorder(time.Now())
	r.publish = func(c *closedTape) {
		counted := make(chan struct{})
		go func() {
			defer close(counted)
			r.lost(c, dropSpool)
			r.drop(wire.DropPressure, 0)
			r.stored(&closedTape{})
		}()
		select {
		case <-counted:
		case <-time.After(10 * time.Second):
			t.Error("publisher and recorder wait for each other")
		}
	}
	addOne(r, time.Now())
	r.end()
	if c := r.Counts(); c.Taped != 0 || c.Dropped[dropSpool] != 1 {
		t.Errorf("counted %+v", c)
	}
}
