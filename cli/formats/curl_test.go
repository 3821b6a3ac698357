package formats_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tapedeck/cli/formats"
	"tapedeck/events"
)

// got is a request as a server sees it.
type got struct{ Method, Target, Headers, Body string }

// requests are some that no shell and no script may understand.
func requests() []*events.Exchange {
	hostile := "it's $HOME `touch pwned` $(touch pwned) \"q\" \\n %{http_code} !! \n#end\n'; touch pwned; '"
	quoted := exchange("POST", "/a%20b?q='$(touch%20pwned)'&[1-9]&{a,b}&x=\"y\"", []byte(hostile), "200", nil)
	quoted.Request.Headers = []*events.Field{
		field("User-Agent", "it's `touch pwned` $(touch pwned)"), field("Accept", "*/*"), field("X-Empty", ""), field("X-Quote", `a"b\c`), field("Content-Type", "text/plain"),
	}
	at := exchange("PUT", "/at/../up", []byte("@/etc/hostname"), "201", nil)
	at.Request.Headers = []*events.Field{field("Cookie", "a=1"), field("cookie", "b=2"), field("Content-Type", "x/y")}
	binary := exchange("POST", "/binary", []byte("\x00\x01\xff\r\n'END'\nEND\n"), "200", nil)
	binary.Request.Headers = []*events.Field{field("Content-Type", "application/octet-stream")}
	head := exchange("HEAD", "/head", nil, "404", nil)
	odd := exchange("X-ODD", "/odd", nil, "200", nil)
	broken := exchange("GET", "/x", nil, "200", nil)
	broken.Request.Headers = []*events.Field{field("X-A", "1\r\nX-Smuggled: 1"), field("@file", "x"), field("A B", "x"), field("X-Good", "1")}
	return []*events.Exchange{quoted, at, binary, head, odd, broken}
}

// serve is a server that remembers what it was asked; seen takes it.
func serve(t *testing.T) (url string, seen func() []got) {
	t.Helper()
	var mu sync.Mutex
	var all []got
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var headers strings.Builder
		for _, name := range []string{"User-Agent", "Accept", "X-Empty", "X-Quote", "X-Good", "X-A", "X-Smuggled", "Cookie", "Content-Type"} {
			if values, sent := r.Header[name]; sent {
				headers.WriteString(name + "=" + strings.Join(values, "; ") + "\n")
			}
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, got{r.Method, r.RequestURI, headers.String(), string(body)})
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []got {
		mu.Lock()
		defer mu.Unlock()
		defer func() { all = nil }()
		return all
	}
}

func wanted() []got {
	var all []got
	for i, x := range requests() {
		g := got{x.Request.Method, x.Request.Target, "", string(x.Request.Body.Data)}
		g.Headers = []string{
			"User-Agent=it's `touch pwned` $(touch pwned)\nAccept=*/*\nX-Empty=\nX-Quote=a\"b\\c\nContent-Type=text/plain\n",
			"Cookie=a=1; b=2\nContent-Type=x/y\n", "Content-Type=application/octet-stream\n", "X-A=1; 2\n", "X-A=1; 2\n", "X-Good=1\n",
		}[i]
		all = append(all, g)
	}
	return all
}

// The script sends a real server what was recorded, byte for byte, and nothing
// of the recording is run by the shell.
func TestCurlScriptReplays(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		needed(t, "curl")
	}
	url, seen := serve(t)
	folder := t.TempDir()
	script := filepath.Join(folder, "requests.sh")
	if err := os.WriteFile(script, write(t, "curl", requests()...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, shell := range []string{"sh", "bash"} {
		out := run(t, folder, []string{"TARGET=" + url}, shell, script)
		equal(t, seen(), wanted())
		equal(t, out, "200 recorded 200\n200 recorded 201\n200 recorded 200\n200 recorded 404\n200 recorded 200\n200 recorded 200\n")
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("the shell ran what was recorded: %v, %v", entries, err)
	}
}

func TestScriptsLeaveOutWhatTheyCannotSend(t *testing.T) {
	cut := exchange("POST", "/", []byte("half"), "200", nil)
	cut.Request.Body.Size = 100
	tunnel := exchange("CONNECT", "a:443", nil, "200", nil)
	upgraded := exchange("GET", "/ws", nil, "101", nil)
	opaque := exchange("", "", nil, "", nil)
	opaque.Protocol = "tcp"
	line := exchange("GET", "/a\n rm -rf", nil, "200", nil)
	host := exchange("GET", "/", nil, "200", nil)
	host.Request.Host = "evil'/$(x)"
	for _, format := range []string{formats.Curl, formats.K6} {
		w, err := formats.NewWriter(format, io.Discard, "test")
		if err != nil {
			t.Fatal(err)
		}
		for x, want := range map[*events.Exchange]string{
			cut: "its request body is not whole", tunnel: "a tunnel", upgraded: "an upgraded connection", opaque: "tcp: no HTTP", line: "malformed", host: "malformed",
		} {
			if why, err := w.Write(x); why != want || err != nil {
				t.Errorf("%s: left out %q, error %v, want %q", format, why, err, want)
			}
		}
	}
}

// A redacted credential stays the token it is.
func TestScriptsInventNoSecret(t *testing.T) {
	x := exchange("GET", "/me", nil, "200", nil)
	x.Request.Headers = []*events.Field{field("Authorization", "Bearer td1_0a1b2c3d_000102030405060708090a0b0c0d0e0f")}
	for _, format := range formats.Writable {
		if file := string(write(t, format, x)); strings.Count(file, "Bearer td1_0a1b2c3d_000102030405060708090a0b0c0d0e0f") != 1 {
			t.Errorf("%s:\n%s", format, file)
		}
	}
}

func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func needed(t *testing.T, program string) {
	t.Helper()
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		t.Fatalf("%s is not installed", program)
	}
	t.Skipf("%s is not installed", program)
}
