package redact

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tapedeck/events"
)

// files are those of a source.
type files struct{ keys, rules string }

func newFiles(t *testing.T, rules string) files {
	t.Helper()
	t.Setenv(KeyVariable, "")
	dir := t.TempDir()
	f := files{filepath.Join(dir, "redaction.key"), filepath.Join(dir, "rules.yaml")}
	f.write(t, f.rules, rules)
	return f
}

func (f files) write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f files) open(t *testing.T, now time.Time) *Source {
	t.Helper()
	s, err := OpenSource(Settings{Keys: f.keys, Rules: f.rules}, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func TestEngineTurnsWithTheKey(t *testing.T) {
	f := newFiles(t, "rules: []")
	s := f.open(t, noon)
	first := s.At(noon)
	next, err := AddKey(f.keys, noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if read, err := s.Check(noon); err != nil || !slices.Equal(read, []string{f.keys}) {
		t.Fatalf("read %v, %v, want the key file", read, err)
	}
	if got := s.Status(noon); got.Key != first.KeyID() || got.NextKey != next.ID() || !got.NextAt.Equal(noon.Add(time.Hour)) || got.State != "working" {
		t.Errorf("status %+v", got)
	}
	for _, test := range []struct {
		after time.Duration
		want  string
	}{{0, first.KeyID()}, {time.Hour - 1, first.KeyID()}, {time.Hour, next.ID()}, {time.Hour + 1, next.ID()}} {
		if got := s.At(noon.Add(test.after)).KeyID(); got != test.want {
			t.Errorf("after %s: key %s, want %s", test.after, got, test.want)
		}
	}
	secret := []byte("correct horse battery staple")
	if a, b := first.key.Token(secret), s.At(noon.Add(time.Hour)).key.Token(secret); string(a) == string(b) {
		t.Errorf("the same token under two keys: %s", a)
	}
	f.write(t, f.keys, "broken")
	if _, err := s.Check(noon.Add(time.Hour)); err == nil || s.At(noon.Add(time.Hour)).KeyID() != next.ID() || s.Failures()["keys"] != 1 {
		t.Errorf("broken key file: %v, key %s, failures %v, want the last keys", err, s.At(noon.Add(time.Hour)).KeyID(), s.Failures())
	}
	if err := os.Remove(f.keys); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(noon.Add(time.Hour)); err == nil {
		t.Error("no word about a key file that is gone")
	}
	if _, err := os.Stat(f.keys); err == nil {
		t.Error("a key was made in the place of those that were lost")
	}
}

func TestRulesAreReadAgain(t *testing.T) {
	f := newFiles(t, `rules: [{key: plan, action: mask}]`)
	s := f.open(t, noon)
	if read, err := s.Check(noon); len(read) > 0 || err != nil {
		t.Errorf("nothing has changed: read %v, %v", read, err)
	}
	redacted := func(body string) string {
		x := jsonExchange()
		x.Request.Body = &events.Body{Data: []byte(body)}
		s.At(noon).Exchange(x)
		return string(x.Request.Body.Data)
	}
	const body = `{"plan":"gold","tier":"two"}`
	if got := redacted(body); got != `{"plan":"****","tier":"two"}` {
		t.Fatalf("got %s", got)
	}
	f.write(t, f.rules, `rules: [{key: tier, action: mask}, {}]`)
	for range 3 {
		s.Check(noon)
	}
	if got := redacted(body); got != `{"plan":"****","tier":"two"}` || s.Failures()["rules"] != 1 || len(s.Status(noon).Problems) != 1 {
		t.Errorf("broken rules: got %s, failures %v, status %+v, want the old ones and one failure", got, s.Failures(), s.Status(noon))
	}
	f.write(t, f.rules, `rules: [{key: tier, action: mask}]`)
	if read, err := s.Check(noon); err != nil || len(read) != 1 {
		t.Errorf("read %v, %v, want the rules", read, err)
	}
	if got := redacted(body); got != `{"plan":"gold","tier":"***"}` || len(s.Status(noon).Problems) != 0 {
		t.Errorf("mended rules: got %s, status %+v", got, s.Status(noon))
	}
}

// sensitive is an exchange that is one secret in each place.
func sensitive() *events.Exchange {
	field := func(name, value string) []*events.Field {
		return []*events.Field{{Name: []byte(name), Value: []byte(value)}}
	}
	return &events.Exchange{
		Request: &events.Request{Method: "POST", Host: "shop.example", Target: "/users/4711/keys?secret=1#secret", Headers: field("X-Any", "secret"),
			Trailers: field("X-Sum", "secret"), Body: &events.Body{Data: []byte("secret"), Size: 6, Kept: 6}},
		Interim: []*events.Response{{Status: "103", Headers: field("Link", "secret")}},
		Response: &events.Response{Status: "200", Reason: "secret", Headers: field("X-Any", "secret"),
			Body: &events.Body{Data: []byte("secret"), Size: 9000, Kept: 6, Parts: []*events.RecordRef{{}}}},
		Segments:   []*events.RecordRef{{}},
		Redactions: []*events.Redaction{{Place: "request.body.secret", Class: "credential", Action: "token"}},
	}
}

// wantMetadata: method, host, template, status and sizes, and nothing else.
func wantMetadata(t *testing.T, x *events.Exchange) {
	t.Helper()
	if text := x.String(); strings.Contains(text, "secret") || strings.Contains(text, "4711") {
		t.Errorf("left: %s", text)
	}
	q, a := x.Request, x.Response
	if q.Method != "POST" || q.Host != "shop.example" || q.Target != "/users/{id}/keys" || q.Body.Size != 6 || a.Status != "200" || a.Body.Size != 9000 || a.Body.Kept != 0 {
		t.Errorf("metadata is lost: %s", x)
	}
	if len(x.Redactions) != 1 || !x.OnlyMetadata() || len(x.Segments) > 0 || len(a.Body.Parts) > 0 {
		t.Errorf("marks %v, segments %v", x.Redactions, x.Segments)
	}
}

func TestWithoutRulesThereIsOnlyMetadata(t *testing.T) {
	f := newFiles(t, `rules: [{}]`)
	s := f.open(t, noon)
	if s.Problem() == nil || s.Status(noon).State != events.MetadataOnly || s.Failures()["rules"] != 1 {
		t.Fatalf("problem %v, status %+v", s.Problem(), s.Status(noon))
	}
	x := sensitive()
	s.At(noon).Exchange(x)
	wantMetadata(t, x)
	again := x.String()
	s.At(noon).Exchange(x)
	if x.String() != again {
		t.Errorf("a second pass changed %s to %s", again, x)
	}
	if data, marks := s.At(noon).Message(x, &events.Message{Data: []byte("secret")}); len(data) > 0 || len(marks) != 1 || marks[0].Action != events.MetadataOnly {
		t.Errorf("message: %q, %v", data, marks)
	}
	f.write(t, f.rules, `rules: []`)
	if _, err := s.Check(noon); err != nil || s.Problem() != nil || s.Status(noon).State != "working" {
		t.Errorf("mended: %v, %v, %+v", err, s.Problem(), s.Status(noon))
	}
}

// broken panics as soon as it looks at an exchange: it has no rules to look at.
func broken() *Engine { return &Engine{key: ThrowawayKey(), failures: &failures{}} }

func TestAPanicLeavesMetadata(t *testing.T) {
	e := broken()
	x := sensitive()
	e.Exchange(x)
	wantMetadata(t, x)
	if e.failures.panics.Load() == 0 || !strings.Contains(*e.failures.stack.Load(), "redact") {
		t.Error("the panic was not counted")
	}
	x = sensitive()
	x.Request.Body, x.Response.Body = nil, &events.Body{Size: 9000} // the head alone
	e.Head(x)
	x.Request.Body = &events.Body{Size: 6}
	wantMetadata(t, x)
	if data, marks := e.Message(x, &events.Message{Data: []byte("secret")}); len(data) > 0 || marks[0].Action != events.MetadataOnly {
		t.Errorf("message: %q, %v", data, marks)
	}
}

// slow takes its time with a body.
type slow struct{}

func (slow) write(dst, next []byte) []byte { return append(dst, next...) }
func (slow) close(dst []byte) []byte       { return dst }

func TestTooLongLeavesMetadata(t *testing.T) {
	x := sensitive()
	e := New(ThrowawayKey())
	b := &Body{engine: e, walker: slow{}, work: maxWork}
	if out := b.Write([]byte("before "), []byte("secret")); string(out) != "before " || !b.Failed() {
		t.Errorf("kept %q of a body that took too long", out)
	}
	b.Mark(x, events.Side_REQUEST)
	e.Head(x)
	wantMetadata(t, x)
	if e.failures.timeouts.Load() != 1 {
		t.Errorf("%d timeouts, want 1", e.failures.timeouts.Load())
	}
}
