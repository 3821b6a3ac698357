package capture

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/capture/redact"
	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/wire/http1"
)

// keyFile is one with two keys: the second becomes active at turn.
func keyFile(t *testing.T, turn time.Time) (file string, ids [2]string) {
	t.Helper()
	t.Setenv(redact.KeyVariable, "")
	file = filepath.Join(t.TempDir(), "redaction.key")
	keys, err := redact.OpenKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	next, err := redact.AddKey(file, turn)
	if err != nil {
		t.Fatal(err)
	}
	return file, [2]string{keys.All()[0].ID(), next.ID()}
}

// connection is a client's, shown to a recorder of a test.
func connection(r *recorder) *tap {
	id := events.NewID(time.Now())
	info := &events.Connection{Id: id[:]}
	s := &sink{recorder: r, info: info, protocol: &http1.Protocol{}}
	return &tap{info: info, sink: s, dissector: (&http1.Protocol{}).NewDissector(info, events.Direction_INBOUND, s)}
}

var tokenKey = regexp.MustCompile(`td1_([0-9a-f]+)_[0-9a-f]{32}`)

// keysIn are the ids of the keys of the tokens in a tape.
func keysIn(t *testing.T, tape *events.Tape) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	look := func(text string) {
		for _, m := range tokenKey.FindAllStringSubmatch(text, -1) {
			found[m[1]] = true
		}
	}
	for r, err := range tape.Records() {
		if err != nil {
			t.Fatal(err)
		}
		look(r.String())
	}
	look(tape.Index.String())
	return found
}

