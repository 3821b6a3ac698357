package mocksrv

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/jobs"
	"tapedeck/internal/natstest"
	"tapedeck/internal/scenariotest"
	"tapedeck/scenariogen/scenario"
)

// stage is NATS and an archive with a scenario of one dependency.
type stage struct {
	*testing.T
	js         jetstream.JetStream
	archive    *tapes.Archive
	dependency string
	said       chan events.ReplayMocked
}

func newStage(t *testing.T) *stage {
	_, js := natstest.New(t)
	s := &stage{T: t, js: js, archive: scenariotest.Archive(t), said: make(chan events.ReplayMocked, 100)}
	real, _ := payments(t)
	r := scenariotest.New(t)
	r.Outbound(real.URL, "", "GET", "/balance", "")
	s.dependency = r.Save(s.archive, "shop").Manifest().Dependencies[0].Name
	consumer, err := js.OrderedConsumer(t.Context(), events.StreamProgress, jetstream.OrderedConsumerConfig{FilterSubjects: []string{"replay.mocked.>"}})
	if err != nil {
		t.Fatal(err)
	}
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		e, _ := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
		if m, err := events.DecodeData[events.ReplayMocked](e); err == nil {
			s.said <- m
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { consuming.Stop(); <-consuming.Closed() })
	return s
}

// serve runs a mock server; the returned function stops it.
func (s *stage) serve(change func(*Config)) (stop func()) {
	s.Helper()
	cfg := Config{Host: "127.0.0.1", Advertise: "localhost", Latency: LatencyNone, MaxLease: time.Minute}
	if change != nil {
		change(&cfg)
	}
	service, err := New(cfg, Deps{JetStream: s.js, Archive: s.archive})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			s.Errorf("run: %v", err)
		}
	}
	s.Cleanup(stop)
	return stop
}

func (s *stage) tell(what events.ReplayControl) {
	s.Helper()
	subject := events.ReplayControlSubject(what.ID)
	e, err := events.NewEvent(subject, "/test", events.NewID(time.Now()).String(), what.ID, what)
	if err == nil {
		err = events.Publish(s.Context(), s.js, subject, e)
	}
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) hear(state string) events.ReplayMocked {
	s.Helper()
	select {
	case m := <-s.said:
		if m.State != state {
			s.Fatalf("the mock server said %+v, want %s", m, state)
		}
		return m
	case <-time.After(15 * time.Second):
		s.Fatalf("the mock server did not say %s", state)
	}
	return events.ReplayMocked{}
}

func (s *stage) prepare(id string) {
	s.Helper()
	s.tell(events.ReplayControl{ID: id, Action: "prepare", Scenario: "shop", Dependencies: []string{s.dependency}})
}

func TestServiceMocksForAReplay(t *testing.T) {
	s := newStage(t)
	s.prepare("r1") // before any mock server is there
	s.serve(nil)
	s.serve(nil)
	ready := s.hear("ready")
	if ready.ID != "r1" || ready.Dependency != s.dependency || !strings.HasPrefix(ready.Address, "localhost:") || !strings.HasPrefix(ready.Proxy, "localhost:") {
		t.Errorf("ready %+v", ready)
	}
	if status, got := call(t, client(t, ""), "GET", "http://"+ready.Address+"/balance", ""); status != 200 || got != "balance 1" {
		t.Errorf("answer %d %s", status, got)
	}
	call(t, client(t, ready.Proxy), "GET", "http://elsewhere.test/", "")
	s.prepare("r1") // again: nobody takes it twice
	s.tell(events.ReplayControl{ID: "r1", Action: "start"})
	s.tell(events.ReplayControl{ID: "r1", Action: "finish"})
	if other := s.hear("final"); other.Dependency != "elsewhere.test" || other.Missed != 1 {
		t.Errorf("other host %+v", other)
	}
	if final := s.hear("final"); final.Served != 1 || final.Missed != 0 || final.Dependency != s.dependency || final.Address != ready.Address {
		t.Errorf("final %+v", final)
	}
}

// A replayer that died says nothing: its replay's key does.
func TestServiceEndsWithItsReplay(t *testing.T) {
	s := newStage(t)
	s.serve(nil)
	claims, err := jobs.Open(t.Context(), s.js, "replayer")
	if err != nil {
		t.Fatal(err)
	}
	_, lease, err := claims.Claim(t.Context(), jobs.Key("replay", "r1"))
	if err != nil {
		t.Fatal(err)
	}
	s.prepare("r1")
	s.hear("ready")
	if err := lease.Finish(t.Context(), map[string]string{"verdict": "incomplete"}); err != nil {
		t.Fatal(err)
	}
	s.hear("final")
}

func TestServiceSaysWhatItCannotMock(t *testing.T) {
	s := newStage(t)
	stop := s.serve(nil)
	s.tell(events.ReplayControl{ID: "r1", Action: "prepare", Scenario: "none", Dependencies: []string{"mail"}})
	if m := s.hear("error"); !strings.Contains(m.Error, scenario.ErrNotFound.Error()) || m.Dependency != "mail" {
		t.Errorf("said %+v", m)
	}
	s.prepare("r2")
	s.hear("ready")
	stop()
	if m := s.hear("error"); m.Error != "the mock server was stopped" {
		t.Errorf("said %+v", m)
	}
	s.serve(func(c *Config) { c.MaxLease = 10 * time.Millisecond })
	s.prepare("r3")
	s.hear("ready")
	if m := s.hear("error"); m.Error != "the mock server's --max-lease is over" {
		t.Errorf("said %+v", m)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{{Host: "somewhere", MaxLease: 1}, {Host: "127.0.0.1"}} {
		if _, err := New(cfg, Deps{}); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
