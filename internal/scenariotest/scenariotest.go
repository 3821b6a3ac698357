// Package scenariotest makes scenarios in tests, recorded from real HTTP
// servers.
package scenariotest

import (
	"net/url"
	"strconv"
	"testing"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/scenariogen/scenario"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// Recorder records the requests that it sends.
type Recorder struct {
	t         testing.TB
	pools     map[string]*http1.Pool
	session   events.ID
	rows      []events.Row
	exchanges []*events.Exchange
	// Edit, when set, may change an exchange before it is recorded.
	Edit func(*events.Row, *events.Exchange)
}

// New begins a recording.
func New(t testing.TB) *Recorder {
	r := &Recorder{t: t, pools: map[string]*http1.Pool{}}
	r.Session()
	t.Cleanup(func() {
		for _, p := range r.pools {
			p.Close()
		}
	})
	return r
}

// Session begins another client.
func (r *Recorder) Session() { r.session = events.NewID(time.Now()) }

// Inbound sends a request to the service at base, as one of its clients, and
// returns the answer. Headers are name, value, name, value.
func (r *Recorder) Inbound(base, method, target, body string, headers ...string) *events.Response {
	r.t.Helper()
	return r.record(events.Direction_INBOUND, base, "", method, target, body, headers)
}

// Outbound sends a request to the dependency at base, as the service; listen is
// the address that was recorded for it, or "".
func (r *Recorder) Outbound(base, listen, method, target, body string, headers ...string) *events.Response {
	r.t.Helper()
	return r.record(events.Direction_OUTBOUND, base, listen, method, target, body, headers)
}

func (r *Recorder) record(d events.Direction, base, listen, method, target, body string, headers []string) *events.Response {
	r.t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		r.t.Fatal(err)
	}
	p := r.pools[base]
	if p == nil {
		p = &http1.Pool{Target: u}
		r.pools[base] = p
	}
	request := Request(method, target, body, append([]string{"Host", u.Host}, headers...)...)
	request.Direction = d
	x, err := p.Client().Do(r.t.Context(), request)
	if err != nil || x.Failure != "" {
		r.t.Fatalf("record %s %s: %v %s", method, target, err, x.GetFailure())
	}
	x.Connection.Id, x.Connection.Listen = r.session[:], listen
	r.Add(x)
	return x.Response
}

// Add adds an exchange to the recording.
func (r *Recorder) Add(x *events.Exchange) {
	about := new(http1.Protocol).Describe(x)
	row := events.Row{
		ID: events.ID(x.Id), Kind: events.Kind_EXCHANGE, Time: time.Unix(0, x.Request.FirstByte).UTC(),
		Cluster: "local", Namespace: "default", Service: "shop",
		Direction: x.Direction, Protocol: x.Protocol, Host: about.Endpoint.Host, Method: about.Endpoint.Method, Template: about.Endpoint.Template,
		Path: about.Path, Status: about.Status, Class: about.Class, Session: about.Session, Connection: events.ID(x.Connection.Id),
	}
	if r.Edit != nil {
		r.Edit(&row, x)
	}
	r.rows = append(r.rows, row)
	r.exchanges = append(r.exchanges, x)
}

// Request is an exchange with a request alone.
func Request(method, target, body string, headers ...string) *events.Exchange {
	x := &events.Exchange{Direction: events.Direction_INBOUND, Protocol: http1.Name, Request: &events.Request{
		Method: method, Target: target, Version: "HTTP/1.1", Scheme: "http",
	}}
	if body != "" {
		headers = append(headers, "Content-Type", "application/json", "Content-Length", strconv.Itoa(len(body)))
		x.Request.Body = &events.Body{Data: []byte(body), Size: int64(len(body)), Kept: int64(len(body))}
	}
	for i := 0; i+1 < len(headers); i += 2 {
		x.Request.Headers = append(x.Request.Headers, &events.Field{Name: []byte(headers[i]), Value: []byte(headers[i+1])})
	}
	x.Request.Host = events.HeaderValue(x.Request.Headers, "Host")
	return x
}

// Archive is an empty archive.
func Archive(t testing.TB) *tapes.Archive {
	t.Helper()
	a, err := tapes.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Save makes a scenario of the recording.
func (r *Recorder) Save(bucket tapes.Bucket, name string) *scenario.Scenario {
	r.t.Helper()
	b := scenario.NewBuilder(scenario.Options{
		Name: name, Version: scenario.Version(name), Request: name, Protocols: []wire.Protocol{new(http1.Protocol)}, TempDir: r.t.TempDir(),
	})
	defer b.Close()
	for i := range r.exchanges {
		if err := b.Add(&r.rows[i], r.exchanges[i]); err != nil {
			r.t.Fatal(err)
		}
	}
	if _, err := b.Finish(r.t.Context(), bucket); err != nil {
		r.t.Fatal(err)
	}
	s, err := scenario.Open(r.t.Context(), bucket, name, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}
