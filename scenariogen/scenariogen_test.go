package scenariogen

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/archiver"
	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/scenariogen/scenario"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

var began = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// deck writes tapes of one service.
type deck struct {
	t       *testing.T
	service string
	source  events.ID
	number  uint64
	last    bool
}

func newDeck(t *testing.T, service string) *deck {
	return &deck{t: t, service: service, source: events.NewID(began), last: true}
}

// exchange is a recorded exchange that began n seconds into the recording.
func exchange(d events.Direction, n int, host, method, target, body string, status int, answer string) *events.Exchange {
	at := began.Add(time.Duration(n) * time.Second)
	id, connection := events.NewID(at), events.NewID(began)
	message := func(s string) (*events.Body, []*events.Field) {
		if s == "" {
			return nil, nil
		}
		return &events.Body{Data: []byte(s), Size: int64(len(s)), Kept: int64(len(s))},
			[]*events.Field{{Name: []byte("Content-Type"), Value: []byte("application/json")}}
	}
	x := &events.Exchange{
		Id: id[:], Direction: d, Protocol: http1.Name, Connection: &events.Connection{Id: connection[:]},
		Request:  &events.Request{Method: method, Scheme: "http", Host: host, Target: target, Version: "HTTP/1.1", FirstByte: at.UnixNano(), LastByte: at.UnixNano()},
		Response: &events.Response{Status: strconv.Itoa(status), Version: "HTTP/1.1", FirstByte: at.UnixNano() + 1e6, LastByte: at.UnixNano() + 2e6},
	}
	x.Request.Body, x.Request.Headers = message(body)
	x.Response.Body, x.Response.Headers = message(answer)
	return x
}

