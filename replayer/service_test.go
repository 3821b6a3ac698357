package replayer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/jobs"
	"tapedeck/internal/natstest"
	"tapedeck/internal/scenariotest"
)

// bench is a running service with NATS and an archive.
type bench struct {
	*testing.T
	conn    *nats.Conn
	js      jetstream.JetStream
	archive *tapes.Archive
	stop    func()
}

var defaults = Config{Slots: 1, MaxConnections: 100, MaxDuration: time.Minute, ReadyTimeout: 5 * time.Second}

func newBench(t *testing.T, cfg Config) *bench {
	conn, js := natstest.New(t)
	b := &bench{T: t, conn: conn, js: js, archive: scenariotest.Archive(t)}
	b.stop = b.start(cfg)
	t.Cleanup(func() { b.stop() })
	return b
}

// start starts a replayer; the returned function stops it.
func (b *bench) start(cfg Config) func() {
	s, err := New(cfg, Deps{JetStream: b.js, Archive: b.archive})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	return func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			b.Errorf("run: %v", err)
		}
	}
}

// publish sends a bare request, as `nats pub` does.
func (b *bench) publish(request string) {
	b.Helper()
	if _, err := b.js.Publish(b.Context(), events.SubjectReplayRequest, []byte(request)); err != nil {
		b.Fatal(err)
	}
}

// last waits for the newest message on a subject.
func (b *bench) last(stream, subject string) *jetstream.RawStreamMsg {
	b.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		s, err := b.js.Stream(b.Context(), stream)
		if err != nil {
			b.Fatal(err)
		}
		if msg, err := s.GetLastMsgForSubject(b.Context(), subject); err == nil {
			return msg
		}
		<-time.After(10 * time.Millisecond)
	}
	b.Fatalf("nothing came on %s", subject)
	return nil
}

