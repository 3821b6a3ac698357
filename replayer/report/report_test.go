package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"tapedeck/events"
)

// hostile is a result in which every text tries to be code.
func hostile(payload string) Report {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	miss := events.Miss{Session: payload, Method: payload, Endpoint: payload, Path: "/" + payload, Failure: payload,
		Diffs: []events.Difference{{Place: payload, Want: payload, Got: payload}}}
	x := &events.Exchange{
		Request: &events.Request{Method: payload, Target: payload, Version: payload, Headers: []*events.Field{{Name: []byte("X-A"), Value: []byte(payload)}},
			Body: &events.Body{Data: []byte(payload), Size: int64(len(payload))}},
		Response: &events.Response{Status: payload, Reason: payload, Headers: []*events.Field{{Name: []byte(payload), Value: []byte(payload)}},
			Body: &events.Body{Data: []byte(payload), Size: int64(len(payload))}},
	}
	return Report{
		Result: events.ReplayResult{
			ID: payload, Scenario: payload, Version: payload, Target: payload, By: payload, Verdict: events.Missed, Reason: payload,
			StartedAt: start, EndedAt: start.Add(2 * time.Second), Tests: events.Checked{Total: 3, Passed: 1, Missed: 1, Unchecked: 1},
			Latency: events.Latency{Count: 3, P50: 120 * time.Microsecond, P99: 12345 * time.Microsecond, Max: 3 * time.Second},
			Endpoints: []events.EndpointResult{{Method: payload, Template: payload, Tests: events.Checked{Total: 3, Passed: 1, Missed: 2},
				Latency: events.Latency{Count: 3, P50: 300 * time.Millisecond}, Recorded: 100 * time.Millisecond}},
			Misses: []events.Miss{miss},
			Mocks: []events.MockResult{{Dependency: payload, Address: payload, Served: 1, Missed: 1,
				Misses: []events.MockMiss{{Method: payload, Path: payload, Diffs: miss.Diffs}}}},
		},
		Details: []Detail{NewDetail(miss, x, x)},
	}
}

