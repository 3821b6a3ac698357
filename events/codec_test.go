package events_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

var update = flag.Bool("update", false, "write golden files that are missing")

var goldenTime = time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.UTC)

// examples holds one event a subject; their golden files are decoded for ever.
var examples = map[string]any{
	"archived.c.n.s":           events.Archived{Service: events.Service{Cluster: "c", Namespace: "n", Service: "s"}, Object: "reels/1", Tapes: []events.ArchivedTape{{ID: events.ID{1}, Offset: 7, Length: 9}}},
	"indexed.c.n.s":            events.Indexed{Service: events.Service{Cluster: "c", Namespace: "n", Service: "s"}, Tape: events.ID{2}, From: goldenTime, To: goldenTime, Exchanges: 3, Endpoints: []events.IndexedEndpoint{{ID: -5, Direction: "inbound", Protocol: "http", Host: "cart", Method: "GET", Template: "/items/{id}", Requests: 3, Errors: 1}}},
	"scenario.request":         events.ScenarioRequest{ID: "s1", Name: "checkout", Selector: `{service="cart"}`, From: goldenTime},
	"scenario.ready.checkout":  events.ScenarioReady{ID: "s1", Name: "checkout", Version: "v1", Location: "scenarios/checkout/v1", Tests: 4, Sessions: 2, Mocks: 3, Dependencies: []events.Dependency{{Name: "payments:443", Protocol: "http", Listen: "127.0.0.1:8081", Mocks: 3}}, CreatedAt: goldenTime},
	"replay.request":           events.ReplayRequest{ID: "r1", Scenario: "checkout", Target: "http://localhost:3000", Load: events.Load{Mode: "rate", Rate: 100, Duration: time.Minute}, Goals: []string{"latency.p99 < 200ms"}},
	"replay.shard.r1":          events.ReplayShard{ID: "r1", Number: 2, From: 1 << 30, To: 2 << 30, Request: events.ReplayRequest{ID: "r1"}},
	"replay.control.r1":        events.ReplayControl{ID: "r1", Action: "start", Delay: time.Second},
	"replay.mocked.r1":         events.ReplayMocked{ID: "r1", State: "ready", MockResult: events.MockResult{Dependency: "payments:443", Address: "127.0.0.1:8081"}},
	"replay.progress.r1":       events.ReplayProgress{ID: "r1", Elapsed: time.Second, Planned: 10, Tests: events.Checked{Total: 4, Passed: 4}},
	"replay.result.r1":         events.ReplayResult{ID: "r1", Scenario: "checkout", Target: "http://localhost:3000", Verdict: events.Missed, StartedAt: goldenTime, EndedAt: goldenTime, Tests: events.Checked{Total: 4, Passed: 3, Missed: 1}, Misses: []events.Miss{{Exchange: events.ID{3}, Method: "GET", Path: "/cart", Diffs: []events.Difference{{Place: "response.body.$.total", Want: "12", Got: "11"}}}}},
	"captured.c.n.s (3 bytes)": []byte{1, 2, 3},
}

func TestEventsSurviveTheWire(t *testing.T) {
	for name, data := range examples {
		subject, _, _ := strings.Cut(name, " ")
		e, err := events.NewEvent(subject, "/tapedeck/test/1", "id-1", "about", data)
		if err != nil {
			t.Fatal(err)
		}
		e.Time = goldenTime
		msg, err := events.Encode(subject, e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := events.Decode(subject, msg.Header, msg.Data)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("%s: %s", subject, diff)
		}
		golden(t, subject, msg)
	}
}

