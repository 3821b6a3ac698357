package redact

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

func testKey(t testing.TB) *Key {
	t.Helper()
	k, err := ParseKey(strings.Repeat("0123456789abcdef", 4))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// tokens writes T(value) where the token of value stands.
func tokens(k *Key, s string, values ...string) string {
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
		got := tokens(k, string(e.field([]byte(test.name), []byte(test.value))), "abc", "dXNlcjpwYXNz=", "AKID", "u", "dark", "flag", "u:p")
		if got != test.want {
			t.Errorf("%s: %s: got %q, want %q", test.name, test.value, got, test.want)
		}
		twice := e.field([]byte(test.name), e.field([]byte(test.name), []byte(test.value)))
		if got := tokens(k, string(twice), "abc", "dXNlcjpwYXNz=", "AKID", "u", "dark", "flag", "u:p"); got != test.want {
			t.Errorf("%s: %s: twice got %q, want %q", test.name, test.value, got, test.want)
		}
	}
}

func TestTarget(t *testing.T) {
	k := testKey(t)
	for in, want := range map[string]string{
		"/a?x=1&access_token=abc&y=2":     "/a?x=1&access_token=T(abc)&y=2",
		"/a?TOKEN=a%2Fb+c":                "/a?TOKEN=T(a/b c)",
		"/a?api%5Fkey=abc":                "/a?api%5Fkey=T(abc)",
		"/a?token=":                       "/a?token=",
		"/a?page_token=abc":               "/a?page_token=abc",
		"/a?sig=abc#sig=abc":              "/a?sig=T(abc)#sig=abc",
		"http://abc@h/a?b=c":              "http://T(abc)@h/a?b=c",
		"/redirect?to=http://abc@h/":      "/redirect?to=http://abc@h/",
		"/a?X-Amz-Signature=abc&%zz=1&;;": "/a?X-Amz-Signature=T(abc)&%zz=1&;;",
		"*":                               "*",
	} {
		if got := tokens(k, New(k).target(in, marker{}), "abc", "a/b c"); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

var bodies = []struct{ in, want, places string }{
	{`{"token":"abc","n":1}`, `{"token":"T(abc)","n":1}`, "$.token"},
	{`{"user":{"Access_Token" : "abc"},"list":[{"api-key":"abc"},{"x":"y"}]}`, `{"user":{"Access_Token" : "T(abc)"},"list":[{"api-key":"T(abc)"},{"x":"y"}]}`, "$.user.Access_Token $.list[0].api-key"},
	{`{"tok\u0065n":"a\u0062c"}`, `{"tok\u0065n":"T(abc)"}`, "$.token"},
	{`{"secret":["abc","abc",{"name":"abc"}],"z":"abc"}`, `{"secret":["T(abc)","T(abc)",{"name":"abc"}],"z":"abc"}`, "$.secret[0] $.secret[1]"},
	{`{"token":123,"jwt":null,"sid":true,"secret":""}`, `{"token":123,"jwt":null,"sid":true,"secret":""}`, ""},
	{`{"authorization":"Bearer abc"}`, `{"authorization":"Bearer T(abc)"}`, "$.authorization"},
	{`{"a":"token","b":"\"token\":\"abc\""}`, `{"a":"token","b":"\"token\":\"abc\""}`, ""},
	{`{"token":"a\\"}{"token":"abc"}`, `{"token":"T(a\)"}{"token":"T(abc)"}`, "$.token"},
	{`{"next_page_token":"abc"}`, `{"next_page_token":"abc"}`, ""},
	{`["token","abc"]`, `["token","abc"]`, ""},
	{`{"token":"cut of`, `{"token":"T(cut of)`, "$.token"},
	{`}}]],,::{"token":"abc"}`, `}}]],,::{"token":"T(abc)"}`, "$.token"},
}

func TestBody(t *testing.T) {
	k := testKey(t)
	for _, test := range bodies {
		for n := 1; n <= len(test.in); n++ {
			b := &Body{engine: New(k)}
			var out []byte
			for i := 0; i < len(test.in); i += n {
				out = b.Write(out, []byte(test.in[i:min(i+n, len(test.in))]))
			}
			out = b.Close(out)
			if got := tokens(k, string(out), "abc", `a\`, "cut of"); got != test.want {
				t.Fatalf("%s in pieces of %d: got %s, want %s", test.in, n, got, test.want)
			}
			if got := strings.Join(b.Places(), " "); got != test.places || b.Changed() != (test.places != "") {
				t.Fatalf("%s: got places %q, changed %v, want %q", test.in, got, b.Changed(), test.places)
			}
		}
	}
}

func TestBodyOfLongCredential(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	b := &Body{engine: New(testKey(t))}
	out := b.Close(b.Write(nil, []byte(`{"token":"`+long+`","n":"`+long+`"}`)))
	if want := len(`{"token":"","n":""}`) + len(long) + 32 + len(testKey(t).prefix); len(out) != want {
		t.Errorf("got %d bytes, want %d", len(out), want)
	}
	if cap(b.text) > 2*maxValue {
		t.Errorf("holds %d bytes of text, want at most %d", cap(b.text), 2*maxValue)
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
		{"text/plain", "", `a`, false},
		{"text/html", "", `{}`, false},
		{"application/json", "gzip", `{}`, false},
		{"application/json", "", "", false},
	} {
		headers := []*events.Field{{Name: []byte("Content-Type"), Value: []byte(test.contentType)}, {Name: []byte("content-encoding"), Value: []byte(test.coding)}}
		if got := e.Body(headers, []byte(test.first)) != nil; got != test.want {
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
	if e.Head(x) || x.Request.Target != "/a?token=abc" || e.KeyID() != "" || e.MAC() != nil || e.Body(nil, []byte("{}")) != nil {
		t.Errorf("a nil engine did something: %v", x)
	}
}

func TestOpenKey(t *testing.T) {
	t.Setenv(KeyVariable, "")
	path := filepath.Join(t.TempDir(), "data", "redaction.key")
	first, err := OpenKey(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenKey(path)
	if err != nil || second.ID() != first.ID() {
		t.Fatalf("opened again: %v, id %v, want %v", err, second, first)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", first, first, first), fmt.Sprintf("%x", first.secret)) {
		t.Error("the key prints itself")
	}
	t.Setenv(KeyVariable, strings.Repeat("ab", 32))
	if k, err := OpenKey(path); err != nil || k.ID() == first.ID() {
		t.Errorf("from the environment: %v, %v", k, err)
	}
	t.Setenv(KeyVariable, "too short")
	if _, err := OpenKey(path); err == nil || strings.Contains(err.Error(), "too short") {
		t.Errorf("a bad key: got %v, want an error that doesn't show it", err)
	}
}

// FuzzBody: never invalid JSON from valid JSON, idempotent, the same however
// the body is split.
func FuzzBody(f *testing.F) {
	for _, test := range bodies {
		f.Add([]byte(test.in), 3)
	}
	k := testKey(f)
	redact := func(in []byte, n int) []byte {
		b := &Body{engine: New(k)}
		var out []byte
		for len(in) > 0 {
			m := min(n, len(in))
			out, in = b.Write(out, in[:m]), in[m:]
		}
		return b.Close(out)
	}
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		once := redact(in, 1<<20)
		if json.Valid(in) && !json.Valid(once) {
			t.Errorf("%q became %q", in, once)
		}
		if json.Valid(in) {
			if twice := redact(once, 1<<20); string(twice) != string(once) {
				t.Errorf("%q: twice %q, once %q", in, twice, once)
			}
		}
		if pieces := redact(in, max(n%13, 1)); string(pieces) != string(once) {
			t.Errorf("%q in pieces of %d: %q, want %q", in, max(n%13, 1), pieces, once)
		}
	})
}

func BenchmarkBody(b *testing.B) {
	in := []byte(`{"items":[` + strings.Repeat(`{"id":"0192a0c4","name":"a product","price":12.5,"tags":["a","b"]},`, 28) + `{}],"token":"abc"}`)
	e := New(testKey(b))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	var out []byte
	for b.Loop() {
		body := &Body{engine: e}
		out = body.Close(body.Write(out[:0], in))
	}
}
