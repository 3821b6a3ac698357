package canary

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/internal/pgtest"
	"tapedeck/internal/s3test"
	"tapedeck/internal/service"
)

// silent sinks hold nothing of the traffic, whatever is redacted.
var silent = []string{"log", "debug pages", "capture's files", "workers' files"}

// unrecorded places are in no record, whatever is redacted: what a client says
// to the proxy itself, what belongs to the framing of a body, and what is no
// HTTP, of which only times and sizes are recorded.
var unrecorded = []string{
	"SOCKS5's password", "Proxy-Authorization", "the proxy's userinfo", "a proxy request that is none",
	"a chunk's extension", "a chunk that is none", "another protocol behind an upgrade", "bytes behind an answer",
	"a request of no version", "a request of HTTP/0.9", "a method", "a header without a colon", "a request that ends in a header",
	"a request that ends in its target", "a head that is too long", "HTTP/2 that is none",
	"an answer's version", "an answer's status", "an answer that is none", "an answer with a broken header",
	"TCP, text", "TCP, text by name", "TCP, bytes", "TCP, in pieces", "TCP, a URL", "TCP, JSON", "TCP, long",
}

// trial is one run: secrets that were sent, and what was written of them.
type trial struct {
	t       *testing.T
	mode    string // of --redact
	random  *rand.Rand
	origin  *origin
	s3      *s3test.Server
	places  []place
	sent    []secret
	needles needles
	sinks   map[string][]byte
}

type secret struct {
	text  string
	place int
}

// TestCanaries: with redaction no secret is in anything that is written; a
// control without it finds them in every sink.
func TestCanaries(t *testing.T) {
	s3 := s3test.Start(t, "redaction-on", "redaction-off")
	s3.Setenv(t)
	for _, mode := range []string{"on", "off"} {
		t.Run("redaction "+mode, func(t *testing.T) {
			t.Parallel()
			r := &trial{t: t, mode: mode, s3: s3, random: rand.New(rand.NewPCG(7, uint64(len(mode)))), origin: newOrigin(t),
				places: slices.Concat(heads(), bodies(), streams()), sinks: map[string][]byte{}}
			r.record()
			r.spool()
			r.check()
		})
	}
}

// thorough says that there is time: `make test-canary`.
func thorough() bool { return os.Getenv("CANARIES") != "" }

// rounds is how often each place is sent.
func (r *trial) rounds() int {
	if !thorough() || r.mode == "off" {
		return 1
	}
	n, err := strconv.Atoi(os.Getenv("CANARIES"))
	if err != nil {
		r.t.Fatalf("CANARIES: %v", err)
	}
	return (n + len(r.places) - 1) / len(r.places)
}

// record sends the secrets to a capture, and lets the workers store, index and
// use what it publishes.
func (r *trial) record() {
	store, folder := r.t.TempDir(), r.t.TempDir()
	broker, conn, js := natstest.Start(r.t, store)
	if _, err := events.Setup(r.t.Context(), js, events.SetupOptions{Database: true, MaxBytes: 4 << 30}); err != nil {
		r.t.Fatal(err)
	}
	w, flags := listening(r.t, r.origin)
	p := run(r.t, folder, append([]string{"capture", "--nats", broker.URL(), "--redact", r.mode}, flags...)...)
	r.send(w, r.rounds())
	r.sinks["debug pages"] = p.pages()
	r.sinks["log"] = p.end()
	r.folder("capture's files", folder)
	r.folder("JetStream store", store)
	r.work(broker.URL(), conn, js)
}

// send puts secrets into every place, each made anew; a place that one is sent
// to again gets the same.
func (r *trial) send(w *wires, rounds int) {
	for n := range rounds {
		for i, p := range r.places {
			if p.large && (n > 0 || !thorough()) {
				continue
			}
			s := p.secret(r.random, n+i)
			of := len(r.sent)
			r.sent = append(r.sent, secret{s, i})
			for _, text := range append(p.send(w, s, n), forms(s)...) {
				r.needles.add(text, of)
			}
		}
	}
}