// golden compares with the message as the first release wrote it: subject,
// headers, empty line, data.
func golden(t *testing.T, subject string, msg *nats.Msg) {
	kind := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(subject, ".c.n.s"), ".r1"), ".checkout")
	path := filepath.Join("testdata", kind+"-v1.msg")
	want, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && *update {
		text := subject + "\n"
		for _, h := range []string{"ce-dataschema", "ce-id", "ce-source", "ce-specversion", "ce-subject", "ce-time", "ce-type", "ce-datacontenttype"} {
			v := msg.Header.Get(h)
			if v == "" {
				t.Fatalf("%s: no header %s in %v", subject, h, msg.Header)
			}
			text += h + ": " + v + "\n"
		}
		want = append([]byte(text+"\n"), msg.Data...)
		os.MkdirAll("testdata", 0o755)
		err = os.WriteFile(path, want, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	head, data, _ := strings.Cut(string(want), "\n\n")
	lines := strings.Split(head, "\n")
	header := nats.Header{}
	for _, line := range lines[1:] {
		k, v, _ := strings.Cut(line, ": ")
		header.Set(k, v)
	}
	e, err := events.Decode(lines[0], header, []byte(data))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if diff := cmp.Diff(string(msg.Data), string(e.Data)); diff != "" {
		t.Errorf("%s: %s", path, diff)
	}
}

func TestDecodeTakesThreeForms(t *testing.T) {
	const data = `{"id":"r1","scenario":"checkout"}`
	const subject = events.SubjectReplayRequest
	const kind = "dev.tapedeck.replay.request.v1"
	binary := nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/x"}, "ce-type": {kind}}
	structured := `{"specversion":"1.0","id":"1","source":"/x","type":"` + kind + `","datacontenttype":"application/json","data":` + data + `}`
	for _, c := range []struct {
		name, subject, body string
		header              nats.Header
		ok                  bool
	}{
		{"binary", subject, data, binary, true},
		{"structured", subject, structured, nil, true},
		{"bare", subject, " " + data, nil, true},
		{"bare where none is allowed", "replay.result.r1", data, nil, false},
		{"no JSON", subject, "hello", nil, false},
		{"empty", subject, "", nil, false},
		{"unknown subject", "orders.created", data, binary, false},
		{"wrong type", "scenario.request", data, binary, false},
		{"structured without source", subject, `{"specversion":"1.0","id":"1","type":"` + kind + `"}`, nil, false},
	} {
		e, err := events.Decode(c.subject, c.header, []byte(c.body))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, events.ErrEvent) {
			t.Errorf("%s: error %v, want ok=%v", c.name, err, c.ok)
			continue
		}
		if !c.ok {
			continue
		}
		r, err := events.DecodeData[events.ReplayRequest](e)
		if err != nil || r.ID != "r1" || r.Scenario != "checkout" {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("replay.request", "1.0", []byte(`{"id":"r1"}`))
	f.Add("replay.request", "", []byte(`{"specversion":"1.0","data_base64":"!"}`))
	f.Fuzz(func(t *testing.T, subject, version string, data []byte) {
		h := nats.Header{}
		if version != "" {
			h.Set("ce-specversion", version)
		}
		if _, err := events.Decode(subject, h, data); err != nil && !errors.Is(err, events.ErrEvent) {
			t.Errorf("error %v does not wrap ErrEvent", err)
		}
	})
}

func TestDeadLetterIsWholeAndOnce(t *testing.T) {
	_, js := natstest.New(t)
	msg := nats.NewMsg("captured.c.n.s")
	msg.Data = []byte("no tape")
	msg.Header.Set("ce-id", "x")
	if _, err := js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	for _, worker := range []string{events.DurableArchiver, events.DurableIndexer} {
		c, err := js.Consumer(t.Context(), events.StreamCaptured, worker)
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := events.DeadLetter(t.Context(), js, m, errors.New("not a\ntape")); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := js.Stream(t.Context(), events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	got, err := dead.GetLastMsgForSubject(t.Context(), "dlq.CAPTURED")
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Data) != "no tape" || got.Header.Get(events.DeadReasonHeader) != "not a tape" || got.Header.Get("ce-id") != "x" {
		t.Errorf("dead letter %q %v", got.Data, got.Header)
	}
	if n := dead.CachedInfo().State.Msgs; got.Sequence != 1 || n > 1 {
		t.Errorf("%d dead letters, want 1 for both workers", got.Sequence)
	}
}
