package scenario

import (
	"bytes"
	"compress/gzip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

func answer(status int, header fields, body string) *events.Exchange {
	return exchangeOf(began, "GET", "/", nil, "", status, header, body)
}

func later(status int, header fields, body string) *events.Exchange {
	x := exchangeOf(began.Add(1000*time.Hour), "GET", "/", nil, "", status, header, body)
	x.Request.Host = "localhost:3000"
	return x
}

func TestCompare(t *testing.T) {
	text := fields{"Content-Type", "text/html; charset=utf-8"}
	binary := fields{"Content-Type", "application/octet-stream"}
	rules := DefaultRules()
	with := func(place, rule string) Rules {
		return Rules{Assertions: []events.Assertion{{Place: place, Rule: rule}}}
	}
	tests := []struct {
		name      string
		want, got *events.Exchange
		rules     Rules
		places    []string
	}{
		{"equal", answer(200, nil, `{"a":1}`), later(200, nil, `{"a":1}`), rules, nil},
		{"order of names, blanks, number forms", answer(200, nil, `{"a":1.50,"b":[1,2]}`), later(200, nil, "{\"b\" : [1,2],\n\"a\":1.5}"), rules, nil},
		{"order of items", answer(200, nil, `[1,2]`), later(200, nil, `[2,1]`), rules, []string{"response.body.$[0]", "response.body.$[1]"}},
		{"status", answer(200, nil, ""), later(500, nil, ""), rules, []string{"response.status"}},
		{"content type", answer(200, text, "x"), later(200, fields{"Content-Type", "text/plain"}, "x"), rules, []string{"response.header.Content-Type"}},
		{"content type, other letters", answer(200, text, "x"), later(200, fields{"content-type", "Text/HTML;charset=UTF-8"}, "x"), rules, nil},
		{"named header", answer(405, fields{"Allow", "GET"}, ""), later(405, fields{"Allow", "PUT"}, ""), rules, []string{"response.header.Allow"}},
		{"other header", answer(200, fields{"X-Request-Id", "a"}, ""), later(200, fields{"X-Request-Id", "b"}, ""), rules, nil},
		{"redirect to the same place elsewhere", answer(302, fields{"Location", "http://shop.test/a?b=c"}, ""), later(302, fields{"Location", "/a?b=c"}, ""), rules, nil},
		{"redirect to another place", answer(302, fields{"Location", "/a?b=c"}, ""), later(302, fields{"Location", "/a?b=d"}, ""), rules, []string{"response.location.query.b"}},
		{"no redirect", answer(302, fields{"Location", "/a"}, ""), later(302, nil, ""), rules, []string{"response.header.Location"}},
		{"cookie gone", answer(200, fields{"Set-Cookie", "sid=1"}, ""), later(200, nil, ""), rules, []string{"response.cookie.sid"}},
		{"cookie changed", answer(200, fields{"Set-Cookie", "sid=1"}, ""), later(200, fields{"Set-Cookie", "sid=2; Path=/"}, ""), rules, nil},
		{"null for a value", answer(200, nil, `{"a":"x"}`), later(200, nil, `{"a":null}`), rules, []string{"response.body.$.a"}},
		{"object for a value", answer(200, nil, `{"a":1}`), later(200, nil, `{"a":{"b":1}}`), rules, []string{"response.body.$.a", "response.body.$.a.b"}},
		{"empty array", answer(200, nil, `{"a":[]}`), later(200, nil, `{"a":[]}`), rules, nil},
		{"array filled", answer(200, nil, `{"a":[]}`), later(200, nil, `{"a":[1]}`), rules, []string{"response.body.$.a", "response.body.$.a[0]"}},
		{"no body", answer(200, nil, `{"a":1}`), later(200, nil, ""), rules, []string{"response.header.Content-Type", "response.body"}},
		{"text", answer(200, text, "<p>one</p>"), later(200, text, "<p>two</p>"), rules, []string{"response.body"}},
		{"bytes", answer(200, binary, "\x00\xff\x01"), later(200, binary, "\x00\xff\x02"), rules, []string{"response.body"}},
		{"own address", answer(200, nil, `{"self":"http://shop.test/a"}`), later(200, nil, `{"self":"http://localhost:3000/a"}`), rules, nil},
		{"ignored", answer(200, nil, `{"a":{"b":1,"c":2}}`), later(200, nil, `{"a":{"b":2}}`), with("response.body.$.a", RuleIgnore), nil},
		{"exists", answer(200, nil, `{"a":1}`), later(200, nil, `{"a":2}`), with("response.body.$.a", RuleExists), nil},
		{"exists, but is gone", answer(200, nil, `{"a":1}`), later(200, nil, `{}`), with("response.body.$.a", RuleExists), []string{"response.body.$.a", "response.body.$"}},
		{"status ignored", answer(200, nil, ""), later(201, nil, ""), with("response.status", RuleIgnore), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var places []string
			for _, d := range Compare(tt.want, tt.got, tt.rules) {
				places = append(places, d.Place)
			}
			if diff := cmp.Diff(tt.places, places); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCompareWithoutAnAnswer(t *testing.T) {
	got := later(200, nil, "")
	got.Response, got.Failure = nil, "refused"
	want := []events.Difference{{Place: "response", Want: "status 200", Got: "no answer: refused"}}
	if diff := cmp.Diff(want, Compare(answer(200, nil, ""), got, DefaultRules())); diff != "" {
		t.Error(diff)
	}
}

func TestTruncatedRecordingProvesNothing(t *testing.T) {
	recorded := answer(200, nil, `{"a":1`)
	recorded.Response.Body.Size = 100
	differences := Compare(recorded, later(200, nil, `{"a":1`), DefaultRules())
	if !Truncated(differences) {
		t.Errorf("differences %v, want that of the recording", differences)
	}
	differences = Compare(recorded, later(500, nil, `{"a":1`), DefaultRules())
	if len(differences) != 2 || Truncated(differences) {
		t.Errorf("differences %v, want the status as well", differences)
	}
	if Truncated(nil) {
		t.Error("no differences are said to be truncated")
	}
}

func TestPackedBodiesAreComparedUnpacked(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(`{"a":1}`))
	w.Close()
	packed := later(200, fields{"Content-Type", "application/json", "Content-Encoding", "gzip"}, b.String())
	if differences := Compare(answer(200, nil, `{"a":1}`), packed, DefaultRules()); len(differences) > 0 {
		t.Errorf("differences %v, want none", differences)
	}
	differences := Compare(answer(200, nil, `{"a":2}`), packed, DefaultRules())
	if len(differences) != 1 || differences[0].Place != "response.body.$.a" {
		t.Errorf("differences %v, want $.a", differences)
	}
}

func TestTextIsComparedButForItsVolatileParts(t *testing.T) {
	xml := fields{"Content-Type", "application/xml"}
	page := func(at time.Time, id, name string) string {
		return `<R><Modified>` + at.Format("2006-01-02T15:04:05.000Z") + `</Modified><Id>` + id + `</Id><Name>` + name + `</Name></R>`
	}
	s := &Session{Tests: []*Test{{Exchange: answer(200, xml, page(began, "1f3a5b7c9d1e3f5a7b9c", "a"))}}}
	Learn(s, nil)
	rules := s.Rules(DefaultRules(), 0, nil)
	live := began.Add(1000 * time.Hour)
	if d := Compare(s.Tests[0].Exchange, later(200, xml, page(live, "2b4c6d8e0f2a4b6c8d0e", "a")), rules); len(d) > 0 {
		t.Errorf("differences %v, want none", d)
	}
	if d := Compare(s.Tests[0].Exchange, later(200, xml, page(live, "2b4c6d8e0f2a4b6c8d0e", "b")), rules); len(d) != 1 {
		t.Errorf("differences %v, want the name", d)
	}
}

func TestKnownValuesHaveToComeBack(t *testing.T) {
	rules := Rules{Volatile: []*Volatile{{Place: "response.body.$.items[*].id", Class: "uuid"}},
		Values: map[string]string{"6d1c3b1e-5d0a-4b60-8f0e-0d1f6f5f0a01": "00000000-0000-4000-8000-000000000001"}}
	recorded := answer(200, nil, `{"items":[{"id":"6d1c3b1e-5d0a-4b60-8f0e-0d1f6f5f0a01"}]}`)
	if d := Compare(recorded, later(200, nil, `{"items":[{"id":"00000000-0000-4000-8000-000000000001"}]}`), rules); len(d) > 0 {
		t.Errorf("differences %v, want none", d)
	}
	if d := Compare(recorded, later(200, nil, `{"items":[{"id":"00000000-0000-4000-8000-000000000002"}]}`), rules); len(d) != 1 {
		t.Errorf("differences %v, want another id to be seen", d)
	}
}

func TestRedactedPartsOfATextMayBeAnything(t *testing.T) {
	tests := []struct {
		recorded, live string
		same           bool
	}{
		{"/reset?token=" + token(1) + "&x=1", "/reset?token=abc&x=1", true},
		{"/reset?token=" + token(1) + "&x=1", "/reset?token=abc&x=2", false},
		{"a " + token(1) + " b " + token(2) + " c", "a 1 b 2 c", true},
		{"a " + token(1) + " b " + token(2) + " c", "a 1 2 c", false},
		{"Bearer " + token(1), "Bearer s3cr3t", true},
	}
	for _, tt := range tests {
		s := &Session{Tests: []*Test{{Exchange: answer(200, nil, compactJSON(t, map[string]string{"a": tt.recorded}))}}}
		Learn(s, nil)
		d := Compare(s.Tests[0].Exchange, later(200, nil, compactJSON(t, map[string]string{"a": tt.live})), s.Rules(DefaultRules(), 0, nil))
		if (len(d) == 0) != tt.same {
			t.Errorf("%q and %q: differences %v", tt.recorded, tt.live, d)
		}
	}
}
