package indexer

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/natstest"
	"tapedeck/internal/pgtest"
	"tapedeck/internal/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Tapes come many times, to two indexers of which one ends in between: each is
// indexed once and told of, and the rollups agree.
func TestExactlyOnce(t *testing.T) {
	f := newFixture(t)
	stopFirst := f.run(t, f.dsn)
	f.run(t, f.dsn)
	r := rand.New(rand.NewPCG(3, 4))
	source := events.NewID(noon)
	w := workload("cart")
	const tapes = 80
	exchanges := 0
	ids := map[string]bool{}
	for i := range tapes {
		n := r.IntN(30)
		exchanges += n
		id, raw := makeTape(t, source, i+1, w, n, "/x")
		ids[id.String()+".indexed"] = true
		// A redelivery, as the stream makes it after a lost ack: the same
		// tape in another message.
		for again := range 1 + r.IntN(3) {
			f.publish(t, events.CapturedSubject(w), fmt.Sprintf("%s.%d", id, again), raw)
		}
		if i == tapes/2 {
			stopFirst()
		}
	}
	f.idle(t, events.StreamCaptured)
	want := fmt.Sprintf("%d %d %d", tapes, exchanges, exchanges)
	const sql = `select concat_ws(' ', (select count(*) from tapes), (select count(*) from exchanges), (select count(distinct id) from exchanges))`
	if got := f.ask(t, sql); got != want {
		t.Errorf("tapes, rows, unique rows = %s, want %s", got, want)
	}
	eventually(t, "rollups are merged", func() bool { return f.ask(t, "select count(*) from rollup_part") == "0" })
	for _, level := range []string{"10s", "1m", "10m", "1h", "1d"} {
		if got := f.ask(t, "select sum(requests) from rollup_"+level); got != fmt.Sprint(exchanges) {
			t.Errorf("rollup_%s has %s requests, want %d", level, got, exchanges)
		}
	}
	for _, msg := range f.messages(t, events.StreamIndexed) {
		delete(ids, msg.Header.Get(nats.MsgIdHdr))
	}
	if len(ids) > 0 {
		t.Errorf("%d tapes were indexed and nobody was told", len(ids))
	}
	if n := len(f.messages(t, events.StreamDead)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// A crash between the commit and the hint: the tape comes again, is known, and
// is told of all the same.
func TestHintAfterCrash(t *testing.T) {
	f := newFixture(t)
	w := workload("cart")
	id, raw := makeTape(t, events.NewID(noon), 1, w, 4, "/x")
	f.publish(t, events.CapturedSubject(w), id.String(), raw)
	s := f.newService(t, f.dsn)
	msgs, err := s.captured.Fetch(1)
	if err != nil {
		t.Fatal(err)
	}
	msg := <-msgs.Messages()
	in, err := readTape(msg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Write(t.Context(), []traffic.Received{in.Received}, s.buryExchanges); err != nil {
		t.Fatal(err)
	}
	s.store.Close()
	if err := msg.Nak(); err != nil { // as its AckWait would
		t.Fatal(err)
	}

	f.run(t, f.dsn)
	f.idle(t, events.StreamCaptured)
	hints := f.messages(t, events.StreamIndexed)
	if len(hints) != 1 || f.ask(t, "select count(*) from exchanges") != "4" {
		t.Fatalf("%d hints, want 1", len(hints))
	}
	e, err := events.Decode(hints[0].Subject, hints[0].Header, hints[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	hint, err := events.DecodeData[events.Indexed](e)
	if err != nil {
		t.Fatal(err)
	}
	if hint.Tape != id || hint.Exchanges != 4 || len(hint.Endpoints) != 3 || hint.Endpoints[0].Requests != 2 || hint.Service.Service != "cart" || !hint.From.Before(hint.To) {
		t.Errorf("hint = %+v", hint)
	}
	if got := f.ask(t, "select min(id) from endpoints"); got != fmt.Sprint(min(hint.Endpoints[0].ID, hint.Endpoints[1].ID, hint.Endpoints[2].ID)) {
		t.Errorf("ids in the hint are not those of the index (%s)", got)
	}
}

// What can never be indexed goes to the dead letters once, with the reason, and
// holds nothing up.
func TestDeadLetters(t *testing.T) {
	f := newFixture(t)
	w := workload("cart")
	subject := events.CapturedSubject(w)
	id, raw := makeTape(t, events.NewID(noon), 1, w, 3, "/x")
	broken := append([]byte{}, raw...)
	broken[40] ^= 1
	future := append([]byte{}, raw...)
	future[5] = 99
	bad := map[string]any{
		"checksum":                 broken,
		"truncated":                raw[:len(raw)-1],
		"begins with":              []byte(strings.Repeat("{}", 50)),
		"newer than this tapedeck": future,
	}
	for name, data := range bad {
		f.publish(t, subject, name, data)
	}
	other := events.CapturedSubject(workload("orders"))
	f.publish(t, other, "other", raw)
	if _, err := f.js.Publish(t.Context(), subject, []byte("no event")); err != nil {
		t.Fatal(err)
	}
	f.publish(t, "archived.c1.shop.cart", "a1", events.Archived{Service: events.Service{Cluster: "c1", Namespace: "shop", Service: "else"}, Object: "o"})
	if _, err := f.js.Publish(t.Context(), "replay.result.r1", []byte(`{"id":"r1"}`)); err != nil {
		t.Fatal(err)
	}
	f.publish(t, subject, "good", raw)
	f.run(t, f.dsn)
	f.idle(t, events.StreamCaptured)
	f.idle(t, events.StreamArchived)
	f.idle(t, events.StreamResults)
	if got := f.ask(t, "select string_agg(id::text, ',') from tapes"); got != id.String() {
		t.Errorf("indexed %s, want %s alone", got, id)
	}
	reasons := map[string]bool{}
	for _, msg := range f.messages(t, events.StreamDead) {
		reasons[msg.Subject+" "+msg.Header.Get(events.DeadReasonHeader)] = true
	}
	wants := []string{"dlq.ARCHIVED", "dlq.RESULTS", "another service", "neither CloudEvents"}
	for want := range bad {
		wants = append(wants, want)
	}
	for _, want := range wants {
		found := false
		for reason := range reasons {
			found = found || strings.Contains(reason, want)
		}
		if !found {
			t.Errorf("no dead letter says %q", want)
		}
	}
	if n := len(f.messages(t, events.StreamDead)); n != len(bad)+4 {
		t.Errorf("%d dead letters, want %d: %v", n, len(bad)+4, reasons)
	}
}

// One exchange that the database can't hold does not cost its tape.
func TestDeadExchange(t *testing.T) {
	f := newFixture(t)
	s := f.newService(t, f.dsn)
	s.store.Close() // it has migrated
	_, err := f.db.Exec(t.Context(), `
		create function refuse() returns trigger language plpgsql as $$ begin raise exception 'too good' using errcode = '22003'; end $$;
		create trigger refuse before insert on exchanges for each row when (new.path = '/poison' and new.duration_us = 200) execute function refuse()`)
	if err != nil {
		t.Fatal(err)
	}
	w := workload("cart")
	id, raw := makeTape(t, events.NewID(noon), 1, w, 10, "/poison")
	f.publish(t, events.CapturedSubject(w), id.String(), raw)
	f.run(t, f.dsn)
	f.idle(t, events.StreamCaptured)
	if got := f.ask(t, "select concat_ws(' ', (select count(*) from exchanges), dead) from tapes"); got != "9 1" {
		t.Errorf("rows and dead = %q, want 9 1", got)
	}
	dead := f.messages(t, events.StreamDead)
	if len(dead) != 1 || dead[0].Header.Get(deadTapeHeader) != id.String() || dead[0].Header.Get(deadOrdinalHeader) != "2" ||
		!strings.Contains(dead[0].Header.Get(events.DeadReasonHeader), "too good") || !strings.Contains(string(dead[0].Data), `"path":"/poison"`) {
		t.Errorf("dead letters = %+v", dead)
	}
}

// A tape that its workers did not survive goes to the dead letters instead of
// killing them all in turn.
func TestGaveUp(t *testing.T) {
	f := newFixture(t)
	s := f.newService(t, f.dsn)
	s.store.Close()
	w := workload("cart")
	id, raw := makeTape(t, events.NewID(noon), 1, w, 3, "/x")
	f.publish(t, events.CapturedSubject(w), id.String(), raw)
	for range events.GiveUpAfter - 1 {
		msgs, err := s.captured.Fetch(1)
		if err != nil {
			t.Fatal(err)
		}
		if err := (<-msgs.Messages()).Nak(); err != nil {
			t.Fatal(err)
		}
	}
	f.run(t, f.dsn)
	f.idle(t, events.StreamCaptured)
	dead := f.messages(t, events.StreamDead)
	if len(dead) != 1 || !strings.Contains(dead[0].Header.Get(events.DeadReasonHeader), "gave up") || len(dead[0].Data) != len(raw) {
		t.Errorf("%d dead letters, want the tape with the reason", len(dead))
	}
}

// While the database is away nothing is acked, given up or lost, and no
// delivery is used up; when it is back all is indexed.
func TestDatabaseAway(t *testing.T) {
	f := newFixture(t)
	gate := newGate(t, f.dsn)
	f.run(t, gate.dsn)
	w := workload("cart")
	source := events.NewID(noon)
	send := func(number int) {
		id, raw := makeTape(t, source, number, w, 5, "/x")
		f.publish(t, events.CapturedSubject(w), id.String(), raw)
	}
	send(1)
	f.idle(t, events.StreamCaptured)
	for round := range 2 {
		gate.shut()
		for i := range 20 {
			send(2 + round*20 + i)
		}
		f.inHand(t, events.StreamCaptured)
		gate.open(t)
		f.idle(t, events.StreamCaptured)
	}
	if got := f.ask(t, "select concat_ws(' ', (select count(*) from tapes), (select count(*) from exchanges))"); got != "41 205" {
		t.Errorf("tapes and rows = %q, want 41 205", got)
	}
	if n := len(f.messages(t, events.StreamDead)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// Connections break before, during and after commits, so that nobody knows
// what became of them: the ledger does.
func TestCommitUnknown(t *testing.T) {
	f := newFixture(t)
	r := rand.New(rand.NewPCG(8, 8))
	gates := []*gate{newGate(t, f.dsn), newGate(t, f.dsn)}
	for _, g := range gates {
		f.run(t, g.dsn)
	}
	for _, g := range gates { // migrations are done
		g.mu.Lock()
		for range 12 {
			g.cuts = append(g.cuts, cut(r.IntN(3)))
		}
		g.mu.Unlock()
	}
	w := workload("cart")
	source := events.NewID(noon)
	tapes := 0
	for i := range 12 {
		if i%3 == 2 {
			f.ask(t, "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name = 'tapedeck indexer'")
		}
		for range 5 {
			tapes++
			id, raw := makeTape(t, source, tapes, w, 7, "/x")
			f.publish(t, events.CapturedSubject(w), id.String(), raw)
			f.publish(t, events.CapturedSubject(w), id.String()+" again", raw)
		}
		f.idle(t, events.StreamCaptured)
	}
	const sql = `select concat_ws(' ', (select count(*) from tapes), (select count(*) from exchanges), (select count(distinct id) from exchanges))`
	if got, want := f.ask(t, sql), fmt.Sprintf("%d %d %d", tapes, tapes*7, tapes*7); got != want {
		t.Errorf("tapes, rows, unique rows = %s, want %s", got, want)
	}
	eventually(t, "rollups are merged", func() bool { return f.ask(t, "select count(*) from rollup_part") == "0" })
	if got := f.ask(t, "select (select sum(requests) from rollup_10s) || ' ' || (select sum(requests) from rollup_1d)"); got != fmt.Sprintf("%d %[1]d", tapes*7) {
		t.Errorf("rollups have %s requests, want %d", got, tapes*7)
	}
	if n := len(f.messages(t, events.StreamDead)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	for i, g := range gates {
		if n := g.left(); n > 0 {
			t.Errorf("gate %d has %d cuts left: the test shows nothing", i, n)
		}
	}
}

// An indexer that is told to end while the database is away ends.
func TestEndWhileDatabaseAway(t *testing.T) {
	f := newFixture(t)
	gate := newGate(t, f.dsn)
	stop := f.run(t, gate.dsn)
	gate.shut()
	w := workload("cart")
	id, raw := makeTape(t, events.NewID(noon), 1, w, 5, "/x")
	f.publish(t, events.CapturedSubject(w), id.String(), raw)
	f.inHand(t, events.StreamCaptured)
	stop()
	f.run(t, f.dsn)
	f.idle(t, events.StreamCaptured)
	if got := f.ask(t, "select count(*) from exchanges"); got != "5" {
		t.Errorf("%s rows, want 5", got)
	}
}

// It does not matter what comes first: a tape or the word where it lies.
func TestArchivedAndCaptured(t *testing.T) {
	f := newFixture(t)
	w := workload("cart")
	source := events.NewID(noon)
	f.run(t, f.dsn)
	one, rawOne := makeTape(t, source, 1, w, 1, "/x")
	two, rawTwo := makeTape(t, source, 2, w, 1, "/x")
	place := events.Archived{
		Service: events.Service{Cluster: w.Cluster, Namespace: w.Namespace, Service: w.Service}, Object: "tapes/a.reel",
		Tapes: []events.ArchivedTape{{ID: one, Offset: 0, Length: 10}, {ID: two, Offset: 10, Length: 20}},
	}
	f.publish(t, events.CapturedSubject(w), one.String(), rawOne)
	f.idle(t, events.StreamCaptured)
	f.publish(t, events.ArchivedSubject(w), "a1", place)
	f.idle(t, events.StreamArchived)
	f.publish(t, events.CapturedSubject(w), two.String(), rawTwo)
	f.publish(t, events.ArchivedSubject(w), "a2", place)
	f.idle(t, events.StreamCaptured)
	f.idle(t, events.StreamArchived)
	if got := f.ask(t, "select string_agg(object || ' ' || start || ' ' || length, ', ' order by number) from tapes join places on tape = id"); got != "tapes/a.reel 0 10, tapes/a.reel 10 20" {
		t.Errorf("places = %q", got)
	}
}

func TestOutcomes(t *testing.T) {
	f := newFixture(t)
	f.run(t, f.dsn)
	f.publish(t, events.ScenarioReadySubject("checkout"), "s1", events.ScenarioReady{ID: "s1", Name: "checkout", Version: "v1", CreatedAt: noon})
	f.publish(t, events.ReplayResultSubject("r1"), "r1", events.ReplayResult{ID: "r1", Scenario: "checkout", Verdict: events.Passed})
	f.idle(t, events.StreamScenarios)
	f.idle(t, events.StreamResults)
	if got := f.ask(t, "select name || ' ' || s.version || ' ' || verdict from scenarios s, replays"); got != "checkout v1 passed" {
		t.Errorf("outcomes = %q", got)
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	_, _, empty := natstest.Start(t, t.TempDir())
	_, err := New(config, Deps{JS: empty, Database: pgtest.New(t), Log: log})
	if err == nil || !strings.Contains(service.HintOf(err), "admin setup") {
		t.Errorf("New without streams = %v (%s)", err, service.HintOf(err))
	}
	_, js := natstest.New(t)
	began := time.Now()
	_, err = New(config, Deps{JS: js, Database: "postgres://nobody@127.0.0.1:1/none?sslmode=disable", Log: log})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1/none") || service.HintOf(err) == "" || time.Since(began) > 20*time.Second {
		t.Errorf("New without a database = %v (%s)", err, service.HintOf(err))
	}
}
