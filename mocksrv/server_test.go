package mocksrv

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tapedeck/events"
	"tapedeck/internal/scenariotest"
	"tapedeck/scenariogen/scenario"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// payments is a real dependency with a state and made-up ids.
func payments(t *testing.T) (server *httptest.Server, calls *atomic.Int32) {
	calls = new(atomic.Int32)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			OrderID string `json:"order_id"`
			Amount  int    `json:"amount"`
		}
		json.NewDecoder(r.Body).Decode(&asked)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		fmt.Fprintf(w, `{"charge":"ch_%08d","order_id":%q,"amount":%d}`, calls.Add(1), asked.OrderID, asked.Amount)
	})
	mux.HandleFunc("GET /balance", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "balance %d", calls.Add(1)) })
	mux.HandleFunc("HEAD /balance", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "9") })
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		<-time.After(50 * time.Millisecond)
		io.WriteString(w, "slow")
	})
	server = httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server, calls
}

const (
	order1 = "6d1c3b1e-5d0a-4b60-8f0e-0d1f6f5f0a01"
	order2 = "0f9e8d7c-6b5a-4948-9726-150413f2e1d0"
)

// record records calls to payments, and an inbound one to be complete.
func record(t *testing.T, base, listen string) *scenario.Scenario {
	r := scenariotest.New(t)
	r.Outbound(base, listen, "POST", "/charges", `{"order_id":"`+order1+`","amount":1998}`)
	r.Outbound(base, listen, "GET", "/balance", "")
	r.Outbound(base, listen, "GET", "/balance", "")
	r.Outbound(base, listen, "HEAD", "/balance", "")
	r.Outbound(base, listen, "GET", "/slow", "")
	return r.Save(scenariotest.Archive(t), "shop")
}

// start mocks until the test ends.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Listen(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