// folder takes all files of a folder, as they are and unpacked.
func (r *trial) folder(name, dir string) {
	r.t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		r.sinks[name] = append(append(append(r.sinks[name], path...), b...), unpacked(b)...)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// work runs the services behind the broker.
func (r *trial) work(url string, conn *nats.Conn, js jetstream.JetStream) {
	dsn, folder := pgtest.New(r.t), r.t.TempDir()
	index := watch(r.t, dsn)
	stores := []string{"--archive", r.s3.URL("redaction-"+r.mode, "canary"), "--database", dsn}
	r.spoil(conn, js)
	p := run(r.t, folder, append([]string{"up", "--nats", url, "--reel-age", "100ms"}, stores...)...)
	r.drained(js)
	r.dead(js)
	r.use(append(stores, "--data", r.t.TempDir()))
	r.sinks["debug pages"] = append(r.sinks["debug pages"], p.pages()...)
	r.sinks["log"] = append(r.sinks["log"], p.end()...)
	r.folder("workers' files", folder)
	r.folder("S3", filepath.Join(r.s3.Root, "redaction-"+r.mode))
	r.sinks["tables"], r.sinks["table files"], r.sinks["WAL"] = index.tables(), index.files(), index.wal()
}

// spoil publishes every tape again without its end: dead letters.
func (r *trial) spoil(conn *nats.Conn, js jetstream.JetStream) {
	r.t.Helper()
	captured, err := js.Stream(r.t.Context(), events.StreamCaptured)
	if err != nil {
		r.t.Fatal(err)
	}
	for seq, last := uint64(1), captured.CachedInfo().State.LastSeq; seq <= last; seq++ {
		m, err := captured.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatal(err)
		}
		bad := &nats.Msg{Subject: m.Subject, Data: m.Data[:len(m.Data)-9], Header: m.Header}
		bad.Header.Set(jetstream.MsgIDHeader, fmt.Sprint("bad ", seq))
		if _, err := js.PublishMsg(r.t.Context(), bad); err != nil {
			r.t.Fatal(err)
		}
	}
	conn.Flush()
}

func (r *trial) drained(js jetstream.JetStream) {
	r.t.Helper()
	for _, d := range [][2]string{{events.StreamCaptured, events.DurableArchiver}, {events.StreamCaptured, events.DurableIndexer}, {events.StreamArchived, events.DurableIndexer}} {
		c, err := service.Consumer(r.t.Context(), js, d[0], d[1])
		if err != nil {
			r.t.Fatal(err)
		}
		eventually(r.t, d[0]+" is taken by "+d[1], func() bool {
			i, err := c.Info(r.t.Context())
			return err == nil && i.NumPending == 0 && i.NumAckPending == 0
		})
	}
}

func (r *trial) dead(js jetstream.JetStream) {
	r.t.Helper()
	letters, err := js.Stream(r.t.Context(), events.StreamDead)
	if err != nil {
		r.t.Fatal(err)
	}
	for seq, last := uint64(1), letters.CachedInfo().State.LastSeq; seq <= last; seq++ {
		m, err := letters.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatal(err)
		}
		r.sinks["dead letters"] = append(append(append(r.sinks["dead letters"], fmt.Sprint(m.Header)...), m.Data...), unpacked(m.Data)...)
	}
}

// use runs the commands that read what was recorded.
func (r *trial) use(stores []string) {
	out := r.t.TempDir()
	at := func(name string) string { return filepath.Join(out, name) }
	tapedeck := func(args ...string) []byte { return command(r.t, append(args, stores...)...) }
	list := tapedeck("traffic", "list", "-o", "json", "--limit", "100000")
	r.sinks["traffic list"] = append(list, tapedeck("traffic", "list", "--limit", "100000")...)
	r.sinks["traffic show"] = r.shown(list, tapedeck)
	for _, format := range []string{"har", "sh", "js"} {
		name := "export as " + format
		r.sinks[name] = tapedeck("export", "-o", at("traffic."+format))
		r.folder(name, at("traffic."+format))
	}
	r.sinks["scenario"] = slices.Concat(tapedeck("scenario", "create", "canary"), tapedeck("scenario", "show", "canary"), tapedeck("scenario", "export", "canary", at("scenario")))
	r.folder("scenario", at("scenario"))
	for name, target := range map[string]http.HandlerFunc{"same": r.origin.serve, "other": other} {
		s := httptest.NewServer(target)
		defer s.Close()
		said := tapedeck("replay", "canary", "--target", s.URL, "--secrets", "off", "--fast", "--timeout", "10s",
			"--junit", at(name+".xml"), "--html", at(name+".html"), "--json", at(name+".json"), "--markdown", at(name+".md"))
		r.sinks["replay"] = append(r.sinks["replay"], said...)
	}
	for sink, ending := range map[string]string{"JUnit report": "xml", "HTML report": "html", "replay": "json", "Markdown report": "md"} {
		r.folder(sink, at("same."+ending))
		r.folder(sink, at("other."+ending))
	}
	r.folder("commands' files", stores[len(stores)-1])
}

