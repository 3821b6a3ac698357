package scenario

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

var began = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// recorder makes exchanges as capture would write them.
type recorder struct {
	now    time.Time
	rows   []events.Row
	all    []*events.Exchange
	client events.ID // connection
}

func newRecorder() *recorder { return &recorder{now: began, client: events.NewID(began)} }

// turn begins another connection.
func (r *recorder) turn() { r.client = events.NewID(r.now) }

type fields []string // name, value, name, value

func (f fields) list() []*events.Field {
	var out []*events.Field
	for i := 0; i+1 < len(f); i += 2 {
		out = append(out, &events.Field{Name: []byte(f[i]), Value: []byte(f[i+1])})
	}
	return out
}

func (f fields) json(body string) fields {
	if body == "" || strings.Contains(strings.ToLower(strings.Join(f, "\n")), "content-type") {
		return f
	}
	return append(f, "Content-Type", "application/json", "Content-Length", strconv.Itoa(len(body)))
}

func bodyOf(s string) *events.Body {
	if s == "" {
		return nil
	}
	return &events.Body{Data: []byte(s), Size: int64(len(s)), Kept: int64(len(s))}
}

func exchangeOf(at time.Time, method, target string, header fields, body string, status int, answer fields, answerBody string) *events.Exchange {
	id := events.NewID(at)
	return &events.Exchange{
		Id: id[:], Direction: events.Direction_INBOUND, Protocol: "http",
		Connection: &events.Connection{Id: id[:]},
		Request: &events.Request{
			Method: method, Scheme: "http", Host: "shop.test", Target: target, Version: "HTTP/1.1",
			Headers: append(fields{"Host", "shop.test"}, header.json(body)...).list(), Body: bodyOf(body),
			FirstByte: at.UnixNano(), LastByte: at.UnixNano() + 1000,
		},
		Response: &events.Response{
			Status: strconv.Itoa(status), Reason: "OK", Version: "HTTP/1.1",
			Headers: append(fields{"Date", at.Format(time.RFC1123)}, answer.json(answerBody)...).list(), Body: bodyOf(answerBody),
			FirstByte: at.UnixNano() + 2e6, LastByte: at.UnixNano() + 3e6,
		},
	}
}

func (r *recorder) inbound(method, target string, header fields, body string, status int, answer fields, answerBody string) *events.Exchange {
	x := exchangeOf(r.now, method, target, header, body, status, answer, answerBody)
	return r.keep(x)
}

func (r *recorder) outbound(host, method, target string, body string, status int, answerBody string) *events.Exchange {
	x := exchangeOf(r.now, method, target, nil, body, status, nil, answerBody)
	x.Direction, x.Request.Host = events.Direction_OUTBOUND, host
	x.Request.Headers[0].Value = []byte(host)
	return r.keep(x)
}

func (r *recorder) keep(x *events.Exchange) *events.Exchange {
	client := r.client // of now
	x.Connection.Id = client[:]
	r.rows = append(r.rows, rowOf(x))
	r.all = append(r.all, x)
	r.now = r.now.Add(50 * time.Millisecond)
	return x
}

func rowOf(x *events.Exchange) events.Row {
	d := new(http1.Protocol).Describe(x)
	return events.Row{
		ID: events.ID(x.Id), Kind: events.Kind_EXCHANGE, Time: time.Unix(0, x.Request.FirstByte).UTC(),
		Cluster: "local", Namespace: "default", Service: "shop",
		Direction: x.Direction, Protocol: x.Protocol, Host: x.Request.Host, Method: d.Endpoint.Method, Template: d.Endpoint.Template,
		Path: d.Path, Status: d.Status, Class: d.Class, Session: d.Session, Connection: events.ID(x.Connection.Id),
	}
}

// token is what redaction makes of a credential.
func token(n int) string { return fmt.Sprintf("td1_k1_%032x", n) }