// The key turns by the clock while there are requests, an upload, a socket and
// an announced exchange under way: each exchange but the socket has one key, and
// so has each tape.
func TestTapesTurnWithTheKey(t *testing.T) {
	if _, err := events.NewBuilder(time.Now()).Close(&events.Header{}); err != nil { // its channel is of no bubble
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		turn := time.Now().Add(time.Hour).Truncate(time.Second)
		file, ids := keyFile(t, turn)
		source, err := redact.OpenSource(redact.Settings{Keys: file}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r, _ := testRecorder(time.Now())
		r.redactor, r.maxBody = source, 0
		var all []*events.Tape
		r.publish = func(c *closedTape) {
			tape, err := events.ParseTape(c.bytes)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, tape)
		}
		get := func() {
			c := connection(r)
			c.dissect(events.Side_REQUEST, time.Now(), []byte("GET /me HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n"))
			c.dissect(events.Side_RESPONSE, time.Now(), []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
		}
		text := func(n int) []byte {
			return bytes.Repeat([]byte("mail ada@example.com\n"), n/21)
		}
		upload, size := connection(r), len(text(700<<10))+len(text(900<<10))
		upload.dissect(events.Side_REQUEST, time.Now(), fmt.Appendf(nil, "PUT /log HTTP/1.1\r\nAuthorization: Bearer abc\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size))
		upload.dissect(events.Side_REQUEST, time.Now(), text(700<<10))
		socket := connection(r)
		socket.dissect(events.Side_REQUEST, time.Now(), []byte("GET /feed?token=abc HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"))
		socket.dissect(events.Side_RESPONSE, time.Now(), []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"))
		say := func() {
			message := `{"token":"abc"}`
			socket.dissect(events.Side_RESPONSE, time.Now(), append([]byte{0x81, byte(len(message))}, message...))
			socket.announce(time.Now())
		}
		get()
		say()
		time.Sleep(time.Until(turn) - 30*time.Second)
		for range 60 { // half a minute before and behind it
			get()
			say()
			time.Sleep(500 * time.Millisecond)
			say()
			time.Sleep(500 * time.Millisecond)
		}
		upload.dissect(events.Side_REQUEST, time.Now(), text(900<<10))
		upload.dissect(events.Side_RESPONSE, time.Now(), []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
		get()
		socket.closeSide(events.Side_REQUEST, time.Now(), nil)
		socket.closeSide(events.Side_RESPONSE, time.Now(), nil)
		r.end()

		turns, last := 0, ""
		for _, tape := range all {
			key := tape.Header.RedactionKeyId
			if key != ids[0] && key != ids[1] {
				t.Fatalf("tape of key %q, want one of %v", key, ids)
			}
			for k := range keysIn(t, tape) {
				if k != key {
					t.Errorf("tape %d of key %s holds a token of key %s", tape.Header.Number, key, k)
				}
			}
			if last != "" && key != last {
				turns++
			}
			last = key
		}
		exchanges := 0
		for _, tape := range all {
			for _, e := range tape.Index.Entries {
				row := tape.Row(e)
				if row.Open {
					continue
				}
				exchanges++
				record, err := tape.Record(e.Block, e.Position)
				if err != nil {
					t.Fatal(err)
				}
				x := record.GetExchange()
				want := ids[0]
				if x.Request.Target != "/log" && !row.Time.Add(row.Duration).Before(turn) {
					want = ids[1]
				}
				if x.RedactionKeyId != want {
					t.Errorf("%s at %s has key %s, want %s", x.Request.Target, row.Time, x.RedactionKeyId, want)
				}
				if n := uploaded(t, all, x, ids[0]); x.Request.Target == "/log" && n != size/21 {
					t.Errorf("the upload has %d tokens of its first key, want %d", n, size/21)
				}
			}
		}
		if exchanges != 64 {
			t.Errorf("%d exchanges, want 64", exchanges)
		}
		// The parts of the upload that come behind the turn are an exception.
		if turns == 0 || turns > 12 {
			t.Errorf("%d times a tape had another key than the one before", turns)
		}
	})
}

// uploaded counts the e-mails in a body under a key.
func uploaded(t *testing.T, all []*events.Tape, x *events.Exchange, key string) int {
	t.Helper()
	data := bytes.Clone(x.Request.Body.GetData())
	for _, ref := range x.Request.Body.GetParts() {
		for _, tape := range all {
			if tape.TapeID() != events.ID(ref.TapeId) {
				continue
			}
			r, err := tape.Record(ref.Block, ref.Position)
			if err != nil {
				t.Fatal(err)
			}
			data = append(data, r.GetPart().Data...)
		}
	}
	return bytes.Count(data, []byte("mail td1_"+key+"_"))
}

// logged is a log to be looked at.
type logged struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// metricOf is the value of a counter with a label's value, or without one.
func metricOf(t *testing.T, from prometheus.Gatherer, name, label string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && (label == "" || m.Label[0].GetValue() == label) {
				return m.Counter.GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %s", name, label)
	return 0
}

// askSecrets posts secrets in all parts of a request; the service answers with them.
func askSecrets(t *testing.T, url string) {
	t.Helper()
	const body = `{"password":"hunter2secret"}`
	req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/users/4711?token=hunter2secret", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer hunter2secret")
	req.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got, err := io.ReadAll(answer.Body); err != nil || string(got) != body || answer.Header.Get("X-Token") != "hunter2secret" {
		t.Fatalf("the client sees %q, %v, %v: the relay is not untouched", got, answer.Header, err)
	}
}

func echoing() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Token", "hunter2secret")
		io.Copy(w, r.Body)
	}))
}

func onlyMetadata(t *testing.T, x *events.Exchange, row events.Row) {
	t.Helper()
	if !x.OnlyMetadata() || strings.Contains(x.String()+row.Path+row.Template, "hunter2secret") || len(x.Request.Headers)+len(x.Response.Headers) > 0 {
		t.Errorf("recorded %s", x)
	}
	if row.Path != "/users/{id}" || x.Request.Target != "/users/{id}" || row.Status != "200" || x.Request.Body.Size != 28 || row.Flags&uint32(events.Flag_TRUNCATED) == 0 {
		t.Errorf("the metadata is not all there: %s, row %+v", x, row)
	}
}

