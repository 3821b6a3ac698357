package indexer

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/internal/pgtest"
)

var noon = time.Now().UTC().Truncate(24 * time.Hour).Add(-36 * time.Hour)

// fixture is a broker, a database and a way to ask it.
type fixture struct {
	js  jetstream.JetStream
	dsn string
	db  *pgx.Conn
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{dsn: pgtest.New(t)}
	_, f.js = natstest.New(t)
	var err error
	if f.db, err = pgx.Connect(t.Context(), f.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.db.Close(context.WithoutCancel(t.Context())) })
	return f
}

// config is quick, so that tests are.
var config = Config{Linger: 20 * time.Millisecond, Merge: 50 * time.Millisecond, Tapes: 16}

func (f *fixture) newService(t testing.TB, dsn string) *Service {
	t.Helper()
	s, err := New(config, Deps{JS: f.js, Database: dsn, Log: slog.New(slog.DiscardHandler), Instance: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs an indexer until stop is called or the test ends.
func (f *fixture) run(t testing.TB, dsn string) (stop func()) {
	t.Helper()
	return f.runService(t, f.newService(t, dsn))
}

func (f *fixture) runService(t testing.TB, s *Service) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run = %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("Run does not end")
		}
	}
	t.Cleanup(stop)
	return stop
}

func (f *fixture) ask(t testing.TB, sql string) string {
	t.Helper()
	var v string
	if err := f.db.QueryRow(t.Context(), "select ("+sql+")::text").Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// eventually polls until ok says so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in 30 s: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// idle waits until the indexers have nothing left to do on a stream.
func (f *fixture) idle(t testing.TB, stream string) {
	t.Helper()
	c, err := f.js.Consumer(t.Context(), stream, events.DurableIndexer)
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	last := s.CachedInfo().State.LastSeq // what is pending is counted a moment after a publish is acked
	eventually(t, stream+" is done", func() bool {
		info, err := c.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.Delivered.Stream >= last && info.NumPending == 0 && info.NumAckPending == 0
	})
}

// inHand waits until an indexer has messages of a stream, unacked.
func (f *fixture) inHand(t testing.TB, stream string) {
	t.Helper()
	c, err := f.js.Consumer(t.Context(), stream, events.DurableIndexer)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the indexer has messages of "+stream, func() bool {
		info, err := c.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.NumRedelivered > 0 {
			t.Error("an outage uses up deliveries")
		}
		return info.NumAckPending > 0
	})
}

func (f *fixture) messages(t testing.TB, stream string) []*jetstream.RawStreamMsg {
	t.Helper()
	s, err := f.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	var msgs []*jetstream.RawStreamMsg
	info := s.CachedInfo().State
	for seq := info.FirstSeq; info.Msgs > 0 && seq <= info.LastSeq; seq++ {
		msg, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, msg)
	}
	return msgs
}

// publish sends data as the event of a subject; id makes it another message.
func (f *fixture) publish(t testing.TB, subject, id string, data any) {
	t.Helper()
	e, err := events.NewEvent(subject, "/test", id, "test", data)
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Publish(t.Context(), f.js, subject, e); err != nil {
		t.Fatal(err)
	}
}

func workload(service string) *events.Workload {
	return &events.Workload{Cluster: "c1", Namespace: "shop", Service: service, Version: "1", Instance: service + "-0"}
}

// makeTape makes a tape of n exchanges on paths of a service.
func makeTape(t testing.TB, source events.ID, number int, w *events.Workload, n int, path string) (events.ID, []byte) {
	t.Helper()
	at := noon.Add(time.Duration(number) * time.Second)
	b := events.NewBuilder(at)
	for i := range n {
		id := events.NewID(at.Add(time.Duration(i) * time.Millisecond))
		e := &events.Entry{Id: id[:], Time: uint64(id.Time().UnixNano()), DurationUs: int64(i * 100), Path: path, Status: "200", Class: events.StatusClass_OK}
		p := &events.Endpoint{Direction: events.Direction_INBOUND, Protocol: "http", Host: "shop", Method: "GET", Template: fmt.Sprintf("/e/%d", i%3)}
		if err := b.AddExchange(e, p, &events.Exchange{Id: id[:]}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := b.Close(&events.Header{SourceId: source[:], Number: uint64(number), Workload: w, ClosedAt: at.UnixNano(), Counters: &events.Counters{}})
	if err != nil {
		t.Fatal(err)
	}
	return b.ID(), raw
}
