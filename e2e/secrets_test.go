package e2e

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tapedeck/capture"
	"tapedeck/cli"
	"tapedeck/events"
	"tapedeck/replayer"
	"tapedeck/scenariogen"
	"tapedeck/scenariogen/scenario"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// vault is a server that lets nobody do anything without the right credential,
// wherever a credential may stand.
type vault struct {
	email, password, key, jwt, bearer, pin string
	mu                                     sync.Mutex
	sessions                               map[string]string // CSRF token by session cookie
}

func newVault() *vault {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return &vault{
		email: strings.ToLower(rand.Text()) + "@example.com", password: "pä$$ & \"" + rand.Text(), key: rand.Text(), bearer: rand.Text(), pin: "8264",
		jwt:      part(`{"alg":"HS256"}`) + "." + part(`{"sub":"`+rand.Text()+`"}`) + "." + part(rand.Text()),
		sessions: map[string]string{},
	}
}

// all are the vault's secrets, one a line.
func (v *vault) all() []string {
	return []string{v.email, v.password, v.key, v.jwt, v.bearer, v.pin, v.email + ":" + v.password}
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.Header().Set("Content-Type", "application/json")
	if !v.allows(r, string(body)) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.Path == "/login" {
		sid, csrf := rand.Text(), rand.Text()
		v.mu.Lock()
		v.sessions[sid] = csrf
		v.mu.Unlock()
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: sid})
		fmt.Fprintf(w, `{"csrf_token":%q,"mail":%q}`, csrf, v.email)
		return
	}
	fmt.Fprintf(w, `{"owner":{"email":%q},"total":1}`, v.email)
}

func (v *vault) allows(r *http.Request, body string) bool {
	user, password, _ := r.BasicAuth()
	switch r.URL.Path {
	case "/login":
		return body == v.loginBody()
	case "/form":
		return r.FormValue("password") == v.password && r.FormValue("email") == v.email
	case "/xml":
		return body == "<login><password>"+xmlText(v.password)+"</password></login>"
	case "/pin":
		return body == `{"pin":`+v.pin+`}`
	case "/query":
		return r.URL.Query().Get("api_key") == v.key
	case "/key":
		return r.Header.Get("X-Api-Key") == v.key
	case "/basic":
		return user == v.email && password == v.password
	case "/bearer":
		return r.Header.Get("Authorization") == "Bearer "+v.bearer
	case "/jwt":
		return r.Header.Get("Authorization") == "Bearer "+v.jwt
	case "/mine":
		sid, err := r.Cookie("sid")
		v.mu.Lock()
		defer v.mu.Unlock()
		return err == nil && v.sessions[sid.Value] == cmp.Or(r.Header.Get("X-Csrf-Token"), "none")
	}
	return r.URL.Path == "/users/"+v.email
}

func (v *vault) loginBody() string {
	return fmt.Sprintf(`{"email":%q,"password":"%s"}`, v.email, strings.ReplaceAll(v.password, `"`, `\"`))
}

func xmlText(s string) string {
	return strings.NewReplacer("&", "&amp;", `"`, "&#34;").Replace(s)
}

// visit calls everything once, as one client; it returns how many requests
// that were.
func (v *vault) visit(t *testing.T, base string) int {
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	sent := 0
	do := func(method, path, body, kind string, headers ...string) string {
		t.Helper()
		r, err := http.NewRequest(method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		sent++
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %s %v", method, path, answer.StatusCode, text, err)
		}
		return string(text)
	}
	_, rest, _ := strings.Cut(do("POST", "/login", v.loginBody(), "application/json"), `"csrf_token":"`)
	csrf, _, _ := strings.Cut(rest, `"`)
	do("GET", "/mine", "", "", "X-Csrf-Token", csrf)
	form := strings.NewReplacer(" ", "+").Replace("email=" + escape(v.email) + "&password=" + escape(v.password))
	do("POST", "/form", form, "application/x-www-form-urlencoded")
	do("POST", "/xml", "<login><password>"+xmlText(v.password)+"</password></login>", "application/xml")
	do("POST", "/pin", `{"pin":`+v.pin+`}`, "application/json")
	do("GET", "/query?api_key="+v.key, "", "")
	do("GET", "/key", "", "", "X-Api-Key", v.key)
	client.Jar = nil // who names himself needs no cookie
	do("GET", "/basic", "", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(v.email+":"+v.password)))
	do("GET", "/bearer", "", "", "Authorization", "Bearer "+v.bearer)
	do("GET", "/jwt", "", "", "Authorization", "Bearer "+v.jwt)
	do("GET", "/users/"+v.email, "", "")
	return sent
}

