package harness

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/pgtest"
)

// build makes the plugin's binary as a release has it, once for all tests.
var build = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(buildFolder, "gpx_tapedeck")
	cmd := exec.Command("go", "build", "-tags", "arrow_json_stdlib", "-o", binary, "../datasource/pkg")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build plugin: %w\n%s", err, out)
	}
	return binary, nil
})

var buildFolder string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "tapedeck-plugin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildFolder = folder
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

func start(t *testing.T) *Host {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	h, err := Start(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// index is a fresh index to be filled.
type index struct {
	t     *testing.T
	dsn   string
	store *traffic.Store
}

func newIndex(t *testing.T) *index {
	t.Helper()
	dsn := pgtest.New(t)
	store, err := traffic.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &index{t, dsn, store}
}

// sample is one recorded exchange; what is zero is as in most of them.
type sample struct {
	at        time.Time
	direction events.Direction
	host      string
	status    string
	class     events.StatusClass
	replay    string

	service                          string // shop
	protocol, method, template, path string // http, POST, /v1/orders, the template
	duration                         time.Duration
	session, trace                   byte // the id's first
	span, parent                     byte
	tag                              string // value of the tag tenant
}

func (s sample) took() time.Duration { return cmp.Or(s.duration, 12*time.Millisecond) }

func (s sample) entry() *events.Entry {
	id := events.NewID(s.at)
	template := cmp.Or(s.template, "/v1/orders")
	e := &events.Entry{
		Id: id[:], Time: uint64(s.at.UnixNano()), DurationUs: s.took().Microseconds(), TtfbUs: s.took().Microseconds() / 2,
		Peer: "10.0.0.9:40000", Path: cmp.Or(s.path, template), Status: s.status, Class: s.class,
		RequestBytes: 100, ResponseBytes: 1000, ReplayId: s.replay,
		Session: first(16, s.session), TraceId: first(16, s.trace), SpanId: first(8, s.span), ParentSpanId: first(8, s.parent),
	}
	if s.tag != "" {
		e.Tags = []*events.Tag{{Key: "tenant", Value: s.tag}}
	}
	return e
}

// first is an id of n bytes that begins with b; none for 0.
func first(n int, b byte) []byte {
	if b == 0 {
		return nil
	}
	id := make([]byte, n)
	id[0] = b
	return id
}

func (s sample) endpoint() *events.Endpoint {
	return &events.Endpoint{
		Direction: s.direction, Protocol: cmp.Or(s.protocol, "http"), Host: s.host,
		Method: cmp.Or(s.method, "POST"), Template: cmp.Or(s.template, "/v1/orders"), Replay: s.replay != "",
	}
}

// write indexes samples as the indexer does: as one tape for each service. It
// returns their ids.
func (x *index) write(samples ...sample) []events.ID {
	x.t.Helper()
	return x.writeClosed(time.Now(), samples)
}

// writeClosed indexes samples of tapes that were closed at a time.
func (x *index) writeClosed(closed time.Time, samples []sample) []events.ID {
	x.t.Helper()
	ids, byService := make([]events.ID, len(samples)), map[string]*events.Builder{}
	counts := map[string]uint64{}
	for i, s := range samples {
		service := cmp.Or(s.service, "shop")
		if byService[service] == nil {
			byService[service] = events.NewBuilder(closed)
		}
		e := s.entry()
		ids[i] = events.ID(e.Id)
		if err := byService[service].AddExchange(e, s.endpoint(), &events.Exchange{Id: e.Id}); err != nil {
			x.t.Fatal(err)
		}
		counts[service]++
	}
	for service, b := range byService {
		x.writeTape(b, service, closed, counts[service])
	}
	return ids
}

func (x *index) writeTape(b *events.Builder, service string, closed time.Time, n uint64) {
	x.t.Helper()
	source := events.NewID(closed)
	raw, err := b.Close(&events.Header{
		SourceId: source[:], Number: 1, ClosedAt: closed.UnixNano(),
		Workload: &events.Workload{Cluster: "local", Namespace: "demo", Service: service, Version: "1.0"},
		Counters: &events.Counters{Begun: n + 2, Taped: n, Dropped: map[string]uint64{"overload": 2}},
	})
	if err != nil {
		x.t.Fatal(err)
	}
	front, err := events.ParseFront(raw)
	if err != nil {
		x.t.Fatal(err)
	}
	_, err = x.store.Write(x.t.Context(), []traffic.Received{{Front: front, At: closed}}, func(_ context.Context, dead []traffic.Dead) error {
		return fmt.Errorf("%d samples cannot be stored: %w", len(dead), dead[0].Reason)
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

// source is the data source of an index, as Grafana hands it to the plugin.
func (x *index) source(change ...func(jsonData, secrets map[string]string)) backend.PluginContext {
	x.t.Helper()
	u, err := url.Parse(x.dsn)
	if err != nil {
		x.t.Fatal(err)
	}
	password, _ := u.User.Password()
	jsonData := map[string]string{
		"dbHost": u.Host, "dbName": strings.TrimPrefix(u.Path, "/"), "dbUser": u.User.Username(), "sslMode": "disable",
	}
	if u.Host == "" {
		jsonData["dbHost"] = u.Query().Get("host")
	}
	secrets := map[string]string{"dbPassword": password}
	for _, c := range change {
		c(jsonData, secrets)
	}
	raw, err := json.Marshal(jsonData)
	if err != nil {
		x.t.Fatal(err)
	}
	return backend.PluginContext{
		Namespace: "default", PluginID: "tapedeck-traffic-datasource",
		DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{
			ID: 1, UID: "api-traffic", Type: "tapedeck-traffic-datasource", Name: "API Traffic",
			JSONData: raw, DecryptedSecureJSONData: secrets, Updated: saved(),
		},
	}
}

// readerSource is the data source of a user who may only read.
func (x *index) readerSource() backend.PluginContext {
	x.t.Helper()
	if _, err := x.store.SetRoles(x.t.Context()); err != nil {
		x.t.Fatal(err)
	}
	name, password := "t_"+strings.ToLower(rand.Text()), rand.Text()
	if err := pgtest.Exec(x.t.Context(), x.dsn, "create role "+name+" login password '"+password+"' in role "+traffic.ReaderRole); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() {
		if err := pgtest.Exec(context.WithoutCancel(x.t.Context()), x.dsn, "drop role "+name); err != nil {
			x.t.Error(err)
		}
	})
	return x.source(func(jsonData, secrets map[string]string) { jsonData["dbUser"], secrets["dbPassword"] = name, password })
}

// saved is when a data source was saved: the protocol has milliseconds, and
// only another time makes another instance.
func saved() time.Time {
	return time.UnixMilli(time.Now().UnixMilli() + saves.Add(1))
}

var saves atomic.Int64
