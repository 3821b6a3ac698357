package graphql

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"tapedeck/events"
)

// post is a request with a body of a type.
func post(kind, body string) *events.Request {
	return &events.Request{Method: "POST", Target: "/graphql", Headers: headers("Content-Type", kind), Body: &events.Body{Data: []byte(body)}}
}

func headers(pairs ...string) []*events.Field {
	var all []*events.Field
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, &events.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return all
}

// body is a JSON body of members.
func body(t testing.TB, members map[string]any) string {
	t.Helper()
	b, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDocuments(t *testing.T) {
	for _, test := range []struct{ document, name, want string }{
		{"query GetCart { cart { id } }", "", "query GetCart"},
		{"query GetCart{cart{id}}", "GetCart", "query GetCart"},
		{"mutation AddItem($id: ID! = \"}\", $n: [Int!]! = [1, 2]) @live(if: true) { add(id: $id, n: $n) { id } }", "", "mutation AddItem"},
		{"subscription OnPrice { price }", "", "subscription OnPrice"},
		{"{ cart { id } user }", "", "query {cart,user}"},
		{"{ mine: cart(first: 2) @include(if: true) { id }, cart { n } }", "", "query {cart}"},
		{"query { a b c d e }", "", "query {a,b,c,d,…}"},
		{"mutation { pay(card: \"\"\"a } \\\"\"\" {\"\"\") { ok } }", "", "mutation {pay}"},
		{"# a comment {\n query A { a } # another }\n query B { b }", "B", "query B"},
		{"query A { a } query B { b }", "", "query A"},
		{"query A { a }", "B", ""},
		{"fragment F on Cart @x { id } query A { cart { ...F } }", "", "query A"},
		{"query A { cart { id } ...F ... on Query { b } ... @skip(if: true) { c } d }", "A", "query A"},
		{"query GetCart_123 { cart }", "", "query GetCart_{id}"},
		{"query 1a { a }", "", ""},
		{"query red shoes", "", ""},
		{"mutation", "", ""},
		{"red shoes", "", ""},
		{"SELECT * FROM users", "", ""},
		{"{}", "", ""},
		{`{"match":{"title":"x"}}`, "", ""},
		{"query A { a", "", ""},
		{"fragment F on Cart { id }", "", ""},
		{"fragment on on Cart { id }", "", ""},
		{"query " + strings.Repeat("x", maxName+1) + " { a }", "", ""},
		{strings.Repeat("{a", 10000), "", ""},
	} {
		if got := operationOf(test.document, test.name); got != test.want {
			t.Errorf("%.80q, %q: got %q, want %q", test.document, test.name, got, test.want)
		}
	}
}

func TestBodies(t *testing.T) {
	const cart = "query GetCart { cart { id } }"
	hash := strings.Repeat("0123456789abcdef", 4)
	persisted := map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hash}}
	for name, test := range map[string]struct{ kind, body, want string }{
		"plain":                   {"application/json", body(t, map[string]any{"query": cart}), "query GetCart"},
		"charset":                 {"Application/JSON; charset=utf-8", body(t, map[string]any{"query": cart}), "query GetCart"},
		"spaces":                  {"application/json", " {\n \"variables\" : {\"query\":\"x\", \"l\":[1,{}]} , \"query\" : \"query\\u0020A{a}\" } ", "query A"},
		"named":                   {"application/json", body(t, map[string]any{"query": "query A{a} mutation B{b}", "operationName": "B"}), "mutation B"},
		"null name":               {"application/json", `{"operationName":null,"query":"{ a }"}`, "query {a}"},
		"document":                {"application/graphql", cart, "query GetCart"},
		"batch":                   {"application/json", `[{"query":"mutation B{b}"},{"query":"query A{a}"},{"query":"mutation B{b}"}]`, "mutation B, query A"},
		"long batch":              {"application/json", `[{"query":"{a}"},{"query":"{b}"},{"query":"{c}"},{"query":"{d}"},{"query":"{e}"}]`, "query {a}, query {b}, query {c}, query {d}, …"},
		"batch of something else": {"application/json", `[{"query":"{a}"},{"query":"red shoes"}]`, ""},
		"persisted, named":        {"application/json", body(t, map[string]any{"operationName": "GetCart", "extensions": persisted}), "operation GetCart"},
		"persisted":               {"application/json", body(t, map[string]any{"extensions": persisted}), "operation #0123456789ab"},
		"document id":             {"application/json", body(t, map[string]any{"documentId": "sha256:" + hash, "query": nil, "persisted": true}), ""},
		"name alone":              {"application/json", `{"operationName":"GetCart"}`, "operation GetCart"},
		"volatile name":           {"application/json", `{"operationName":"GetCart-1"}`, ""},
		"search":                  {"application/json", `{"query":"red shoes"}`, ""},
		"elastic":                 {"application/json", `{"query":{"match":{"query":"{a}"}}}`, ""},
		"cut off":                 {"application/json", `{"operationName":"GetCart","query":"query Get`, "operation GetCart"},
		"no object":               {"application/json", `"query"`, ""},
		"form":                    {"application/x-www-form-urlencoded", "query=" + cart, ""},
		"empty":                   {"application/json", "", ""},
	} {
		want := test.want
		if name == "document id" {
			want = "operation #0123456789ab"
		}
		if got := Operation(post(test.kind, test.body)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Elsewhere than where GraphQL is served, a name alone says nothing.
func TestOtherPaths(t *testing.T) {
	r := post("application/json", `{"operationName":"Report","query":null}`)
	r.Target = "/jobs?x=1"
	if got := Operation(r); got != "" {
		t.Errorf("got %q", got)
	}
	r.Body.Data = []byte(`{"operationName":"Report","variables":{}}`)
	if got := Operation(r); got != "operation Report" {
		t.Errorf("got %q", got)
	}
}

func TestTargets(t *testing.T) {
	for target, want := range map[string]string{
		"/graphql?query=" + url.QueryEscape("query GetCart{cart{id}}"):                                                "query GetCart",
		"/api?operationName=B&query=" + url.QueryEscape("query A{a} query B{b}"):                                      "query B",
		"/api?extensions=" + url.QueryEscape(`{"persistedQuery":{"sha256Hash":"`+strings.Repeat("0a", 32)+`"}}`):      "operation #0a0a0a0a0a0a",
		"/graphql?operationName=GetCart&extensions=" + url.QueryEscape(`{"persistedQuery":{}}`) + "&variables=%7B%7D": "operation GetCart",
		"/search?query=red+shoes": "",
		"/graphql":                "",
		"/graphql?query=%zz":      "",
		"/x?query=" + strings.Repeat("a", maxQuery): "",
	} {
		if got := Operation(&events.Request{Method: "GET", Target: target}); got != want {
			t.Errorf("%.80s: got %q, want %q", target, got, want)
		}
	}
}

func packed(t testing.TB, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestErrors(t *testing.T) {
	for answer, want := range map[string]bool{
		`{"data":{"errors":[1]}}`:                       false,
		`{"data":{"a":1}}`:                              false,
		`{"data":null,"errors":[{"message":"no"}]}`:     true,
		`{"errors" : [ {"message":"no"} ],"data":null}`: true,
		`{"errors":[]}`:                                 false,
		`{"errors":null}`:                               false,
		`[{"data":{}},{"errors":[{}]}]`:                 true,
		`[{"data":{}}]`:                                 false,
		`{"data":"\"errors\":[1]"}`:                     false,
		`{"errors":[{"mess`:                             true,
		``:                                              false,
	} {
		for _, coding := range []string{"", "gzip"} {
			r := &events.Response{Headers: headers("Content-Encoding", coding), Body: &events.Body{Data: []byte(answer)}}
			if coding != "" {
				r.Body.Data = packed(t, answer)
			}
			if got := HasErrors(r); got != want {
				t.Errorf("%s %s: got %v, want %v", answer, coding, got, want)
			}
		}
	}
	if HasErrors(nil) {
		t.Error("no answer has errors")
	}
	bomb := &events.Response{Headers: headers("Content-Encoding", "gzip"), Body: &events.Body{Data: packed(t, strings.Repeat(" ", 2*events.BodyInline)+`{"errors":[1]}`)}}
	if HasErrors(bomb) {
		t.Error("read beyond the bound")
	}
}

func TestPackedRequest(t *testing.T) {
	r := post("application/json", "")
	r.Headers = append(r.Headers, headers("Content-Encoding", "gzip")...)
	r.Body.Data = packed(t, `{"query":"query A{a}"}`)
	if got := Operation(r); got != "query A" {
		t.Errorf("got %q", got)
	}
}

// FuzzOperation: never panics, is short, and says the same again; a document
// it has read has the operation that it names.
func FuzzOperation(f *testing.F) {
	for _, s := range []string{`{"query":"query A{a}"}`, `[{"query":"{a}"},{}]`, `{"operationName":"A","extensions":{"persistedQuery":{"sha256Hash":"00112233445566778899"}}}`,
		`query A($a:B="}")@x{a:b(c:"""d""")...F ...on X{y}} fragment F on X{z}`, `{"errors":[{}],"data":{"\u0061":[[1]]}}`, `{"query":"\`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []string{"application/json", "application/graphql"} {
			r := post(kind, string(b))
			got := Operation(r)
			if len(got) > (maxNames+1)*(maxNames+1)*(maxName+20) || got != Operation(r) {
				t.Errorf("%q: got %q", b, got)
			}
			if got != "" && kind == "application/graphql" && !strings.Contains(string(b), "{") {
				t.Errorf("%q has %q", b, got)
			}
		}
		Operation(&events.Request{Method: "GET", Target: "/graphql?" + string(b)})
		HasErrors(&events.Response{Body: &events.Body{Data: b}})
		HasErrors(&events.Response{Headers: headers("Content-Encoding", "gzip"), Body: &events.Body{Data: b}})
	})
}

// FuzzMembers: what is valid JSON has the members that encoding/json finds.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[{"c":"}"}],"d\"":null}`, `{}`, `{"a":{"b":"\\"},"c":-1.5e3 ,"d" : true}`, `[]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := map[string]string{}
		for key, value := range members(b) {
			got[key] = string(value)
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(b, &want) != nil {
			return
		}
		for key, value := range want {
			if key == "" || strings.ContainsRune(key, '\ufffd') { // no text, or bytes that encoding/json replaces
				continue
			}
			if got[key] != string(value) {
				t.Errorf("%q: member %q is %q, want %q", b, key, got[key], value)
			}
		}
	})
}

func BenchmarkOperation(b *testing.B) {
	for name, r := range map[string]*events.Request{
		"graphql": post("application/json", `{"operationName":"GetCart","variables":{"id":"17","items":[1,2,3]},"query":"query GetCart($id: ID!) { cart(id: $id) { id items { sku price } } }"}`),
		"other":   post("application/json", `{"items":[{"sku":"a","n":1},{"sku":"b","n":2}],"address":{"street":"x","city":"y"}}`),
		"get":     {Method: "GET", Target: "/cart?id=17&page=2"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Operation(r)
			}
		})
	}
}
