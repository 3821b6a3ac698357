package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"tapedeck/capture"
	"tapedeck/internal/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// captured is an Env whose output a test reads.
func captured() (env *Env, out *bytes.Buffer) {
	out = new(bytes.Buffer)
	return &Env{Stdin: strings.NewReader(""), Stdout: out, Stderr: out}, out
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"reccord": "record", "trafic": "traffic", "scen": "scenario", "replya": "replay", "archivr": "archiver", "xyz": "", "r": "",
	} {
		if got := nearest(name, Commands()); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"mock", "mcok", 2}, {"up", "up", 0}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// Every command can be parsed, has a manual with examples, and its flags do
// not collide.
func TestCommandsHaveManuals(t *testing.T) {
	for _, c := range Commands() {
		env, out := captured()
		if err := c.run(t.Context(), []string{"-h"}, env); err != nil {
			t.Errorf("%s -h: %v", c.Name, err)
		}
		if !strings.Contains(out.String(), "\nExamples:\n") {
			t.Errorf("%s -h has no examples", c.Name)
		}
	}
}

// Every example is a command line that parses.
func TestExamplesParse(t *testing.T) {
	for _, c := range Commands() {
		for _, example := range c.Examples {
			line, _, _ := strings.Cut(example, "  # ")
			flags, _, err := c.split(words(line)[1:])
			if err != nil {
				t.Errorf("tapedeck %s: %v", line, err)
				continue
			}
			env, _ := captured()
			parser, err := kong.New(c.New(), kong.Name(c.Name), kong.BindTo(context.Context(t.Context()), (*context.Context)(nil)), kong.Bind(env))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(flags); err != nil {
				t.Errorf("tapedeck %s: %v", line, err)
			}
		}
	}
}