func (d *deck) tape(all ...*events.Exchange) *events.Tape {
	d.t.Helper()
	b := events.NewBuilder(began)
	for _, x := range all {
		said := new(http1.Protocol).Describe(x)
		entry := &events.Entry{
			Id: x.Id, Time: uint64(x.Request.FirstByte), Path: said.Path, Status: said.Status, Class: said.Class,
			Connection: x.Connection.Id, ReplayId: said.ReplayID, DurationUs: 2000,
		}
		if said.Session != (events.SessionID{}) {
			entry.Session = said.Session[:]
		}
		if err := b.AddExchange(entry, said.Endpoint, x); err != nil {
			d.t.Fatal(err)
		}
	}
	d.number++
	raw, err := b.Close(&events.Header{
		SourceId: d.source[:], Number: d.number, ClosedAt: began.UnixNano(), Last: d.last,
		Workload: &events.Workload{Cluster: "local", Namespace: "default", Service: d.service}, Counters: &events.Counters{},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	tape, err := events.ParseTape(raw)
	if err != nil {
		d.t.Fatal(err)
	}
	return tape
}

func (d *deck) put(archive *tapes.Archive, all ...*events.Exchange) {
	d.t.Helper()
	if _, err := archive.PutTape(d.t.Context(), d.tape(all...)); err != nil {
		d.t.Fatal(err)
	}
}

func openArchive(t *testing.T) *tapes.Archive {
	t.Helper()
	a, err := tapes.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func depsOf(archive *tapes.Archive, js jetstream.JetStream) Deps {
	return Deps{JetStream: js, Archive: archive, Protocols: []wire.Protocol{new(http1.Protocol)}, Log: slog.New(slog.DiscardHandler)}
}

const (
	in  = events.Direction_INBOUND
	out = events.Direction_OUTBOUND
)

// recordShop records three orders, one a second tape.
func recordShop(t *testing.T, archive *tapes.Archive) {
	d := newDeck(t, "shop")
	for n := range 3 {
		d.put(archive,
			exchange(out, 10*n, "payments.test", "POST", "/charges", `{"amount":5}`, 201, `{"status":"captured"}`),
			exchange(in, 10*n+1, "shop.test", "POST", "/orders", `{"sku":"a"}`, 201, `{"total":5}`))
	}
	newDeck(t, "catalog").put(archive, exchange(in, 3, "catalog.test", "GET", "/products", "", 200, "[]"))
}

func TestCreateReadsTheTapes(t *testing.T) {
	archive := openArchive(t)
	recordShop(t, archive)
	req := events.ScenarioRequest{ID: "r1", Name: "checkout", Selector: `{service="shop"}`, By: "ada"}
	ready, err := Create(t.Context(), Config{}, depsOf(archive, nil), req)
	if err != nil {
		t.Fatal(err)
	}
	if ready.Tests != 3 || ready.Mocks != 3 || ready.Error != "" || ready.Version != scenario.Version("r1") {
		t.Errorf("%+v, want 3 tests and 3 mocks", ready)
	}
	again, err := Create(t.Context(), Config{}, depsOf(archive, nil), req)
	if err != nil || again.CreatedAt != ready.CreatedAt {
		t.Errorf("the same request made %+v, %v", again, err)
	}
	s, err := scenario.Open(t.Context(), archive, "checkout", "")
	if err != nil {
		t.Fatal(err)
	}
	if m := s.Manifest(); m.By != "ada" || m.Service.Service != "shop" || len(m.Warnings) != 0 {
		t.Errorf("manifest %+v", m)
	}
}

func TestCreateTakesATimeRange(t *testing.T) {
	archive := openArchive(t)
	recordShop(t, archive)
	ready, err := Create(t.Context(), Config{}, depsOf(archive, nil), events.ScenarioRequest{
		Name: "checkout", Selector: `{service="shop"}`, From: began.Add(10 * time.Second), To: began.Add(20 * time.Second)})
	if err != nil || ready.Tests != 1 || ready.Mocks != 1 {
		t.Errorf("%+v, %v, want one test and one mock", ready, err)
	}
}

func TestCreateLeavesReplaysOut(t *testing.T) {
	archive := openArchive(t)
	x := exchange(in, 1, "shop.test", "GET", "/", "", 200, "")
	x.Request.Headers = append(x.Request.Headers, &events.Field{Name: []byte("tapedeck-replay"), Value: []byte("r9.s1")})
	newDeck(t, "shop").put(archive, exchange(in, 0, "shop.test", "GET", "/", "", 200, ""), x)
	for selector, want := range map[string]int{"": 1, `{replay=~".*"}`: 2, `{replay="r9"}`: 1} {
		ready, err := Create(t.Context(), Config{}, depsOf(archive, nil), events.ScenarioRequest{Name: "home", Selector: selector})
		if err != nil || ready.Tests != want {
			t.Errorf("selector %q: %d tests, %v, want %d", selector, ready.Tests, err, want)
		}
	}
}

func TestCreateSaysWhatToDoAboutARequest(t *testing.T) {
	archive := openArchive(t)
	recordShop(t, archive)
	tests := map[string]struct {
		req  events.ScenarioRequest
		want string
	}{
		"name":     {events.ScenarioRequest{Name: "a/b"}, "use letters"},
		"selector": {events.ScenarioRequest{Name: "a", Selector: `{service=`}, "selector"},
		"range":    {events.ScenarioRequest{Name: "a", From: began.Add(1), To: began}, "empty"},
		"nothing":  {events.ScenarioRequest{Name: "a", Selector: `{service="none"}`}, "no recorded exchange matches"},
		"services": {events.ScenarioRequest{Name: "a"}, `add service="catalog"`},
	}
	for name, tt := range tests {
		_, err := Create(t.Context(), Config{}, depsOf(archive, nil), tt.req)
		var invalid *scenario.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(invalid.Reason, tt.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
	}
}

func TestUnreadableTapeIsAWarning(t *testing.T) {
	archive := openArchive(t)
	recordShop(t, archive)
	if err := archive.Put(t.Context(), "tapes/local/default/shop/2026/11/23/12/"+events.NewID(began).String()+".tape", []byte("tape?")); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), Config{}, depsOf(archive, nil), events.ScenarioRequest{Name: "a", Selector: `{service="shop"}`}); err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Open(t.Context(), archive, "a", "")
	if err != nil || len(s.Manifest().Warnings) != 1 || s.Manifest().Tests != 3 {
		t.Errorf("%+v, %v, want 3 tests and a warning", s, err)
	}
}

// start runs the service until the test ends.
func start(t *testing.T, deps Deps, cfg Config) {
	t.Helper()
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
}

func run(t *testing.T, s interface{ Run(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// await waits for the newest message on a subject that suits.
func await(t *testing.T, js jetstream.JetStream, stream, subject string, suits func(*jetstream.RawStreamMsg) bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		st, err := js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := st.GetLastMsgForSubject(t.Context(), subject)
		if err == nil && suits(msg) {
			return
		}
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("nothing that suits came on %s", subject)
}

func awaitReady(t *testing.T, js jetstream.JetStream, name, id string) events.ScenarioReady {
	t.Helper()
	var ready events.ScenarioReady
	await(t, js, events.StreamScenarios, events.ScenarioReadySubject(name), func(msg *jetstream.RawStreamMsg) bool {
		e, err := events.Decode(msg.Subject, msg.Header, msg.Data)
		if err == nil {
			ready, err = events.DecodeData[events.ScenarioReady](e)
		}
		if err != nil {
			t.Fatal(err)
		}
		return ready.ID == id
	})
	return ready
}

func TestRequestIsAnsweredOnce(t *testing.T) {
	archive := openArchive(t)
	recordShop(t, archive)
	conn, js := natstest.New(t)
	for range 2 {
		start(t, depsOf(archive, js), Config{Settle: time.Minute})
	}
	for range 3 { // without Nats-Msg-Id, as people publish
		if err := conn.Publish(events.SubjectScenarioRequest, []byte(`{"id":"r1","name":"checkout","selector":"{service=\"shop\"}"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if ready := awaitReady(t, js, "checkout", "r1"); ready.Error != "" || ready.Tests != 3 || ready.Location != scenario.Folder("checkout", ready.Version) {
		t.Errorf("%+v, want 3 tests", ready)
	}
	awaitEmpty(t, js)
	stream, err := js.Stream(t.Context(), events.StreamScenarios)
	if err != nil || stream.CachedInfo().State.LastSeq != 1 {
		t.Errorf("%d answers, want one", stream.CachedInfo().State.LastSeq)
	}
}

// awaitEmpty waits until every command was acknowledged.
func awaitEmpty(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		stream, err := js.Stream(t.Context(), events.StreamCommands)
		if err != nil {
			t.Fatal(err)
		}
		if stream.CachedInfo().State.Msgs == 0 {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatal("commands are left")
}

func TestBadRequestsAreAnsweredOrBuried(t *testing.T) {
	conn, js := natstest.New(t)
	start(t, depsOf(openArchive(t), js), Config{Settle: time.Minute})
	for _, bad := range []string{"not json", `{"name":7}`, `{"id":"r1"}`, ""} {
		if err := conn.Publish(events.SubjectScenarioRequest, []byte(bad)); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Publish(events.SubjectScenarioRequest, []byte(`{"name":"empty"}`)); err != nil {
		t.Fatal(err)
	}
	ready := awaitReady(t, js, "empty", "COMMANDS-5")
	if !strings.Contains(ready.Error, "no recorded exchange") || ready.Version != "" {
		t.Errorf("%+v, want an error", ready)
	}
	await(t, js, events.StreamDead, events.DeadLetterSubject(events.StreamCommands), func(m *jetstream.RawStreamMsg) bool {
		stream, err := js.Stream(t.Context(), events.StreamDead)
		return err == nil && stream.CachedInfo().State.Msgs == 4 && m.Header.Get(events.DeadReasonHeader) != ""
	})
	awaitEmpty(t, js)
}

// What was captured before the request is in the scenario, though the
// archiver begins later.
func TestCapturedTapesAreWaitedFor(t *testing.T) {
	archive := openArchive(t)
	_, js := natstest.New(t)
	d := newDeck(t, "shop")
	tape := d.tape(exchange(in, 1, "shop.test", "GET", "/", "", 200, ""))
	subject := events.CapturedSubject(tape.Header.Workload)
	e, err := events.NewEvent(subject, "/test", tape.TapeID().String(), "shop", tape.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Publish(t.Context(), js, subject, e); err != nil {
		t.Fatal(err)
	}
	request, err := events.NewEvent(events.SubjectScenarioRequest, "/test", "r1", "late", events.ScenarioRequest{ID: "r1", Name: "late"})
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Publish(t.Context(), js, events.SubjectScenarioRequest, request); err != nil {
		t.Fatal(err)
	}
	start(t, depsOf(archive, js), Config{Settle: time.Minute})
	awaitTaken(t, js)
	a, err := archiver.New(archiver.Config{}, archiver.Deps{JetStream: js, Archive: archive, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	if ready := awaitReady(t, js, "late", "r1"); ready.Tests != 1 {
		t.Errorf("%+v, want the captured exchange", ready)
	}
}

// awaitTaken waits until a worker has the request.
func awaitTaken(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		c, err := js.Consumer(t.Context(), events.StreamCommands, events.DurableScenariogen)
		if err != nil {
			t.Fatal(err)
		}
		if c.CachedInfo().NumAckPending == 1 {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatal("the request was not taken")
}

func TestSettlingEnds(t *testing.T) {
	archive := openArchive(t)
	recordShop(t, archive)
	_, js := natstest.New(t)
	tape := newDeck(t, "shop").tape(exchange(in, 1, "shop.test", "GET", "/", "", 200, ""))
	subject := events.CapturedSubject(tape.Header.Workload)
	e, err := events.NewEvent(subject, "/test", tape.TapeID().String(), "shop", tape.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Publish(t.Context(), js, subject, e); err != nil {
		t.Fatal(err)
	}
	ready, err := Create(t.Context(), Config{Settle: time.Second}, depsOf(archive, js), events.ScenarioRequest{Name: "a", Selector: `{service="shop"}`})
	if err != nil || ready.Tests != 3 {
		t.Fatalf("%+v, %v", ready, err)
	}
	s, err := scenario.Open(t.Context(), archive, "a", "")
	if err != nil || len(s.Manifest().Warnings) != 1 {
		t.Errorf("manifest %+v, %v, want a warning", s.Manifest(), err)
	}
}

func TestRunningSourcesAreSeen(t *testing.T) {
	archive := openArchive(t)
	d := newDeck(t, "shop")
	d.last = false
	d.put(archive)
	if running, err := sourceRuns(t.Context(), archive, began); err != nil || !running {
		t.Errorf("running %v, %v, want true", running, err)
	}
	d.last = true
	d.put(archive)
	if running, err := sourceRuns(t.Context(), archive, began); err != nil || running {
		t.Errorf("after its last tape: running %v, %v, want false", running, err)
	}
	if running, err := sourceRuns(t.Context(), archive, began.Add(time.Hour)); err != nil || running {
		t.Errorf("an hour later: running %v, %v, want false", running, err)
	}
}

// away is a bucket that does not answer for a while.
type away struct {
	tapes.Bucket
	calls atomic.Int32
}

func (a *away) Folders(ctx context.Context, folder string) ([]string, error) {
	if a.calls.Add(1) == 1 {
		return nil, errors.New("connection refused")
	}
	return a.Bucket.Folders(ctx, folder)
}

func TestRequestIsTriedAgain(t *testing.T) {
	archive := openArchive(t)
	recordShop(t, archive)
	conn, js := natstest.New(t)
	start(t, depsOf(tapes.New(&away{Bucket: archive.Bucket}), js), Config{})
	if err := conn.Publish(events.SubjectScenarioRequest, []byte(`{"id":"r1","name":"checkout","selector":"{service=\"shop\"}"}`)); err != nil {
		t.Fatal(err)
	}
	if ready := awaitReady(t, js, "checkout", "r1"); ready.Error != "" || ready.Tests != 3 {
		t.Errorf("%+v, want 3 tests", ready)
	}
	awaitEmpty(t, js)
}
