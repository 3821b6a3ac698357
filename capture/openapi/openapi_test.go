package openapi

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/wire"
)

const (
	inbound  = events.Direction_INBOUND
	outbound = events.Direction_OUTBOUND
)

// write writes a document and returns its file.
func write(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "api.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func open(t testing.TB, names ...string) *Templates {
	t.Helper()
	templates, err := Open(names)
	if err != nil {
		t.Fatal(err)
	}
	return templates
}

const shop = `
openapi: 3.1.0
info: {title: shop, version: "1"}
servers:
  - url: https://{region}.shop.example/{version}
    variables:
      region: {default: eu}
      version: {default: v2, enum: [v1, v2]}
  - url: /api/
  - url: //shop.example
x-any: 1
paths:
  x-internal: yes
  /: {get: {}}
  /users: {}
  /users/: {}
  /users/{name}: {$ref: other.yaml}
  /users/me: {}
  /users/{name}/orders/{order}: {}
  /users/{name}/orders/latest: {}
  /users/me/orders/{order}.pdf: {}
  /reports/{from}-{to}.{format}: {}
  /reports/{month}.csv: {}
  /reports/{report}: {get: {responses: {200: {description: ok}}}}
  /things/{thing}:cancel: {}
  /caf%C3%A9/menu: {}
  /grüße: {}
  /static/{path+}: {}
  /static/logo.png: {}
  /old/{id}:
    servers: [{url: "https://old.example/legacy"}]
  /mixed/{id}:
    post:
      servers: [{url: /write}]
`

func TestMostSpecificTemplateWins(t *testing.T) {
	templates := open(t, write(t, shop))
	for path, want := range map[string]string{
		"/":                          "/",
		"/users":                     "/users",
		"/users/":                    "/users/",
		"/users/alice":               "/users/{name}",
		"/users/123":                 "/users/{name}",
		"/users/" + wire.TokenPrefix: "/users/{name}",
		"/users/me":                  "/users/me",
		"/users/me/orders/7":         "/users/{name}/orders/{order}",
		"/users/me/orders/latest":    "/users/{name}/orders/latest",
		"/users/me/orders/7.pdf":     "/users/me/orders/{order}.pdf",
		"/users/bob/orders/7.pdf":    "/users/{name}/orders/{order}",
		"/users/bob/orders":          "",
		"/users//orders/7":           "",
		"/reports/2026-2027.csv":     "/reports/{month}.csv",
		"/reports/2026-2027.json":    "/reports/{from}-{to}.{format}",
		"/reports/2026.csv":          "/reports/{month}.csv",
		"/reports/.csv":              "/reports/{report}",
		"/reports/2026":              "/reports/{report}",
		"/things/17:cancel":          "/things/{thing}:cancel",
		"/things/17":                 "",
		"/gr%C3%BC%C3%9Fe":           "/grüße",
		"/static/a/b/c.js":           "/static/{path+}",
		"/static/logo.png":           "/static/logo.png",
		"/static/":                   "",
		"/api/users/alice":           "/api/users/{name}",
		"/v1/users/alice":            "/v1/users/{name}",
		"/v2/users/alice":            "/v2/users/{name}",
		"/v3/users/alice":            "",
		"/legacy/old/7":              "/legacy/old/{id}",
		"/old/7":                     "",
		"/mixed/7":                   "/mixed/{id}",
		"/write/mixed/7":             "/write/mixed/{id}",
		"/users/{name}":              "/users/{name}",
		"/users/alice/x":             "",
		"":                           "",
		"*":                          "",
		"shop.example:443":           "",
	} {
		got, ok := templates.Template(inbound, "shop.example", path)
		if got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", path, got, ok, want)
		}
	}
}

func TestSwagger2(t *testing.T) {
	file := write(t, "\ufeff{\n\t\"swagger\": \"2.0\", \"basePath\": \"/v1/\", \"paths\": {\"/pets/{petId}\": {\"get\": {}}, \"x-a\": 1}}")
	templates := open(t, file)
	if got, _ := templates.Template(inbound, "", "/v1/pets/rex"); got != "/v1/pets/{petId}" {
		t.Errorf("got %q", got)
	}
	unquoted := open(t, write(t, "swagger: 2.0\npaths: {'/pets/{petId}': {}}\n"))
	if got, _ := unquoted.Template(inbound, "", "/pets/rex"); got != "/pets/{petId}" {
		t.Errorf("got %q", got)
	}
}

func TestDependencies(t *testing.T) {
	service := write(t, "openapi: 3.0.0\npaths: {'/a/{service}': {}}")
	payments := write(t, "openapi: 3.0.0\npaths: {'/a/{payments}': {}}")
	staging := write(t, "openapi: 3.0.0\npaths: {'/a/{staging}': {}}")
	templates := open(t, service, "Payments.internal="+payments, "payments.internal:8080="+staging)
	for _, test := range []struct {
		d    events.Direction
		host string
		want string
	}{
		{inbound, "payments.internal", "/a/{service}"},
		{outbound, "payments.internal", "/a/{payments}"},
		{outbound, "payments.internal:9090", "/a/{payments}"},
		{outbound, "payments.internal:8080", "/a/{staging}"},
		{outbound, "other", ""},
		{outbound, "", ""},
	} {
		if got, _ := templates.Template(test.d, test.host, "/a/b"); got != test.want {
			t.Errorf("%s %s: got %q, want %q", test.d.Name(), test.host, got, test.want)
		}
	}
	if got, ok := open(t, service).Template(outbound, "x", "/a/b"); ok {
		t.Errorf("the service's document names a dependency's path: %q", got)
	}
}

