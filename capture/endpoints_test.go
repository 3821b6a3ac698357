package capture

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

const shopAPI = "openapi: 3.1.0\nservers: [{url: https://shop.example/api}]\npaths:\n  /users/{name}: {}\n  /users/me: {}\n"

func document(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "api.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// request is one to import.
type request struct {
	direction    events.Direction
	host, target string
	body         string // JSON of a POST; "" is a GET
}

func (r request) exchange() *events.Exchange {
	c, now := events.NewID(time.Now()), time.Now().UnixNano()
	x := &events.Exchange{
		Direction: r.direction, Protocol: "http", Connection: &events.Connection{Id: c[:], Client: "10.0.0.1:1", Server: "10.0.0.2:80"},
		Request:  &events.Request{Method: "GET", Host: r.host, Target: r.target, FirstByte: now, LastByte: now, Body: &events.Body{}},
		Response: &events.Response{Status: "200", FirstByte: now, LastByte: now, Body: &events.Body{}},
	}
	if r.body != "" {
		x.Request.Method, x.Request.Body = "POST", &events.Body{Data: []byte(r.body), Size: int64(len(r.body))}
		x.Request.Headers = []*events.Field{{Name: []byte("content-type"), Value: []byte("application/json")}}
	}
	return x
}

// process records requests as a process of its own, and returns their rows.
func process(t testing.TB, cfg Config, data string, requests []request) []events.Row {
	t.Helper()
	var rows []events.Row
	i, err := NewImport(cfg, Deps{Data: data}, func(_ *events.Workload, _ events.ID, b []byte) error {
		front, err := events.ParseFront(b)
		if err != nil {
			return err
		}
		for _, e := range front.Index.Entries {
			rows = append(rows, front.Row(e))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range requests {
		if err := i.Add(r.exchange()); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.End(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// Ten processes, and one of them again after its end, each with a key, a seed
// and an order of its own, give one request one endpoint.
func TestOneEndpointInTenProcesses(t *testing.T) {
	var requests []request
	for n := range 200 {
		requests = append(requests,
			request{events.Direction_INBOUND, "shop", fmt.Sprintf("/api/users/u%c%c", 'a'+n%26, 'a'+n/26), ""},
			request{events.Direction_INBOUND, "shop", fmt.Sprintf("/orders/%d/lines/%d", n, n+1), ""},
			request{events.Direction_INBOUND, "shop", fmt.Sprintf("/files/%d/x?access_token=secret%d", n, n), ""},
			request{events.Direction_INBOUND, "shop", "/graphql", fmt.Sprintf(`{"query":"query Q%d { a }"}`, n%3)},
			request{events.Direction_OUTBOUND, "payments", fmt.Sprintf("/pay/p%c", 'a'+n%26), ""})
	}
	cfg := Config{Service: "shop", MaxEndpoints: 1000, OpenAPI: []string{document(t, shopAPI), "payments=" + document(t, "openapi: 3.0.0\npaths: {'/pay/{who}': {}}")}}
	ids := map[request]map[int64]string{}
	for n := range 11 {
		data := t.TempDir()
		own := slices.Clone(requests)
		rand.Shuffle(len(own), func(i, j int) { own[i], own[j] = own[j], own[i] })
		runs := [][]request{own}
		if n == 10 { // restarted in the middle
			runs = [][]request{own[:300], own[300:]}
		}
		for _, run := range runs {
			for i, row := range process(t, cfg, data, run) {
				if ids[run[i]] == nil {
					ids[run[i]] = map[int64]string{}
				}
				ids[run[i]][row.EndpointID()] = row.Template
			}
		}
	}
	templates := map[string]bool{}
	for r, of := range ids {
		if len(of) != 1 {
			t.Errorf("%+v has the endpoints %v", r, of)
		}
		for _, template := range of {
			templates[template] = true
		}
	}
	want := map[string]bool{"/api/users/{name}": true, "/orders/{id}/lines/{id}": true, "/files/{id}/x": true, "/pay/{who}": true,
		"/graphql query Q0": true, "/graphql query Q1": true, "/graphql query Q2": true}
	if diff := cmp.Diff(want, templates); diff != "" {
		t.Errorf("templates (-want +got):\n%s", diff)
	}
}

// Beyond the bound what is known keeps its endpoint, and all that is new has
// one: of a dependency that is known, the dependency's.
func TestEndpointsAreBounded(t *testing.T) {
	var requests []request
	for n := range 20_000 {
		letters := fmt.Sprintf("/%c%c%c%c", 'a'+n%26, 'a'+n/26%26, 'a'+n/676%26, 'a'+n/17576%26)
		requests = append(requests, request{events.Direction_INBOUND, "h" + letters[1:], letters, ""})
	}
	known := requests[0]
	out := request{events.Direction_OUTBOUND, "payments", "/pay", ""}
	requests = slices.Concat([]request{out}, requests, []request{known, out, {events.Direction_OUTBOUND, "payments", "/new", ""}, {events.Direction_OUTBOUND, "other", "/new", ""}})
	rows := process(t, Config{Service: "shop", MaxEndpoints: 100}, t.TempDir(), requests)
	seen, beyond := map[int64]bool{}, 0
	for _, r := range rows {
		seen[r.EndpointID()] = true
		if r.Template == overflow {
			beyond++
		}
	}
	if len(seen) != 103 || beyond != 20_001-100+2 {
		t.Errorf("%d endpoints, %d exchanges beyond the bound, want 103 and %d", len(seen), beyond, 20_001-100+2)
	}
	var last []string
	for _, r := range rows[len(rows)-5:] {
		last = append(last, strings.Join([]string{r.Direction.Name(), r.Host, r.Method, r.Template, r.Path}, " "))
	}
	want := []string{"inbound   {overflow} " + requests[20_000].target, "inbound haaaa GET /aaaa /aaaa", "outbound payments GET /pay /pay",
		"outbound payments  {overflow} /new", "outbound   {overflow} /new"}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("last rows (-want +got):\n%s", diff)
	}
}

// The bound holds in memory as well, whatever somebody sends.
func TestBoundedMemoryOfEndpoints(t *testing.T) {
	e := newEndpoints(1000, quietLog(), newMetrics())
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	long := strings.Repeat("x", 1000)
	for n := range 50_000 {
		e.bound(&events.Endpoint{Direction: events.Direction_INBOUND, Host: fmt.Sprint("h", n), Method: "GET", Template: fmt.Sprint("/", long, n)})
	}
	if grown := heap() - before; grown > 4<<20 || len(e.known) != 1000 {
		t.Errorf("grown by %d bytes, %d endpoints", grown, len(e.known))
	}
	runtime.KeepAlive(e)
}

func TestBadOpenAPI(t *testing.T) {
	if _, err := New(Config{OpenAPI: []string{"/nowhere.yaml"}}, Deps{Data: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "--openapi /nowhere.yaml") {
		t.Errorf("got %v", err)
	}
}

// Real traffic, by both versions of HTTP: documents, operations, the bound.
func TestEndpointsOfTraffic(t *testing.T) {
	_, js := natstest.New(t)
	unencrypted := &http.Protocols{}
	unencrypted.SetHTTP1(true)
	unencrypted.SetUnencryptedHTTP2(true)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "mutation") {
			io.WriteString(w, `{"data":null,"errors":[{"message":"out of stock"}]}`)
			return
		}
		io.WriteString(w, `{"data":{}}`)
	}))
	app.Config.Protocols = unencrypted
	app.Start()
	defer app.Close()
	registry := prometheus.NewRegistry()
	c := start(t, Config{Inbound: []string{"0=" + address(app)}, OpenAPI: []string{document(t, shopAPI)}, MaxEndpoints: 5}, Deps{JS: js, Register: registry})
	onlyHTTP2 := &http.Protocols{}
	onlyHTTP2.SetUnencryptedHTTP2(true)
	for _, client := range []*http.Client{client(t, ""), {Transport: &http.Transport{Protocols: onlyHTTP2}}} {
		for _, name := range []string{"alice", "bob", "me"} {
			answer, err := client.Get(c.url(0) + "/api/users/" + name)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		post(t, client, c.url(0)+"/graphql", "application/json", []byte(`{"query":"query GetCart { cart { id } }"}`))
		post(t, client, c.url(0)+"/graphql", "application/json", []byte(`{"query":"mutation AddItem { add { id } }"}`))
		post(t, client, c.url(0)+"/graphql", "application/json", []byte(`{"query":"query red shoes"}`))
		post(t, client, c.url(0)+"/one/too/many", "text/plain", []byte(`x`))
		client.CloseIdleConnections()
	}
	c.stop()
	got := map[string]int{}
	for _, r := range play(t, tapesOf(t, js)).rows {
		got[strings.TrimSpace(r.Method+" "+r.Template)+" "+r.Status+" "+r.Class.Name()]++
	}
	want := map[string]int{"GET /api/users/{name} 200 ok": 4, "GET /api/users/me 200 ok": 2, "POST /graphql query GetCart 200 ok": 2,
		"POST /graphql mutation AddItem 200 server": 2, "POST /graphql 200 ok": 2, "{overflow} 200 ok": 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "tapedeck_capture_overflowed_total" {
			if n := f.Metric[0].GetCounter().GetValue(); n != 2 {
				t.Errorf("%s is %v, want 2", f.GetName(), n)
			}
			return
		}
	}
	t.Error("overflowed_total is not served")
}

func BenchmarkEndpointBound(b *testing.B) {
	e := newEndpoints(5000, quietLog(), newMetrics())
	p := &events.Endpoint{Direction: events.Direction_INBOUND, Protocol: "http", Host: "shop", Method: "GET", Template: "/api/v1/items/{id}/details"}
	b.ReportAllocs()
	for b.Loop() {
		e.bound(p)
	}
}