// words splits a command line at spaces that are not in single quotes.
func words(line string) []string {
	quoted := false
	list := strings.FieldsFunc(line, func(r rune) bool {
		if r == '\'' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
	for i := range list {
		list[i] = strings.Trim(list[i], "'")
	}
	return list
}

func TestMessage(t *testing.T) {
	plain := errors.New("store tape 1: disk full")
	for _, c := range []struct {
		err      error
		want     string
		wantCode int
	}{
		{nil, "", 0},
		{exit(3, nil), "", 3},
		{plain, "tapedeck: store tape 1: disk full", 1},
		{exit(2, plain), "tapedeck: store tape 1: disk full", 2},
		{fmt.Errorf("demo: %w", exit(2, service.Hint(plain, "make room"))), "tapedeck: demo: store tape 1: disk full\n  make room", 2},
		{errors.Join(plain, errors.New("and more"), plain), "tapedeck: store tape 1: disk full; and more", 1},
		{errors.New("failed to connect to `user=x`:\n\t127.0.0.1:1: refused\n\t127.0.0.1:1: refused"), "tapedeck: failed to connect to `user=x`: 127.0.0.1:1: refused", 1},
	} {
		if got := Message(c.err); got != c.want {
			t.Errorf("Message(%v) = %q, want %q", c.err, got, c.want)
		}
		if got := ExitCode(c.err); got != c.wantCode {
			t.Errorf("ExitCode(%v) = %d, want %d", c.err, got, c.wantCode)
		}
	}
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("east", 2*3600)
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"10m":                  now.Add(-10 * time.Minute),
		"1h30m":                now.Add(-90 * time.Minute),
		"09:15":                time.Date(2026, 11, 23, 9, 15, 0, 0, zone),
		"23:15:30":             time.Date(2026, 11, 22, 23, 15, 30, 0, zone), // not in the future
		"2026-01-02":           time.Date(2026, 1, 2, 0, 0, 0, 0, zone),
		"2026-01-02T15:04:05Z": time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
	} {
		got, err := parseTime(text, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("parseTime(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	if _, err := parseTime("yesterday", now); ExitCode(err) != 2 {
		t.Errorf("parseTime(yesterday) = %v, want exit code 2", err)
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"plain-1.0/x": "plain-1.0/x", "": "''", "a b": "'a b'", "{status>=500}": "'{status>=500}'", "it's": `'it'\''s'`, "$HOME": "'$HOME'",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestProxyVariables(t *testing.T) {
	want := []string{
		"HTTP_PROXY=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "https_proxy=http://127.0.0.1:1",
		"NO_PROXY=127.0.0.1:2", "no_proxy=127.0.0.1:2", "NODE_USE_ENV_PROXY=1",
	}
	if diff := cmp.Diff(want, proxyVariables("127.0.0.1:1", "127.0.0.1:2")); diff != "" {
		t.Error(diff)
	}
	if got, want := mockVariable("payments.example:8080"), "TAPEDECK_MOCK_PAYMENTS_EXAMPLE_8080"; got != want {
		t.Errorf("mockVariable = %s, want %s", got, want)
	}
}

func TestFreePorts(t *testing.T) {
	found, err := freePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, address := range found {
		if seen[address] {
			t.Errorf("%s comes twice", address)
		}
		seen[address] = true
	}
}

func TestProgramEndsWithItsChildren(t *testing.T) {
	output, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	env, _ := captured()
	env.Stdout, env.Stderr = input, input
	p, err := startProgram([]string{"sh", "-c", "sleep 60 & echo started; wait"}, nil, env)
	input.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := output.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(Interrupt{syscall.SIGINT})
	if code := p.wait(ctx, time.Second); code != 0 {
		t.Errorf("exit code %d, want 0 for an end that we asked for", code)
	}
	// The pipe ends when nobody holds it any more: all children are gone.
	if _, err := io.ReadAll(output); err != nil {
		t.Error(err)
	}
}

func TestProgramThatIsMissing(t *testing.T) {
	env, _ := captured()
	if _, err := startProgram([]string{"no-such-program"}, nil, env); ExitCode(err) != 2 || service.HintOf(err) == "" {
		t.Errorf("startProgram = %v, want exit code 2 and a hint", err)
	}
}

func TestRecordings(t *testing.T) {
	data := t.TempDir()
	if _, err := lastRecording(data); err == nil {
		t.Error("there is a last recording in an empty folder")
	}
	for _, id := range []string{"a", "b"} {
		if err := remember(data, recording{ID: id, Services: []string{"shop"}}); err != nil {
			t.Fatal(err)
		}
	}
	// One that was begun is the last one, and is there once when it ended.
	if err := remember(data, recording{ID: "b", Services: []string{"shop"}, Exchanges: 7}); err != nil {
		t.Fatal(err)
	}
	last, err := lastRecording(data)
	if err != nil || last.ID != "b" || last.Exchanges != 7 {
		t.Errorf("last recording %v, %v, want b with 7 exchanges", last, err)
	}
	if all, err := readRecordings(data); err != nil || len(all) != 2 {
		t.Errorf("recordings %v, %v, want a and b", all, err)
	}
	if err := os.WriteFile(recordingsFile(data), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lastRecording(data); service.HintOf(err) == "" {
		t.Errorf("a damaged file gives %v, want a hint", err)
	}
}

func TestInterruptedCommandSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	err := fmt.Errorf("look up stream: %w", context.Canceled)
	if got := interrupted(ctx, "record", err); got != err {
		t.Errorf("without a signal %v, want %v", got, err)
	}
	cancel(Interrupt{Signal: syscall.SIGINT})
	got := interrupted(ctx, "record", exit(2, err))
	if got.Error() != "record: interrupted by SIGINT" || ExitCode(got) != 2 {
		t.Errorf("got %q with exit code %d", got, ExitCode(got))
	}
	if failed := errors.New("disk full"); interrupted(ctx, "record", failed) != failed {
		t.Error("another error is hidden by the signal")
	}
}

func TestScenarioSelectorsAreJoined(t *testing.T) {
	c := scenarioCreate{Name: "x", Selector: "status>=400", Filter: `path="/a"`, Service: "cart"}
	r, err := c.request(time.Now())
	if want := `{status>=400 && path="/a" && service="cart"}`; err != nil || r.Selector != want {
		t.Errorf("request has selector %s, %v, want %s", r.Selector, err, want)
	}
	r, err = (&scenarioCreate{Name: "x"}).request(time.Now())
	if err != nil || r.Selector != "" {
		t.Errorf("request without a selector has %q, %v", r.Selector, err)
	}
}

func TestOnlyServices(t *testing.T) {
	got, err := onlyServices([]string{"cart", `a"b`})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := parseSelector(got); err != nil || e.All() {
		t.Errorf("onlyServices = %s, which parses to %v, %v", got, e, err)
	}
}

func TestProxyOfARecordingCarriesItsUser(t *testing.T) {
	r := &recorder{configs: []capture.Config{{Outbound: []string{"8081=payments:80", "8082"}, ProxyUser: "shop:p@ss:word"}}}
	if got, want := r.proxy(), "shop:p%40ss%3Aword@127.0.0.1:8082"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestJavaVariable(t *testing.T) {
	options := javaProxy("me:secret@127.0.0.1:8081", true)
	got := javaVariable(append(options, "-Djavax.net.ssl.trustStore=/a b/c.jks"), "-Xmx1g")
	const want = `JAVA_TOOL_OPTIONS=-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=8081 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=8081` +
		` -Dhttp.nonProxyHosts=localhost|127.*|[::1] "-Djavax.net.ssl.trustStore=/a b/c.jks" -Xmx1g`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