// A rule file with a typo: the service is served, what is recorded is metadata,
// and the mended file is used without a restart.
func TestRulesThatCannotBeReadLeaveMetadata(t *testing.T) {
	_, js := natstest.New(t)
	app := echoing()
	defer app.Close()
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	write := func(text string) {
		if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("rules: [{ky: plan}]")
	log, registry := &logged{}, prometheus.NewRegistry()
	c := start(t, Config{Inbound: []string{"0=" + address(app)}, RedactRules: rules},
		Deps{JS: js, Data: t.TempDir(), Register: registry, Log: slog.New(slog.NewTextHandler(log, nil))})
	status := func() redact.Status { return c.Service.Status().(Status).Redaction }
	if got := status(); got.State != "metadata only" || len(got.Problems) != 1 {
		t.Errorf("status %+v", got)
	}
	askSecrets(t, c.url(0))
	eventually(t, "the exchange is recorded", func() bool { return c.Counts().Taped == 1 })
	if n := metricOf(t, registry, "tapedeck_capture_metadata_only_total", ""); n != 1 {
		t.Errorf("%v exchanges counted as metadata, want 1", n)
	}
	if metricOf(t, registry, "tapedeck_capture_redaction_failures_total", "rules") != 1 || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("no count or no alarm: %s", log)
	}
	write("rules: [{key: plan}]")
	eventually(t, "the mended rules are used", func() bool { return status().State == "working" })
	askSecrets(t, c.url(0))
	eventually(t, "the second exchange is recorded", func() bool { return c.Counts().Taped == 2 })
	write("rules: [{ky: plan}] # again")
	eventually(t, "the broken rules are told", func() bool { return len(status().Problems) == 1 })
	askSecrets(t, c.url(0))
	c.stop()
	out := play(t, tapesOf(t, js))
	onlyMetadata(t, out.exchanges[0], out.rows[0])
	for _, x := range out.exchanges[1:] {
		if x.OnlyMetadata() || !strings.Contains(string(x.Response.Body.Data), `{"password":"td1_`) {
			t.Errorf("with rules: %s", x)
		}
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Error("a secret is in the log")
	}
}

// brokenSource panics at the first token: its key is none.
func brokenSource() *redact.Source { return redact.Fixed(redact.New(new(redact.Key))) }

func TestPanicsOfRedactionLeaveMetadata(t *testing.T) {
	_, js := natstest.New(t)
	app := echoing()
	defer app.Close()
	log := &logged{}
	s, err := New(Config{Inbound: []string{"127.0.0.1:0=" + address(app)}, Service: "shop", TapeAge: 50 * time.Millisecond},
		Deps{JS: js, Data: t.TempDir(), Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	broken := brokenSource()
	s.recorder.redactor = broken
	c := run(t, s)
	askSecrets(t, c.url(0))
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 || broken.Failures()["panic"] == 0 {
		t.Fatalf("%d exchanges, failures %v", len(out.rows), broken.Failures())
	}
	onlyMetadata(t, out.exchanges[0], out.rows[0])
}

func TestAlarmOfRedactionIsNotRepeatedAllTheTime(t *testing.T) {
	log := &logged{}
	source := brokenSource()
	w := redactionWatch{source: source, log: slog.New(slog.NewTextHandler(log, nil))}
	now := time.Now()
	for i := range 90 { // a second each
		source.At(now).Head(&events.Exchange{Request: &events.Request{Target: "/?token=hunter2secret"}})
		w.look(now.Add(time.Duration(i) * time.Second))
	}
	if n := strings.Count(log.String(), "redaction failed"); n != 2 || !strings.Contains(log.String(), "redact.(*Key)") || strings.Contains(log.String(), "hunter2") {
		t.Errorf("%d alarms in 90 seconds, want 2, with the place of the panic and without its value:\n%s", n, log)
	}
}
