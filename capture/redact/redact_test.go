package redact

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

func testKey(t testing.TB) *Key {
	t.Helper()
	keys, err := ParseKeys(strings.Repeat("0123456789abcdef", 4))
	if err != nil {
		t.Fatal(err)
	}
	return keys.list[0]
}

// tokens writes T(value) where the token of value stands.
func tokens(k *Key, s string, values ...string) string {
	for _, v := range values {
		if number := string(k.number(treatment{Credential, Token}, []byte(v))); isDigit(v[0]) {
			s = strings.ReplaceAll(s, number, "T("+v+")")
		}
		for c := None + 1; c < classes; c++ {
			if token := string(k.shaped(c, []byte(v))); token != v && c != CVV {
				s = strings.ReplaceAll(s, token, "T("+v+")")
			}
		}
	}
	for _, v := range values {
		s = strings.ReplaceAll(s, string(k.Token([]byte(v))), "T("+v+")")
	}
	return s
}

func TestFields(t *testing.T) {
	k := testKey(t)
	e := New(k)
	for _, test := range []struct{ name, value, want string }{
		{"Authorization", "Bearer abc", "Bearer T(abc)"},
		{"authorization", "Basic dXNlcjpwYXNz=", "Basic T(dXNlcjpwYXNz=)"},
		{"Authorization", "abc", "T(abc)"},
		{"Proxy-Authorization", "Bearer  abc", "Bearer  T(abc)"},
		{"Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=abc",
			"AWS4-HMAC-SHA256 Credential=T(AKID)/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=T(abc)"},
		{"Authorization", `Digest username="u", realm="r", response="abc", nc=1`, `Digest username="T(u)", realm="r", response="T(abc)", nc=1`},
		{"Cookie", "sid=abc; theme=dark;flag", "sid=T(abc); theme=T(dark);T(flag)"},
		{"Set-Cookie", "sid=abc; Path=/; HttpOnly", "sid=T(abc); Path=/; HttpOnly"},
		{"Set-Cookie", "sid=; Max-Age=0", "sid=; Max-Age=0"},
		{"X-Api-Key", "abc", "T(abc)"},
		{"X-AUTH-TOKEN", "abc", "T(abc)"},
		{"X-Amz-Security-Token", "abc", "T(abc)"},
		{"X-Continuation-Token", "abc", "abc"},
		{"Location", "https://u:p@x/cb?access_token=abc&n=1#top", "https://T(u:p)@x/cb?access_token=T(abc)&n=1#top"},
		{"Content-Type", "text/plain", "text/plain"},
		{"X-Request-Id", "abc", "abc"},
	} {
		got := tokens(k, fieldOf(e, test.name, test.value), "abc", "dXNlcjpwYXNz=", "AKID", "u", "dark", "flag", "u:p")
		if got != test.want {
			t.Errorf("%s: %s: got %q, want %q", test.name, test.value, got, test.want)
		}
		twice := fieldOf(e, test.name, fieldOf(e, test.name, test.value))
		if got := tokens(k, twice, "abc", "dXNlcjpwYXNz=", "AKID", "u", "dark", "flag", "u:p"); got != test.want {
			t.Errorf("%s: %s: twice got %q, want %q", test.name, test.value, got, test.want)
		}
	}
}

func fieldOf(e *Engine, name, value string) string {
	return string(scope{view: e.plain, marks: &marks{}}.field([]byte(name), []byte(value)))
}

func targetOf(e *Engine, target string) string {
	out, _ := scope{view: e.plain, marks: &marks{}}.target([]byte(target))
	return string(out)
}

