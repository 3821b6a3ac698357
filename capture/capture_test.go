package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

func TestMain(m *testing.M) {
	if listen := os.Getenv(serveVariable); listen != "" {
		serveForTest(listen)
		return
	}
	goleak.VerifyTestMain(m,
		goleak.Cleanup(func(code int) {
			removeProgram()
			os.Exit(code)
		}),
		// The embedded NATS server of a test ends a little after it.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).Start.func1"),
	)
}

// running is a capture under test.
type running struct {
	*Service
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
}

// start runs a capture until stop or the end of the test.
func start(t testing.TB, cfg Config, deps Deps) *running {
	t.Helper()
	if deps.Data == "" {
		deps.Data = t.TempDir()
		deps.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	cfg.Host = "127.0.0.1"
	setDefault(&cfg.Service, "shop")
	setDefault(&cfg.Instance, "test")
	setDefault(&cfg.TapeAge, 50*time.Millisecond)
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, s)
}

func run(t testing.TB, s *Service) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Service: s, t: t, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	t.Cleanup(r.stop)
	return r
}

// stop drains; it may be called twice.
func (r *running) stop() {
	r.cancel()
	if r.done == nil {
		return
	}
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("Run: %v", err)
		}
	case <-time.After(20 * time.Second):
		r.t.Error("Run does not end")
	}
	r.done = nil
}

func (r *running) url(i int) string { return "http://" + r.Addrs()[i].String() }

// address is what an httptest server listens on.
func address(s *httptest.Server) string { return s.Listener.Addr().String() }

// eventually polls until ok, at most 10 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("test ends")
		}
	}
}