// Nothing recorded can run in the page: what comes out has the elements and
// attributes of the template and no others.
func TestHTMLRunsNothing(t *testing.T) {

	var first bytes.Buffer
	if err := HTML(&first, hostile("harmless")); err != nil {
		t.Fatal(err)
	}
	want := elements(t, first.String())
	for _, payload := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg/onload=alert(1)>`, `</style><script>alert(1)</script>`,
		`</pre></code><iframe src="javascript:alert(1)">`, `javascript:alert(1)`, `{{.Result}}`, `<!--`, `]]>`, "\u2028<b>", "a\x00b", `</title><script>x</script>`,
	} {
		var b bytes.Buffer
		if err := HTML(&b, hostile(payload)); err != nil {
			t.Fatal(err)
		}
		if got := elements(t, b.String()); got != want {
			t.Errorf("%q made other elements:\n%s\nwant\n%s", payload, got, want)
		}
	}
	if !strings.Contains(first.String(), "default-src 'none'") {
		t.Error("the page has no policy that forbids scripts")
	}
}

// elements lists elements and attributes of a page, and refuses all that could
// run or load something.
func elements(t *testing.T, page string) string {
	t.Helper()
	var list strings.Builder
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				t.Fatal(z.Err())
			}
			return list.String()
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			if token.Data == "script" || token.Data == "iframe" || token.Data == "img" || token.Data == "svg" || token.Data == "a" || token.Data == "link" {
				t.Errorf("page has <%s>", token.Data)
			}
			fmt.Fprintf(&list, "<%s", token.Data)
			for _, a := range token.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "href" || a.Key == "src" {
					t.Errorf("page has attribute %s=%q", a.Key, a.Val)
				}
				fmt.Fprintf(&list, " %s", a.Key)
			}
			list.WriteString(">\n")
		}
	}
}

func TestHTMLShows(t *testing.T) {
	var b bytes.Buffer
	if err := HTML(&b, hostile("total")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"prefers-color-scheme: dark", `class="badge missed"`, "1 / 3", "120 µs", "12.3 ms", "3.00 s",
		"2026-01-02 03:04:05 UTC, took 2.00 s", `width:33.3%`, "recorded answer", "no recorded answer"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("page lacks %q", want)
		}
	}
}

func TestDetailHidesLiveCredentials(t *testing.T) {
	x := &events.Exchange{
		Request: &events.Request{Method: "GET", Target: "/a?access_token=SECRET1&x=1", Version: "HTTP/1.1", Headers: []*events.Field{
			{Name: []byte("Authorization"), Value: []byte("Bearer SECRET2")}, {Name: []byte("X-Api-Key"), Value: []byte("SECRET3")},
			{Name: []byte("cookie"), Value: []byte("td1_k_0011")}, {Name: []byte("Accept"), Value: []byte("*/*")}}},
		Response: &events.Response{Version: "HTTP/1.1", Status: "200", Headers: []*events.Field{{Name: []byte("Set-Cookie"), Value: []byte("s=SECRET4")}},
			Body: &events.Body{Data: []byte(`{"refreshToken" : "SECRET5\"x","total":3}`), Size: 40}},
	}
	b, err := json.Marshal(NewDetail(events.Miss{}, x, x))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "SECRET") {
		t.Errorf("detail shows a credential: %s", b)
	}
	for _, want := range []string{`Accept: */*`, `\"total\": 3`, "x=1", "td1_k_0011"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("detail lacks %s: %s", want, b)
		}
	}
}

func TestJUnit(t *testing.T) {
	for _, payload := range []string{"shop", `<a b="c">&`, "\x00\x1b[0m", "]]>"} {
		var b bytes.Buffer
		if err := JUnit(&b, hostile(payload).Result); err != nil {
			t.Fatal(err)
		}
		var got junitSuites
		if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("%q: %v\n%s", payload, err, b.String())
		}
		if got.Tests != 3 || got.Failures != 3 || got.Errors != 0 || len(got.Suites[0].Cases) != 3 {
			t.Errorf("tests %d failures %d errors %d, want 3, 3 and 0", got.Tests, got.Failures, got.Errors)
		}
		if c := got.Suites[0].Cases[0]; c.Failure == nil || c.Failure.Message != "2 of 3 missed" || !strings.Contains(c.Failure.Text, "no complete answer") {
			t.Errorf("case of the endpoint: %+v", c)
		}
	}
	var b bytes.Buffer
	if err := JUnit(&b, events.ReplayResult{Scenario: "s", Verdict: events.Errored, Reason: "target refused"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `<error message="target refused" type="error">`) {
		t.Errorf("an error is not one in %s", b.String())
	}
}

func TestMarkdown(t *testing.T) {
	var b bytes.Buffer
	if err := Markdown(&b, hostile("a|b<script>\n# c [x](http://y)").Result); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if strings.Contains(got, "<script>") || strings.Contains(got, "\n# c") || strings.Contains(got, "[x](") || strings.Contains(got, "a|b") {
		t.Errorf("recorded text became markup:\n%s", got)
	}
	if !strings.Contains(got, "| 3 | 1 | 0 | 1 | 0 | 1 | 120 µs | 12.3 ms | 0.0 |") {
		t.Errorf("no golden signals in\n%s", got)
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	want := hostile("x")
	if err := JSON(&b, want); err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Result.Tests != want.Result.Tests || len(got.Details) != 1 || got.Details[0].Path != "/x" {
		t.Errorf("got %+v", got)
	}
}

func TestFit(t *testing.T) {
	long := strings.Repeat("ü", 1000)
	r := events.ReplayResult{ID: "r", Tests: events.Checked{Total: 10_000, Missed: 10_000}}
	for range 300 {
		m := events.Miss{Method: "GET", Path: long, Failure: long}
		for range 100 {
			m.Diffs = append(m.Diffs, events.Difference{Place: long, Want: long, Got: long})
		}
		r.Misses = append(r.Misses, m)
		r.Endpoints = append(r.Endpoints, events.EndpointResult{Method: "GET", Template: long[:500]})
	}
	for range 50 {
		r.Mocks = append(r.Mocks, events.MockResult{Dependency: "d", Missed: 30, Misses: []events.MockMiss{{Path: long, Diffs: r.Misses[0].Diffs}}})
	}
	fit := Fit(r)
	b, err := json.Marshal(fit)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > MaxResult {
		t.Errorf("result has %d bytes, at most %d", len(b), MaxResult)
	}
	if len(fit.Misses) == 0 || fit.Tests != r.Tests || len(fit.Mocks) != 50 {
		t.Errorf("kept %d misses, tests %+v, %d mocks", len(fit.Misses), fit.Tests, len(fit.Mocks))
	}
	if len(r.Misses[0].Diffs) != 100 || len(r.Misses[0].Path) != len(long) {
		t.Error("the original was changed")
	}
}

// The match level "redacted" stands in every report.
func TestReportsTellRedactedMatches(t *testing.T) {
	r := events.ReplayResult{Scenario: "checkout", Tests: events.Checked{Total: 41, Passed: 41, Redacted: 17},
		Mocks: []events.MockResult{{Dependency: "pay", Served: 29, Redacted: 23}}}
	for name, write := range map[string]func(io.Writer) error{
		"html":     func(w io.Writer) error { return HTML(w, Report{Result: r}) },
		"json":     func(w io.Writer) error { return JSON(w, Report{Result: r}) },
		"junit":    func(w io.Writer) error { return JUnit(w, r) },
		"markdown": func(w io.Writer) error { return Markdown(w, r) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if text := b.String(); !strings.Contains(text, "17") || !strings.Contains(text, "23") || !strings.Contains(text, "edacted") {
			t.Errorf("%s does not tell:\n%s", name, text)
		}
	}
}