// Two documents may name one path differently: the first one counts.
func TestFirstDocumentCounts(t *testing.T) {
	a, b := write(t, "openapi: 3.0.0\npaths: {'/u/{a}': {}}"), write(t, "openapi: 3.0.0\npaths: {'/u/{b}': {}, '/w/{b}': {}}")
	templates := open(t, a, b)
	if got, _ := templates.Template(inbound, "", "/u/x"); got != "/u/{a}" {
		t.Errorf("got %q", got)
	}
	if got, _ := templates.Template(inbound, "", "/w/x"); got != "/w/{b}" {
		t.Errorf("got %q", got)
	}
}

func TestBadDocuments(t *testing.T) {
	servers := strings.Repeat("{url: /a},", maxBases+1)
	for name, test := range map[string]struct{ text, want string }{
		"no document":     {"hello", "no OpenAPI document"},
		"empty":           {"", "no OpenAPI document"},
		"a list":          {"[]", "no OpenAPI document"},
		"no YAML":         {"a: b: c", "can't be read"},
		"no JSON":         {`{"openapi":`, "can't be read"},
		"other":           {"kind: Service\npaths: {/a: {}}", "neither"},
		"OpenAPI 4":       {"openapi: 4.0.0\npaths: {/a: {}}", "neither"},
		"no paths":        {"openapi: 3.1.0\nwebhooks: {a: {}}", "no paths"},
		"paths are none":  {"openapi: 3.1.0\npaths: [1]", "no paths"},
		"relative path":   {"openapi: 3.1.0\npaths: {a: {}}", "slash"},
		"brace":           {"openapi: 3.1.0\npaths: {\"/a/{b\": {}}", "partner"},
		"closing brace":   {"openapi: 3.1.0\npaths: {\"/a/b}\": {}}", "partner"},
		"brace in braces": {"openapi: 3.1.0\npaths: {\"/a/{b{c}}\": {}}", "partner"},
		"many servers":    {"openapi: 3.1.0\nservers: [" + servers + "]\npaths: {/a: {}}", "base paths"},
		"alias bomb":      {bomb(), "can't be read"},
	} {
		_, err := Open([]string{write(t, test.text)})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "--openapi") || service.HintOf(err) == "" {
			t.Errorf("%s: got %v, hint %q, want %q", name, err, service.HintOf(err), test.want)
		}
	}
	if _, err := Open([]string{"/nowhere.yaml"}); err == nil || service.HintOf(err) == "" {
		t.Errorf("missing file: %v", err)
	}
}

// bomb is a small document of aliases that stand for very much.
func bomb() string {
	var b strings.Builder
	b.WriteString("openapi: 3.0.0\na0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := range 9 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	return b.String()
}

// FuzzMatch: a template is its own template, and one that is found fits.
func FuzzMatch(f *testing.F) {
	templates := open(f, write(f, shop))
	for _, path := range []string{"/users/alice/orders/7.pdf", "/reports/a-b.c", "/static//x", "/%zz/%41", "//"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := templates.Template(inbound, "", path)
		if !ok {
			return
		}
		if again, _ := templates.Template(inbound, "", got); again != got && !strings.Contains(got, "+}") {
			t.Errorf("%q: template %q has the template %q", path, got, again)
		}
		if !strings.HasSuffix(got, "+}") && strings.Count(got, "/") != strings.Count(path, "/") {
			t.Errorf("%q: template %q", path, got)
		}
	})
}

// FuzzDocument: never panics, whatever the file holds.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(shop), "/users/alice")
	f.Add([]byte(`{"swagger":"2.0","basePath":"/{a}","paths":{"/{b}":null}}`), "/a/b")
	f.Fuzz(func(t *testing.T, document []byte, path string) {
		var paths tree
		if add(document, &paths) == nil {
			paths.match(path)
		}
	})
}

// large is a document of 3,002 paths.
func large() string {
	var b strings.Builder
	b.WriteString("openapi: 3.0.0\nservers: [{url: /api}]\npaths:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  /v1/resource%d: {}\n  /v1/resource%d/{id}: {}\n  /v1/resource%d/{id}/details: {}\n", i, i, i)
	}
	b.WriteString("  /v1/items/{item}/details: {}\n  /v1/{kind}/{id}/{what}: {}\n")
	return b.String()
}

// BenchmarkTemplate compares with the shape template, which a path has without
// a document.
func BenchmarkTemplate(b *testing.B) {
	const path = "/api/v1/items/123/details"
	templates := open(b, write(b, large()))
	b.Run("shape", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			wire.Template(path)
		}
	})
	for name, path := range map[string]string{"document": path, "lacking": "/api/v1/items/123/other/x"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := templates.Template(inbound, "shop", path); !ok {
					wire.Template(path)
				}
			}
		})
	}
}