// tapesOf reads every tape that JetStream holds.
func tapesOf(t testing.TB, js jetstream.JetStream) []*events.Tape {
	t.Helper()
	stream, err := js.Stream(t.Context(), events.StreamCaptured)
	if err != nil {
		t.Fatal(err)
	}
	var tapes []*events.Tape
	state := stream.CachedInfo().State
	for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.Decode(msg.Subject, msg.Header, msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		tape, err := events.ParseTape(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		if err := tape.Verify(); err != nil {
			t.Fatal(err)
		}
		if e.ID != tape.TapeID().String() || msg.Header.Get(jetstream.MsgIDHeader) != e.ID {
			t.Errorf("event id %s, message id %s, want the tape's %s", e.ID, msg.Header.Get(jetstream.MsgIDHeader), tape.TapeID())
		}
		tapes = append(tapes, tape)
	}
	return tapes
}

// recorded is what tapes hold.
type recorded struct {
	exchanges []*events.Exchange // bodies whole
	rows      []events.Row
	open      []events.Row
	last      *events.Header
}

// play reads tapes, joins parts into bodies and checks the ledger.
func play(t testing.TB, tapes []*events.Tape) *recorded {
	t.Helper()
	byID := map[events.ID]*events.Tape{}
	for _, tape := range tapes {
		byID[tape.TapeID()] = tape
	}
	whole := func(b *events.Body) {
		if b == nil {
			return
		}
		for _, ref := range b.Parts {
			tape := byID[events.ID(ref.TapeId)]
			if tape == nil {
				t.Fatalf("part lies in unknown tape %x", ref.TapeId)
			}
			r, err := tape.Record(ref.Block, ref.Position)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.GetPart().GetOffset(); got != int64(len(b.Data)) {
				t.Fatalf("part at offset %d, want %d", got, len(b.Data))
			}
			b.Data = append(b.Data, r.GetPart().Data...)
		}
		if int64(len(b.Data)) != b.Kept {
			t.Errorf("body has %d bytes, says %d", len(b.Data), b.Kept)
		}
	}
	out := &recorded{}
	defer out.sort()
	for _, tape := range tapes {
		if out.last == nil || tape.Header.Number > out.last.Number {
			out.last = tape.Header
		}
		for _, e := range tape.Index.Entries {
			row := tape.Row(e)
			if row.Open {
				out.open = append(out.open, row)
				continue
			}
			r, err := tape.Record(e.Block, e.Position)
			if err != nil {
				t.Fatal(err)
			}
			x := r.GetExchange()
			if x == nil || events.ID(x.Id) != row.ID {
				t.Fatalf("entry %s points at %v", row.ID, r)
			}
			whole(x.Request.GetBody())
			whole(x.Response.GetBody())
			out.exchanges, out.rows = append(out.exchanges, x), append(out.rows, row)
		}
	}
	if c := out.last.GetCounters(); c != nil {
		dropped := uint64(0)
		for _, n := range c.Dropped {
			dropped += n
		}
		if c.Taped != uint64(len(out.rows)) || c.Begun != c.Taped+dropped+c.Open {
			t.Errorf("ledger: %v, want %d taped and begun = taped + dropped + open", c, len(out.rows))
		}
	}
	return out
}

// sort puts exchanges into the order of their beginning: several tapes are
// published at once, and arrive in any order.
func (r *recorded) sort() {
	slices.SortFunc(r.exchanges, func(a, b *events.Exchange) int { return bytes.Compare(a.Id, b.Id) })
	slices.SortFunc(r.rows, func(a, b events.Row) int { return bytes.Compare(a.ID[:], b.ID[:]) })
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestRecordsAnHTTPService(t *testing.T) {
	_, js := natstest.New(t)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Echo", r.Header.Get("X-Ask"))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, body)
	}))
	defer app.Close()
	c := start(t, Config{Inbound: []string{"0=" + address(app)}}, Deps{JS: js})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range 20 {
		request, _ := http.NewRequest("POST", fmt.Sprintf("%s/orders/%d?n=%d", c.url(0), i, i), strings.NewReader(fmt.Sprintf("body %d", i)))
		request.Header.Set("X-Ask", fmt.Sprint(i))
		request.Header.Set("Authorization", "Bearer secret-of-the-test")
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if want := fmt.Sprintf("POST /orders/%d?n=%d body %d", i, i, i); string(got) != want || answer.StatusCode != 201 {
			t.Fatalf("client sees %d %q, %v, want 201 %q", answer.StatusCode, got, err, want)
		}
	}
	client.CloseIdleConnections()
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 20 || !out.last.Last || out.last.Counters.Open != 0 {
		t.Fatalf("recorded %d exchanges, last header %v, want 20", len(out.rows), out.last)
	}
	for i, x := range out.exchanges {
		row := out.rows[i]
		if row.Template != "/orders/{id}" || row.Status != "201" || row.Service != "shop" || row.Direction != events.Direction_INBOUND {
			t.Errorf("row %+v", row)
		}
		want := fmt.Sprintf("POST %s %s", x.Request.Target, x.Request.Body.Data)
		if string(x.Response.Body.Data) != want || events.HeaderValue(x.Request.Headers, "X-Ask") != events.HeaderValue(x.Response.Headers, "X-Echo") {
			t.Errorf("exchange %d: answer %q, want %q", i, x.Response.Body.Data, want)
		}
		if auth := events.HeaderValue(x.Request.Headers, "Authorization"); !strings.HasPrefix(auth, "Bearer td1_") || row.Flags&uint32(events.Flag_REDACTED) == 0 {
			t.Errorf("Authorization %q, flags %d, want a token and the flag", auth, row.Flags)
		}
		if row.Session != out.rows[0].Session || row.Duration <= 0 || row.TTFB <= 0 || row.TTFB > row.Duration {
			t.Errorf("row %d: session %s, duration %s, ttfb %s", i, row.Session, row.Duration, row.TTFB)
		}
	}
	if out.last.RedactionKeyId == "" {
		t.Error("header without the redaction key's id")
	}
}

func TestListenFailsAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = New(Config{Inbound: []string{l.Addr().String() + "=localhost:1"}}, Deps{Data: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "listen for --inbound") {
		t.Errorf("got %v", err)
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Errorf("%v does not wrap the cause", err)
	}
}

func quietStdLog() *log.Logger { return log.New(io.Discard, "", 0) }

func httpProtocol() wire.Protocol { return &http1.Protocol{} }