// shop records a customer: log-in, list, order, the order again, with the
// calls to catalog and payments below.
func (r *recorder) shop(n int, order int) {
	r.turn()
	auth := fields{"Authorization", "Bearer " + token(n)}
	r.inbound("POST", "/login", nil, fmt.Sprintf(`{"user":"user%d","password":"secret"}`, n), 200, nil,
		fmt.Sprintf(`{"token":"%s","expires_at":"%s"}`, token(n), r.now.Add(time.Hour).Format(time.RFC3339)))
	r.outbound("catalog.test", "GET", "/products", "", 200, products)
	r.inbound("GET", "/products", auth, "", 200, nil, products)
	r.outbound("payments.test", "POST", "/charges", fmt.Sprintf(`{"order_id":%d,"amount":1998,"currency":"EUR"}`, order), 201,
		fmt.Sprintf(`{"charge_id":"ch_9f8e7d6c5b%d","order_id":%d,"amount":1998,"status":"captured"}`, n, order))
	r.inbound("POST", "/orders", auth, `{"items":[{"sku":"sku-17","count":2}]}`, 201, fields{"Location", fmt.Sprintf("/orders/%d", order)},
		orderJSON(order, n, r.now))
	r.inbound("GET", fmt.Sprintf("/orders/%d", order), auth, "", 200, nil, orderJSON(order, n, r.now))
}

const products = `{"items":[{"id":"6d1c3b1e-5d0a-4b60-8f0e-0d1f6f5f0a01","sku":"sku-17","price":999},{"id":"6d1c3b1e-5d0a-4b60-8f0e-0d1f6f5f0a02","sku":"sku-18","price":250}]}`

func orderJSON(order, n int, at time.Time) string {
	return fmt.Sprintf(`{"id":%d,"charge":"ch_9f8e7d6c5b%d","total":1998,"currency":"EUR","created_at":"%s","items":[{"sku":"sku-17","count":2}]}`,
		order, n, at.Format(time.RFC3339Nano))
}

func protocols() []wire.Protocol { return []wire.Protocol{new(http1.Protocol)} }

func openBucket(t testing.TB) *tapes.Archive {
	t.Helper()
	a, err := tapes.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *recorder) build(t testing.TB, bucket tapes.Bucket, o Options) *Manifest {
	t.Helper()
	o.Name, o.Version, o.Request, o.Protocols, o.TempDir = "checkout", Version("r1"), "r1", protocols(), t.TempDir()
	b := NewBuilder(o)
	defer b.Close()
	for i := range r.all {
		if err := b.Add(&r.rows[i], r.all[i]); err != nil {
			t.Fatal(err)
		}
	}
	m, err := b.Finish(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (r *recorder) sessions(t testing.TB) []*Session {
	t.Helper()
	bucket := openBucket(t)
	r.build(t, bucket, Options{})
	return readTests(t, openScenario(t, bucket), Share{})
}

func openScenario(t testing.TB, bucket tapes.Bucket) *Scenario {
	t.Helper()
	s, err := Open(t.Context(), bucket, "checkout", "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readTests(t testing.TB, s *Scenario, share Share) []*Session {
	t.Helper()
	var out []*Session
	for session, err := range s.Tests(t.Context(), share) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, session)
	}
	return out
}

func readMocks(t testing.TB, s *Scenario, dependency string) []*Mock {
	t.Helper()
	var out []*Mock
	for mock, err := range s.Mocks(t.Context(), dependency) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, mock)
	}
	return out
}

// linksText writes links as "2 response.body.$.id → 3 request.path[1]".
func linksText(links []*Link) []string {
	out := []string{}
	for _, l := range links {
		out = append(out, fmt.Sprintf("%d %s → %d %s", l.From, l.FromPlace, l.To, l.ToPlace))
	}
	return out
}

func volatileText(all []*Volatile) []string {
	out := []string{}
	for _, v := range all {
		out = append(out, v.Place+" "+v.Class)
	}
	return out
}

func compactJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
