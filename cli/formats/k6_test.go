package formats_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What stands for k6's modules in node: it prints each request as JSON.
var k6Modules = map[string]string{
	"package.json": `{"name": "k6", "type": "module", "exports": {".": "./k6.js", "./http": "./http.js", "./encoding": "./encoding.js"}}`,
	"k6.js":        "export function check(r, checks) { for (const [name, f] of Object.entries(checks)) console.log(JSON.stringify({ check: name, ok: f(r) })); }\nexport function sleep(s) { console.log(JSON.stringify({ sleep: s })); }\n",
	"http.js":      "export default { request(method, url, body, params) { console.log(JSON.stringify({ method, url, body: typeof body === 'string' ? body : body && { base64: Buffer.from(body).toString('base64') }, params })); return { status: 200 }; } };\n",
	"encoding.js":  "export default { b64decode(s) { return new Uint8Array(Buffer.from(s, 'base64')).buffer; } };\n",
}

type k6Call struct {
	Method, URL string
	Body        any
	Params      struct {
		Headers, Tags map[string]string
		Redirects     int
	}
	Check string
	OK    bool
	Sleep float64
}

// runK6 runs a script by node, with __ENV as k6 gives it.
func runK6(t *testing.T, script []byte, env string) (calls []k6Call) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		needed(t, "node")
	}
	folder := t.TempDir()
	files := map[string]string{
		"script.mjs": string(script),
		"main.mjs":   "globalThis.__ENV = " + env + ";\nconst s = await import('./script.mjs');\nif (s.options.iterations !== 1) throw new Error('options');\ns.default();\n",
	}
	for name, text := range k6Modules {
		files["node_modules/k6/"+name] = text
	}
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, folder, nil, "node", "--check", "script.mjs")
	for line := range strings.Lines(run(t, folder, nil, "node", "main.mjs")) {
		var c k6Call
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		calls = append(calls, c)
	}
	return calls
}

func TestK6ScriptSendsWhatWasRecorded(t *testing.T) {
	xs := requests()
	calls := runK6(t, write(t, "k6", xs...), `{TARGET: "http://there:1"}`)
	if len(calls) != 2*len(xs) { // with a check each
		t.Fatalf("%d calls: %+v", len(calls), calls)
	}
	for i, x := range xs {
		sent, checked := calls[2*i], calls[2*i+1]
		body := string(x.Request.Body.Data)
		want := any(body)
		switch x.Request.Target {
		case "/binary":
			want = map[string]any{"base64": base64.StdEncoding.EncodeToString(x.Request.Body.Data)}
		case "/head", "/odd", "/x":
			want = nil
		}
		equal(t, sent.Body, want)
		if sent.Method != x.Request.Method || sent.URL != "http://there:1"+x.Request.Target || sent.Params.Redirects != 0 {
			t.Errorf("%s %s sent as %+v", x.Request.Method, x.Request.Target, sent)
		}
		if wantOK := x.Response.Status == "200"; checked.OK != wantOK || !strings.HasSuffix(checked.Check, " answers "+x.Response.Status) {
			t.Errorf("check %+v", checked)
		}
	}
	equal(t, calls[0].Params.Headers, map[string]string{"User-Agent": "it's `touch pwned` $(touch pwned)", "Accept": "*/*", "X-Empty": "", "X-Quote": `a"b\c`, "Content-Type": "text/plain"})
	equal(t, calls[2].Params.Headers["Cookie"], "a=1; b=2")
	equal(t, calls[10].Params.Headers, map[string]string{"X-Good": "1"})
}

func TestK6PacesAndNamesByTemplate(t *testing.T) {
	first, next, tls := exchange("GET", "/users/1?a=\u2028</script>", nil, "", nil), exchange("GET", "/users/22", nil, "", nil), exchange("GET", "/", nil, "", nil)
	next.Request.FirstByte += 1_500_000_000
	tls.Request.FirstByte = next.Request.FirstByte
	tls.Request.Scheme, tls.Request.Host = "https", "other.example:8443"
	script := write(t, "k6", first, next, tls)
	calls := runK6(t, script, `{PACE: "0.5"}`)
	if len(calls) != 4 { // without a recorded status there is nothing to check
		t.Fatalf("%d calls: %+v", len(calls), calls)
	}
	equal(t, calls[1].Sleep, 0.75)
	for i, want := range map[int]string{0: "http://shop.example" + first.Request.Target, 2: "http://shop.example/users/22", 3: "https://other.example:8443/"} {
		if calls[i].URL != want {
			t.Errorf("call %d went to %q, want %q", i, calls[i].URL, want)
		}
	}
	equal(t, calls[2].Params.Tags, map[string]string{"name": "GET /users/{id}"})
}