func TestTarget(t *testing.T) {
	k := testKey(t)
	for in, want := range map[string]string{
		"/a?x=1&access_token=abc&y=2":     "/a?x=1&access_token=T(abc)&y=2",
		"/a?TOKEN=a%2Fb+c":                "/a?TOKEN=T(a/b c)",
		"/a?api%5Fkey=abc":                "/a?api%5Fkey=T(abc)",
		"/a?token=":                       "/a?token=",
		"/a?page_token=abc":               "/a?page_token=abc",
		"/a?sig=abc#sig=abc":              "/a?sig=T(abc)#sig=T(abc)",
		"http://abc@h/a?b=c":              "http://T(abc)@h/a?b=c",
		"/redirect?to=http://abc@h/":      "/redirect?to=http%3A%2F%2FT(abc)%40h%2F",
		"/a?X-Amz-Signature=abc&%zz=1&;;": "/a?X-Amz-Signature=T(abc)&%zz=1&;;",
		"*":                               "*",
	} {
		if got := tokens(k, targetOf(New(k), in), "abc", "a/b c"); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

var bodies = []struct{ in, want, places string }{
	{`{"token":"abc","n":1}`, `{"token":"T(abc)","n":1}`, "$.token"},
	{`{"user":{"Access_Token" : "abc"},"list":[{"api-key":"abc"},{"x":"y"}]}`, `{"user":{"Access_Token" : "T(abc)"},"list":[{"api-key":"T(abc)"},{"x":"y"}]}`, "$.user.Access_Token $.list[0].api-key"},
	{`{"tok\u0065n":"a\u0062c"}`, `{"tok\u0065n":"T(abc)"}`, "$.token"},
	{`{"secret":["abc","abc",{"name":"abc"}],"z":"abc"}`, `{"secret":["T(abc)","T(abc)",{"name":"abc"}],"z":"abc"}`, "$.secret[0] $.secret[1]"},
	{`{"token":123,"jwt":null,"sid":true,"secret":""}`, `{"token":T(123),"jwt":null,"sid":true,"secret":""}`, "$.token"},
	{`{"authorization":"Bearer abc"}`, `{"authorization":"Bearer T(abc)"}`, "$.authorization"},
	{`{"a":"token","b":"\"token\":\"abc\""}`, `{"a":"token","b":"\"token\":\"T(abc)\""}`, "$.b"},
	{`{"token":"a\\"}{"token":"abc"}`, `{"token":"T(a\)"}{"token":"T(abc)"}`, "$.token"},
	{`{"next_page_token":"abc"}`, `{"next_page_token":"abc"}`, ""},
	{`["token","abc"]`, `["token","abc"]`, ""},
	{`{"token":"cut of`, `{"token":"T(cut of)`, "$.token"},
	{`}}]],,::{"token":"abc"}`, `}}]],,::{"token":"T(abc)"}`, "$.token"},
}

func newBody(e *Engine) *Body {
	return e.Body(jsonExchange(), events.Side_REQUEST, []byte("{"))
}

func jsonExchange() *events.Exchange { return exchangeOf("application/json", "") }

func exchangeOf(contentType, coding string) *events.Exchange {
	headers := []*events.Field{{Name: []byte("Content-Type"), Value: []byte(contentType)}}
	if coding != "" {
		headers = append(headers, &events.Field{Name: []byte("Content-Encoding"), Value: []byte(coding)})
	}
	return &events.Exchange{Request: &events.Request{Headers: headers}}
}

func placesOf(b *Body) string {
	var places []string
	for _, m := range b.Marks() {
		places = append(places, m.Place)
	}
	return strings.Join(places, " ")
}

func TestBody(t *testing.T) {
	k := testKey(t)
	for _, test := range bodies {
		for n := 1; n <= len(test.in); n++ {
			b := newBody(New(k))
			var out []byte
			for i := 0; i < len(test.in); i += n {
				out = b.Write(out, []byte(test.in[i:min(i+n, len(test.in))]))
			}
			out = b.Close(out)
			if got := tokens(k, string(out), "abc", `a\`, "cut of", "123"); got != test.want {
				t.Fatalf("%s in pieces of %d: got %s, want %s", test.in, n, got, test.want)
			}
			if got := placesOf(b); got != test.places || b.Changed() != (test.places != "") {
				t.Fatalf("%s: got places %q, changed %v, want %q", test.in, got, b.Changed(), test.places)
			}
		}
	}
}

func TestBodyOfLongCredential(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	b := newBody(New(testKey(t)))
	out := b.Close(b.Write(nil, []byte(`{"token":"`+long+`","n":"`+long+`"}`)))
	if want := len(`{"token":"","n":""}`) + len(long) + 32 + len(testKey(t).prefix); len(out) != want {
		t.Errorf("got %d bytes, want %d", len(out), want)
	}
}

func TestWhichBodies(t *testing.T) {
	e := New(testKey(t))
	for _, test := range []struct {
		contentType, coding, first string
		want                       bool
	}{
		{"application/json", "", `{}`, true},
		{"application/problem+JSON; charset=utf-8", "identity", `x`, true},
		{"", "", ` [1]`, true},
		{"text/plain", "", `{"a":1}`, true},
		{"text/plain", "", `a`, true},
		{"text/html", "", `{}`, true},
		{"application/json", "gzip", `{}`, true},
		{"application/json", "", "", false},
	} {
		headers := []*events.Field{{Name: []byte("Content-Type"), Value: []byte(test.contentType)}, {Name: []byte("content-encoding"), Value: []byte(test.coding)}}
		if got := e.Body(&events.Exchange{Request: &events.Request{Headers: headers}}, events.Side_REQUEST, []byte(test.first)) != nil; got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

func TestExchangeKeepsEqualValuesEqual(t *testing.T) {
	k := testKey(t)
	e := New(k)
	x := &events.Exchange{
		Request: &events.Request{Target: "/a?token=abc", Headers: []*events.Field{{Name: []byte("Authorization"), Value: []byte("Bearer abc")}}},
		Response: &events.Response{Headers: []*events.Field{{Name: []byte("Set-Cookie"), Value: []byte("sid=abc; Path=/")}},
			Trailers: []*events.Field{{Name: []byte("X-Token"), Value: []byte("abc")}}},
	}
	if !e.Head(x) {
		t.Fatal("Head says that nothing was replaced")
	}
	got := fmt.Sprint(x.Request.Target, " ", string(x.Request.Headers[0].Value), " ", string(x.Response.Headers[0].Value), " ", string(x.Response.Trailers[0].Value))
	if got := tokens(k, got, "abc"); got != "/a?token=T(abc) Bearer T(abc) sid=T(abc); Path=/ T(abc)" {
		t.Errorf("got %s", got)
	}
	var places []string
	for _, r := range x.Redactions {
		places = append(places, r.Place)
	}
	want := []string{"request.query.token", "request.header.Authorization", "response.header.Set-Cookie", "response.trailer.X-Token"}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
	if e.Head(x) {
		t.Error("a second pass replaced tokens")
	}
}

func TestNilEngineLeavesEverything(t *testing.T) {
	var e *Engine
	x := &events.Exchange{Request: &events.Request{Target: "/a?token=abc"}}
	if e.Head(x) || x.Request.Target != "/a?token=abc" || e.KeyID() != "" || e.MAC() != nil || e.Body(x, events.Side_REQUEST, []byte("{}")) != nil {
		t.Errorf("a nil engine did something: %v", x)
	}
}

// FuzzBody: never invalid JSON from valid JSON, idempotent, the same however
// the body is split.
func FuzzBody(f *testing.F) {
	for _, test := range bodies {
		f.Add([]byte(test.in), 3)
	}
	k := testKey(f)
	e := New(k)
	redact := func(in []byte, n int, earlier []Mark) ([]byte, []Mark) {
		x := jsonExchange()
		for _, m := range earlier {
			m.Place = "request.body." + m.Place
			Add(x, m)
		}
		b := e.Body(x, events.Side_REQUEST, []byte("{"))
		var out []byte
		for len(in) > 0 {
			m := min(n, len(in))
			out, in = b.Write(out, in[:m]), in[m:]
		}
		out = b.Close(out)
		if b.Failed() {
			f.Fatalf("%q: the engine failed", in)
		}
		return out, b.Marks()
	}
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		once, marks := redact(in, 1<<20, nil)
		if json.Valid(in) && !json.Valid(once) {
			t.Errorf("%q became %q", in, once)
		}
		if len(once) > 64*len(in)+1024 {
			t.Errorf("%d bytes became %d", len(in), len(once))
		}
		if json.Valid(in) && len(marks) < MaxMarks {
			if twice, _ := redact(once, 1<<20, marks); string(twice) != string(once) {
				t.Errorf("%q: twice %q, once %q", in, twice, once)
			}
		}
		if pieces, _ := redact(in, max(n%13, 1), nil); json.Valid(in) && string(pieces) != string(once) {
			t.Errorf("%q in pieces of %d: %q, want %q", in, max(n%13, 1), pieces, once)
		}
	})
}
