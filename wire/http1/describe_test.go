package http1

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/wire"
)

// exchangeOf dissects one exchange.
func exchangeOf(t *testing.T, request, response string) *events.Exchange {
	t.Helper()
	c := dissect([]chunk{ask(request), answer(response)}, 1<<20, nil)
	if len(c.ended) != 1 {
		t.Fatalf("%d exchanges, want 1", len(c.ended))
	}
	return c.ended[0]
}

// graphQL is a request for an operation.
func graphQL(document string) string {
	body := fmt.Sprintf(`{"query":%q,"variables":{"id":17}}`, document)
	return fmt.Sprintf("POST /api HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func answered(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func TestDescribe(t *testing.T) {
	for _, test := range []struct{ request, response, want string }{
		{"GET /users/7/x?y=1 HTTP/1.1\r\nHost: Shop:80\r\n\r\n", ok, "shop GET /users/{id}/x /users/7/x 200 ok"},
		{"POST /a HTTP/1.1\r\nHost: shop:8080\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "shop:8080 POST /a /a 404 client"},
		{"GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 503 No\r\n\r\n", " GET / / 503 server"},
		{"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "", "x GET /a /a  failed"},
		{"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", "x GET /a /a 200 failed"},
		{"GET /a HTTP/1.1\r\nHost: x\r\nbad\r\n\r\n", "HTTP/1.1 400 Bad\r\n\r\n", " GET /a /a 400 client"},
		{"GET http://h:1/p/9?q HTTP/1.1\r\nHost: x\r\n\r\n", ok, "x GET /p/{id} /p/9 200 ok"},
		{"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", ok, "x OPTIONS * * 200 ok"},
		{graphQL("query GetCart { cart }"), answered(`{"data":{}}`), "x POST /api query GetCart /api 200 ok"},
		{graphQL("mutation Add { add }"), answered(`{"errors":[{}],"data":null}`), "x POST /api mutation Add /api 200 server"},
		{graphQL("red shoes"), answered(`{"errors":[{}]}`), "x POST /api /api 200 ok"},
		{"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "h:443 CONNECT h:443 h:443 200 ok"},
	} {
		d := (&Protocol{}).Describe(exchangeOf(t, test.request, test.response))
		got := fmt.Sprintf("%s %s %s %s %s %s", d.Endpoint.Host, d.Endpoint.Method, d.Endpoint.Template, d.Path, d.Status, d.Class.Name())
		if got != test.want {
			t.Errorf("%q: got %q, want %q", test.request, got, test.want)
		}
		if d.Endpoint.Protocol != "http" || d.Endpoint.Direction != events.Direction_INBOUND || d.Endpoint.Replay {
			t.Errorf("%q: endpoint %v", test.request, d.Endpoint)
		}
	}
}

// A written template stands for the shape; what else there is stays.
func TestWrittenTemplates(t *testing.T) {
	p := &Protocol{Templates: func(d events.Direction, host, path string) (string, bool) {
		return "/users/{name}", d == events.Direction_INBOUND && host == "shop" && path == "/users/alice"
	}}
	for target, want := range map[string]string{"/users/alice?x=1": "/users/{name}", "/users/alice/7": "/users/alice/{id}", "*": "*"} {
		x := exchangeOf(t, "GET "+target+" HTTP/1.1\r\nHost: shop:80\r\n\r\n", ok)
		if got := p.Describe(x).Endpoint.Template; got != want {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
		if p.Signature(x) != (&Protocol{}).Signature(x) {
			t.Errorf("%s: the signature, which a mock server makes without documents, differs", target)
		}
	}
}

func TestDescribeOutboundNamesTheDependency(t *testing.T) {
	x := exchangeOf(t, "GET /a HTTP/1.1\r\nHost: localhost:8081\r\n\r\n", ok)
	x.Direction = events.Direction_OUTBOUND
	x.Connection.Server, x.Connection.Listen = "payments:443", "127.0.0.1:8081"
	if got := (&Protocol{}).Describe(x).Endpoint.Host; got != "payments:443" {
		t.Errorf("fixed dependency: host %q", got)
	}
	x.Connection.Listen = ""
	if got := (&Protocol{}).Describe(x).Endpoint.Host; got != "localhost:8081" {
		t.Errorf("as the caller named it: host %q", got)
	}
}

func TestDescribeMarks(t *testing.T) {
	x := exchangeOf(t, "GET /a HTTP/1.1\r\nHost: x\r\nTapedeck-Replay: r1.s2\r\nX-Tenant: t\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n", ok)
	d := (&Protocol{Tags: []string{"X-Tenant"}}).Describe(x)
	if d.ReplayID != "r1" || !d.Endpoint.Replay || len(d.Tags) != 1 || d.Trace.String() != "0af7651916cd43dd8448eb211c80319c" || d.Span.String() != "b7ad6b7169203331" {
		t.Errorf("got %+v", d)
	}
}

func TestSignature(t *testing.T) {
	sign := func(request string) wire.Signature {
		return (&Protocol{}).Signature(exchangeOf(t, request, ok))
	}
	body := func(target, json string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", target, len(json), json)
	}
	for _, test := range []struct {
		name                string
		a, b                string
		exact, shape, route bool
	}{
		{"equal", body("/a?x=1", `{"q":3}`), body("/a?x=1", `{"q":3}`), true, true, true},
		{"other headers", "GET /a HTTP/1.1\r\nHost: x\r\nDate: 1\r\n\r\n", "GET /a HTTP/1.1\r\nHost: y\r\n\r\n", true, true, true},
		{"order of keys and parameters", body("/a?x=1&y=2", `{"q":3,"r":4}`), body("/a?y=2&x=1", `{ "r":4, "q":3 }`), false, true, true},
		{"volatile values", body("/a/17?at=2026-11-23", `{"id":9,"trace":"0192a0c4-7f3e-7cc3-98c4-dc0c0c07398f","ts":1795456800}`),
			body("/a/18?at=2026-11-24", `{"id":8,"trace":"0192a0c4-7f3e-7cc3-98c4-dc0c0c073990","ts":1795456999}`), false, true, true},
		{"three are not four", body("/a", `{"apples":3}`), body("/a", `{"apples":4}`), false, false, true},
		{"names differ", body("/a", `{"name":"x"}`), body("/a", `{"name":"y"}`), false, false, true},
		{"no JSON", body("/a", `q=1`), body("/a", `q=2`), false, false, true},
		{"broken JSON", body("/a", `{"q":1`), body("/a", `{"q":2`), false, false, true},
		{"other path", body("/a", ``), body("/b", ``), false, false, false},
		{"other method", "GET /a HTTP/1.1\r\n\r\n", "PUT /a HTTP/1.1\r\n\r\n", false, false, false},
		{"GraphQL, laid out differently", graphQL("query A { a }"), graphQL("query A {\n a\n}"), false, false, true},
		{"GraphQL, another operation", graphQL("query A { a }"), graphQL("query B { a }"), false, false, false},
		{"a query is not a body", body("/a?b", ``), body("/a", `b`), false, false, true},
	} {
		a, b := sign(test.a), sign(test.b)
		got := []bool{a.Exact == b.Exact, a.Shape == b.Shape, a.Route == b.Route}
		if diff := cmp.Diff([]bool{test.exact, test.shape, test.route}, got); diff != "" {
			t.Errorf("%s: exact, shape, route (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestDetect(t *testing.T) {
	for first, want := range map[string]wire.Match{
		"": wire.More, "GE": wire.More, "GET": wire.More, "GET ": wire.More, "GET /": wire.Yes, "M-SEARCH *": wire.Yes, "\r\nGET /": wire.Yes, "get /": wire.Yes,
		"PRI * HTTP/2.0\r\n": wire.No, "PRI * HT": wire.More, "PRI /a": wire.Yes, "\x16\x03\x01": wire.No, " GET": wire.No, "GET  /": wire.No,
		"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJK": wire.No, "SSH-2.0-x": wire.No, "{\"a\"": wire.No,
	} {
		if got := (&Protocol{}).Detect([]byte(first)); got != want {
			t.Errorf("%q: got %v, want %v", first, got, want)
		}
	}
}