// other answers each request with something else: then reports show both.
func other(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.WriteHeader(http.StatusTeapot)
	io.WriteString(w, "something else")
}

// shown are exchanges as `traffic show` prints them; of many, some of each place.
func (r *trial) shown(list []byte, tapedeck func(args ...string) []byte) (out []byte) {
	lines := strings.Split(strings.TrimSpace(string(list)), "\n")
	shows := 12
	if thorough() {
		shows = 150
	}
	step := max(1, len(lines)/shows)
	named := filepath.Join(r.t.TempDir(), "shop.pb")
	writeDescriptors(r.t, named, "Users", "Find", "mail", "note")
	for i := 0; i < len(lines); i += step {
		var row struct{ ID string }
		if json.Unmarshal([]byte(lines[i]), &row) != nil || row.ID == "" {
			continue // what the command says beside it
		}
		out = append(out, tapedeck("traffic", "show", row.ID, "--grpc-descriptors", named)...)
	}
	return out
}

// spool sends secrets while NATS is away, and then lets `up` store them in a
// folder.
func (r *trial) spool() {
	folder := r.t.TempDir()
	w, flags := listening(r.t, r.origin)
	flags = append(flags, "--redact", r.mode)
	p := run(r.t, folder, append([]string{"capture", "--nats", "nats://" + freeAddress(r.t)}, flags...)...)
	r.send(w, 1)
	r.sinks["log"] = append(r.sinks["log"], p.end()...)
	r.folder("spool", filepath.Join(folder, "data", "spool"))
	up := run(r.t, folder, append([]string{"up", "--listen", "", "--reel-age", "100ms"}, flags...)...)
	eventually(r.t, "the spool is empty", func() bool {
		left, _ := filepath.Glob(filepath.Join(folder, "data", "spool", "*", "*"))
		direct, _ := filepath.Glob(filepath.Join(folder, "data", "spool", "*.tape"))
		return len(left)+len(direct) == 0
	})
	r.sinks["log"] = append(r.sinks["log"], up.end()...)
	r.folder("archive", filepath.Join(folder, "data", "archive"))
	r.folder("files of up", folder)
}

// check looks for every secret in every sink.
func (r *trial) check() {
	began := time.Now()
	places, total := map[int]bool{}, 0
	for name, sink := range r.sinks {
		found := map[int]string{}
		r.needles.search(sink, func(of int, text string) { found[of] = text })
		total += len(sink)
		r.t.Logf("%s: %d secrets in %d bytes", name, len(found), len(sink))
		isSilent := slices.Contains(silent, name)
		switch {
		case len(sink) == 0:
			r.t.Errorf("%s: there is nothing to look at", name)
		case r.mode == "off" && isSilent != (len(found) == 0):
			r.t.Errorf("%s: found %d secrets without redaction", name, len(found))
		}
		for of, text := range found {
			places[r.sent[of].place] = true
			if r.mode == "on" || isSilent {
				r.t.Errorf("%s: %q of place %q as %.80q", name, r.sent[of].text, r.places[r.sent[of].place].name, text)
			}
		}
	}
	for i, p := range r.places {
		if is := slices.Contains(unrecorded, p.name); r.mode == "off" && is == places[i] && (thorough() || !p.large) {
			r.t.Errorf("place %q: recorded without redaction: %v, want %v", p.name, places[i], !is)
		}
	}
	r.t.Logf("%d secrets in %d places, %d sinks of %d MiB, searched in %s", len(r.sent), len(r.places), len(r.sinks), total>>20, time.Since(began).Round(time.Millisecond))
}