// client calls the mock, by way of a proxy when there is one.
func client(t *testing.T, proxy string) *http.Client {
	transport := &http.Transport{}
	if proxy != "" {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func call(t *testing.T, c *http.Client, method, address, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, address, err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func TestServerAnswers(t *testing.T) {
	real, calls := payments(t)
	s := start(t, Options{Scenario: record(t, real.URL, "")})
	recorded := calls.Load()
	addresses := s.Addresses()
	if len(addresses) != 2 || addresses[0].Dependency != strings.TrimPrefix(real.URL, "http://") || addresses[1].Dependency != "" {
		t.Fatalf("addresses %+v", addresses)
	}
	base := "http://" + addresses[0].Address
	for _, by := range []struct {
		name, base string
		client     *http.Client
	}{
		{"its own address", base, client(t, "")},
		{"the proxy", real.URL, client(t, addresses[1].Address)},
	} {
		t.Run(by.name, func(t *testing.T) {
			s := start(t, Options{Scenario: s.Scenario})
			for i, a := range s.Addresses() {
				if by.base == base && i == 0 {
					by.base = "http://" + a.Address
				}
				if by.base == real.URL && i == 1 {
					by.client = client(t, a.Address)
				}
			}
			for _, tt := range []struct {
				name, method, path, body string
				status                   int
				want                     string
			}{
				{"the same request", "POST", "/charges", `{"order_id":"` + order1 + `","amount":1998}`, 201, `{"charge":"ch_00000001","order_id":"` + order1 + `","amount":1998}`},
				{"a live id is repeated", "POST", "/charges", `{"order_id":"` + order2 + `","amount":1998}`, 201, `{"charge":"ch_00000001","order_id":"` + order2 + `","amount":1998}`},
				{"the first balance", "GET", "/balance", "", 200, "balance 2"},
				{"the second balance", "GET", "/balance", "", 200, "balance 3"},
				{"the last repeats", "GET", "/balance", "", 200, "balance 3"},
				{"HEAD", "HEAD", "/balance", "", 200, ""},
				{"another amount", "POST", "/charges", `{"order_id":"` + order1 + `","amount":5}`, 501, `"place": "request.body.$.amount"`},
				{"another path", "GET", "/refunds", "", 501, "tapedeck: no recorded answer fits this request"},
				{"another method", "DELETE", "/balance", "", 501, "tapedeck: no recorded answer fits this request"},
			} {
				status, got := call(t, by.client, tt.method, by.base+tt.path, tt.body)
				if status != tt.status || !strings.Contains(got, tt.want) || status < 300 && got != tt.want {
					t.Errorf("%s: %d %s\nwant %d %s", tt.name, status, got, tt.status, tt.want)
				}
			}
			results := s.Results()
			if len(results) != 1 {
				t.Fatalf("results %+v", results)
			}
			r := results[0]
			if r.Served != 6 || r.Missed != 3 || r.PassedThrough != 0 || len(r.Misses) != 3 {
				t.Errorf("counts %+v", r)
			}
			if m := r.Misses[0]; m.Method != "POST" || m.Path != "/charges" || m.Closest == nil || len(m.Diffs) != 1 ||
				m.Diffs[0] != (events.Difference{Place: "request.body.$.amount", Want: "1998", Got: "5"}) {
				t.Errorf("miss %+v, want the amount alone to differ", m)
			}
		})
	}
	if calls.Load() != recorded {
		t.Error("the real dependency was called")
	}
}

func TestServerPassesThrough(t *testing.T) {
	real, calls := payments(t)
	s := start(t, Options{Scenario: record(t, real.URL, ""), PassThrough: true})
	before := calls.Load()
	base := "http://" + s.Addresses()[0].Address
	c := client(t, "")
	if status, got := call(t, c, "POST", base+"/charges", `{"order_id":"`+order1+`","amount":7}`); status != 201 || !strings.Contains(got, `"amount":7`) {
		t.Errorf("passed through: %d %s", status, got)
	}
	call(t, c, "GET", base+"/balance", "")
	if calls.Load() != before+1 {
		t.Errorf("%d calls of the real dependency, want 1", calls.Load()-before)
	}
	if r := s.Results()[0]; r.PassedThrough != 1 || r.Served != 1 || r.Missed != 0 {
		t.Errorf("counts %+v", r)
	}
	real.Close()
	if status, got := call(t, c, "POST", base+"/charges", `{"amount":8}`); status != 502 || !strings.Contains(got, "no complete answer: refused") {
		t.Errorf("the real dependency is gone: %d %s", status, got)
	}
}

func TestServerProxyRefuses(t *testing.T) {
	real, _ := payments(t)
	s := start(t, Options{Scenario: record(t, real.URL, "")})
	proxy := s.Addresses()[1].Address
	if status, got := call(t, client(t, proxy), "GET", "http://elsewhere.test/x", ""); status != 502 || !strings.Contains(got, "no dependency of this name is mocked") {
		t.Errorf("another host: %d %s", status, got)
	}
	if status, got := call(t, client(t, ""), "GET", "http://"+proxy+"/x", ""); status != 400 || !strings.Contains(got, "this is an HTTP proxy") {
		t.Errorf("no proxy request: %d %s", status, got)
	}
	if _, err := client(t, proxy).Get("https://secure.test/x"); err == nil || !strings.Contains(err.Error(), "Bad Gateway") {
		t.Errorf("a tunnel: %v, want it refused", err)
	}
	results := s.Results()
	if len(results) != 3 || results[1].Dependency != "elsewhere.test" || results[1].Missed != 1 || results[2].Dependency != "secure.test:443" {
		t.Errorf("results %+v", results)
	}
	for i := range 2 * maxStrangers {
		s.stranger(fmt.Sprint("host", i)).miss(events.MockMiss{})
	}
	if n := len(s.Results()); n > maxStrangers+2 {
		t.Errorf("%d results, hosts are not bounded", n)
	}
}

// The recorded address is used when it is free, another one when it is not.
func TestServerListens(t *testing.T) {
	real, _ := payments(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	recorded := free.Addr().String()
	sc := record(t, real.URL, recorded)
	taken, err := Listen(t.Context(), Options{Scenario: sc, Proxy: "off"})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if a := taken.Addresses()[0]; a.Address == recorded || a.Recorded != recorded || len(taken.Addresses()) != 1 {
		t.Errorf("address %+v, want another than the recorded one", a)
	}
	free.Close()
	s, err := Listen(t.Context(), Options{Scenario: sc, Proxy: "off"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if a := s.Addresses()[0]; a.Address != recorded {
		t.Errorf("address %+v, want the recorded one", a)
	}
}

func TestListenRefuses(t *testing.T) {
	real, _ := payments(t)
	sc := record(t, real.URL, "")
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	name := sc.Manifest().Dependencies[0].Name
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"no scenario", Options{}, "mock without a scenario"},
		{"an unknown dependency", Options{Scenario: sc, Dependencies: []string{"mail"}}, "mock mail: the scenario has no such dependency, it has " + name},
		{"a latency that is none", Options{Scenario: sc, Latency: "long"}, `latency "long" of mocks is neither`},
		{"an address in use", Options{Scenario: sc, Listen: map[string]string{name: used.Addr().String()}}, "address already in use"},
		{"a proxy address in use", Options{Scenario: sc, Proxy: used.Addr().String()}, "mock as a proxy"},
	} {
		if s, err := Listen(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			if s != nil {
				s.Close()
			}
		}
	}
}

func TestServerKeepsRecordedLatency(t *testing.T) {
	real, _ := payments(t)
	sc := record(t, real.URL, "")
	for _, tt := range []struct {
		latency string
		slow    bool
	}{{LatencyNone, false}, {LatencyRecorded, true}} {
		s := start(t, Options{Scenario: sc, Latency: tt.latency})
		begin := time.Now()
		call(t, client(t, ""), "GET", "http://"+s.Addresses()[0].Address+"/slow", "")
		if took := time.Since(begin); took >= 50*time.Millisecond != tt.slow {
			t.Errorf("latency %s: took %s", tt.latency, took)
		}
	}
}