func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// Recorded with redaction on, a scenario says what it needs; with that from a
// file the replay is as recorded, what answers give is linked, and nothing of
// it is left behind. Without the file nothing is sent.
func TestSecrets(t *testing.T) {
	v := newVault()
	server := httptest.NewServer(v)
	defer server.Close()
	r := record(t, strings.TrimPrefix(server.URL, "http://"), archiveURL(t, "directory"), capture.Config{
		Cluster: "test", Namespace: "e2e", Service: "vault", OnPressure: "block",
	})
	sent := v.visit(t, "http://"+r.address)
	r.stop()
	s := r.scenario("vault")
	if m := s.Manifest(); m.Tests != sent {
		t.Errorf("%d tests of %d requests: %v", m.Tests, sent, m.Skipped)
	}
	run := func(secrets *scenario.Secrets) events.ReplayResult {
		t.Helper()
		result, err := replayer.Run(t.Context(), replayer.Options{
			Scenario: s, Archive: r.archive, Secrets: secrets,
			Request: events.ReplayRequest{ID: events.NewID(r.capture.Source().Time()).String(), Target: server.URL, Load: events.Load{Mode: "fast"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	without := run(nil)
	if without.Verdict != events.Errored || without.Tests.Passed+without.Tests.Missed != 0 {
		t.Errorf("without secrets: %s, %+v", without.Verdict, without.Tests)
	}
	for _, place := range []string{
		"POST /login request.body.$.password", "POST /login request.body.$.email", "POST /form request.form.password", "POST /xml request.body",
		"POST /pin request.body.$.pin", "GET /query request.query.api_key", "GET /key request.header.X-Api-Key", "GET /basic request.header.Authorization",
		"GET /bearer request.header.Authorization", "GET /jwt request.header.Authorization",
	} {
		if !strings.Contains(without.Reason, place) {
			t.Errorf("%s is not named in: %s", place, without.Reason)
		}
	}
	if strings.Contains(without.Reason, "sid") || strings.Contains(without.Reason, "Csrf") {
		t.Errorf("what an answer gives is asked for: %s", without.Reason)
	}
	secrets := r.secrets(s, v.all())
	with := run(secrets)
	if with.Verdict != events.Passed || with.Tests.Passed != sent {
		t.Errorf("with secrets: %s: %s, %+v\n%+v", with.Verdict, with.Reason, with.Tests, with.Misses)
	}
	hidden := v.all()
	v.email, v.bearer = "another"+v.email, rand.Text() // answers are misses, and their reports show both sides
	if missed := run(secrets); missed.Verdict != events.Missed || len(missed.Misses) < 3 {
		t.Errorf("another server: %s, %+v", missed.Verdict, missed.Tests)
	}
	r.holdsNone(hidden)
}

// scenario makes one of all that was recorded.
func (r *recording) scenario(name string) *scenario.Scenario {
	r.t.Helper()
	made, err := scenariogen.Create(r.t.Context(), scenariogen.Config{}, scenariogen.Deps{
		Archive: r.archive, Index: r.reader, Protocols: []wire.Protocol{&http1.Protocol{}}, Log: slog.New(slog.DiscardHandler),
	}, events.ScenarioRequest{ID: "e2e", Name: name})
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := scenario.Open(r.t.Context(), r.archive, name, made.Version)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// secrets is the file that the command line makes of known values.
func (r *recording) secrets(s *scenario.Scenario, values []string) *scenario.Secrets {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "secrets.yaml")
	if err := scenario.WriteSecrets(file, s.Manifest()); err != nil {
		r.t.Fatal(err)
	}
	env := &cli.Env{Stdin: strings.NewReader(strings.Join(values, "\n")), Stdout: io.Discard, Stderr: io.Discard}
	if err := cli.Run(r.t.Context(), []string{"redact", "fill", file, "-", "--data", r.data}, env); err != nil {
		r.t.Fatal(err)
	}
	secrets, exposed, err := scenario.OpenSecrets(file)
	if err != nil || exposed {
		r.t.Fatal(exposed, err)
	}
	return secrets
}

// holdsNone looks for secrets in what replays have left in the archive.
func (r *recording) holdsNone(secrets []string) {
	r.t.Helper()
	looked := 0
	folder := strings.TrimPrefix(r.archive.String(), "file://")
	err := filepath.WalkDir(filepath.Join(folder, "replays"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		looked++
		for _, secret := range secrets {
			quoted, _ := json.Marshal(secret)
			if len(secret) > 8 && (bytes.Contains(text, []byte(secret)) || bytes.Contains(text, bytes.Trim(quoted, `"`))) {
				r.t.Errorf("%s holds %q", path, secret)
			}
		}
		return nil
	})
	if err != nil || looked < 8 {
		r.t.Errorf("%d files of replays: %v", looked, err)
	}
}