func decode[T any](b *bench, msg *jetstream.RawStreamMsg) T {
	b.Helper()
	e, err := events.Decode(msg.Subject, msg.Header, msg.Data)
	if err != nil {
		b.Fatal(err)
	}
	v, err := events.DecodeData[T](e)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func (b *bench) result(id string) events.ReplayResult {
	b.Helper()
	return decode[events.ReplayResult](b, b.last(events.StreamResults, events.ReplayResultSubject(id)))
}

// idle waits until no command is waiting or held.
func (b *bench) idle() {
	b.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		s, err := b.js.Stream(b.Context(), events.StreamCommands)
		if err != nil {
			b.Fatal(err)
		}
		if info, err := s.Info(b.Context()); err == nil && info.State.Msgs == 0 {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	b.Fatal("commands are left")
}

func TestServiceReplays(t *testing.T) {
	b := newBench(t, defaults)
	checkout(t, b.archive, 2)
	target := newShop(t, 1998)
	b.publish(fmt.Sprintf(`{"id":"r1","scenario":"checkout","target":%q,"by":"ada"}`, target.URL))
	result := b.result("r1")
	wantVerdict(t, result, events.Passed, "6 answers as recorded")
	if result.By != "ada" || result.Scenario != "checkout" || result.Version == "" || result.Details != "replays/r1/" {
		t.Errorf("result %+v", result)
	}
	progress := decode[events.ReplayProgress](b, b.last(events.StreamProgress, events.ReplayProgressSubject("r1")))
	if !progress.Final || progress.Tests.Passed != 6 {
		t.Errorf("last progress %+v", progress)
	}
	b.idle()
	if n := target.requests.Load(); n != 6 {
		t.Errorf("%d requests", n)
	}

	// The same request again, in a later delivery, sends nothing.
	b.publish(fmt.Sprintf(`{"id":"r1","scenario":"checkout","target":%q}`, target.URL))
	b.idle()
	if n := target.requests.Load(); n != 6 {
		t.Errorf("%d requests after the second delivery", n)
	}

	// Without an id it has that of its message.
	b.publish(fmt.Sprintf(`{"scenario":"checkout","target":%q,"load":{"mode":"fast"}}`, target.URL))
	wantVerdict(t, b.result("COMMANDS-3"), events.Passed, "")
}

func TestServiceRefuses(t *testing.T) {
	b := newBench(t, defaults)
	checkout(t, b.archive, 1)
	for id, tt := range map[string]struct{ request, reason string }{
		"late":        {`"scenario":"checkout","target":"http://127.0.0.1:1","deadline":"2020-01-01T00:00:00Z"`, "the request is too old: sent at"},
		"unknown":     {`"scenario":"none","target":"http://127.0.0.1:1"`, "open scenario none: no such scenario"},
		"version":     {`"scenario":"checkout","version":"nope","target":"http://127.0.0.1:1"`, "version nope"},
		"nowhere":     {`"scenario":"checkout"`, "request without a target"},
		"elsewhere":   {`"scenario":"checkout","target":"http://192.0.2.7"`, "is not among the replayer's --allow-target"},
		"anything":    {`"target":"http://127.0.0.1:1"`, "request without a scenario"},
		"many":        {`"scenario":"checkout","target":"http://127.0.0.1:1","load":{"connections":101}`, "--max-connections is 100"},
		"long":        {`"scenario":"checkout","target":"http://127.0.0.1:1","load":{"duration_ns":3600000000000}`, "--max-duration is 1m0s"},
		"a b/c.é":     {`"scenario":"checkout","target":"http://127.0.0.1:1"`, "characters beside printable ASCII"},
		"mocks":       {`"scenario":"checkout","target":"http://127.0.0.1:1","mocks":{"dependencies":["mail"]}`, "no mock of mail within 50ms: is a mocksrv running?"},
		"a.dotted.id": {`"scenario":"checkout","target":"x"`, "is no URL like"},
	} {
		t.Run(id, func(t *testing.T) {
			if id == "mocks" {
				b.stop()
				cfg := defaults
				cfg.ReadyTimeout = 50 * time.Millisecond
				b.stop = b.start(cfg)
			}
			quoted, _ := json.Marshal(id)
			b.publish(`{"id":` + string(quoted) + `,` + tt.request + `}`)
			wantVerdict(t, b.result(id), events.Errored, tt.reason)
		})
	}
	b.idle()
}

func TestServiceBuriesWhatIsNoJSON(t *testing.T) {
	b := newBench(t, defaults)
	for n, bad := range []string{"hello", `{"id":`, `{"id":"r1","scenario":7}`, `[]`} {
		b.publish(bad)
		b.idle()
		s, err := b.js.Stream(t.Context(), events.StreamDead)
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Info(t.Context())
		if err != nil || info.State.Msgs != uint64(n+1) {
			t.Fatalf("%q: %d dead letters, %v", bad, info.State.Msgs, err)
		}
		msg, err := s.GetLastMsgForSubject(t.Context(), "dlq.COMMANDS")
		if err != nil || string(msg.Data) != bad || msg.Header.Get(events.DeadReasonHeader) == "" {
			t.Errorf("%q: dead letter %q, reason %q, %v", bad, msg.Data, msg.Header.Get(events.DeadReasonHeader), err)
		}
	}
}

func TestServiceCancels(t *testing.T) {
	b := newBench(t, defaults)
	checkout(t, b.archive, 1)
	target := newShop(t, 1998)
	target.stall = make(chan struct{})
	defer close(target.stall)
	b.publish(fmt.Sprintf(`{"id":"r1","scenario":"checkout","target":%q}`, target.URL))
	<-target.arrived
	began := time.Now()
	b.say(events.ReplayControl{ID: "r1", Action: "cancel", Reason: "wrong target"})
	wantVerdict(t, b.result("r1"), events.Incomplete, "cancelled (wrong target) after 0 of 3 tests")
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}

	// A replayer that is told to end answers as well.
	b.publish(fmt.Sprintf(`{"id":"r2","scenario":"checkout","target":%q}`, target.URL))
	<-target.arrived
	b.stop()
	wantVerdict(t, b.result("r2"), events.Incomplete, "the replayer was stopped after 0 of 3 tests")
	b.idle()

	// A cancel that comes before the replay begins holds.
	b.say(events.ReplayControl{ID: "r3", Action: "cancel"})
	cfg := defaults
	b.stop = b.start(cfg)
	b.publish(fmt.Sprintf(`{"id":"r3","scenario":"checkout","target":%q}`, target.URL))
	wantVerdict(t, b.result("r3"), events.Incomplete, "cancelled after 0 of 3 tests")

	b.stop()
	cfg.MaxDuration = 100 * time.Millisecond
	b.stop = b.start(cfg)
	b.publish(fmt.Sprintf(`{"id":"r4","scenario":"checkout","target":%q}`, target.URL))
	wantVerdict(t, b.result("r4"), events.Incomplete, "--max-duration is over after 0 of 3 tests")
}

func (b *bench) say(what events.ReplayControl) {
	b.Helper()
	subject := events.ReplayControlSubject(what.ID)
	e, err := events.NewEvent(subject, "/test", events.NewID(time.Now()).String(), what.ID, what)
	if err == nil {
		err = events.Publish(b.Context(), b.js, subject, e)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// What a dead replayer claimed is never sent again: its result is told when it
// got that far, and the replay is incomplete when it did not.
func TestServiceAnswersForTheDead(t *testing.T) {
	b := newBench(t, defaults)
	checkout(t, b.archive, 1)
	target := newShop(t, 1998)
	dead, err := jobs.Open(t.Context(), b.js, "dead")
	if err != nil {
		t.Fatal(err)
	}
	for id, left := range map[string]any{
		"r1": nil,
		"r2": events.ReplayResult{ID: "r2", Scenario: "checkout", Verdict: events.Missed, Reason: "2 of 3"},
	} {
		_, share, err := dead.Claim(t.Context(), jobs.Key("shard", id)+".0")
		if err = errors.Join(err, share.Finish(t.Context(), left)); err != nil {
			t.Fatal(err)
		}
		b.publish(fmt.Sprintf(`{"id":%q,"scenario":"checkout","target":%q}`, id, target.URL))
	}
	wantVerdict(t, b.result("r1"), events.Incomplete, "1 shard of the replay got lost")
	wantVerdict(t, b.result("r2"), events.Missed, "2 of 3")
	b.idle()
	if n := target.requests.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{{}, {Slots: 1, AllowTarget: []string{"http://x"}, MaxConnections: 1, MaxDuration: 1, ReadyTimeout: 1}} {
		if _, err := New(cfg, Deps{}); err == nil {
			t.Errorf("%+v was accepted", cfg)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("not one line: %v", err)
		}
	}
}
