package redact

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"tapedeck/events"
)

// visit is one exchange of a user: what the user has comes back in each, what
// is of the request never does.
func visit(user, n int) *events.Exchange {
	field := func(name, value string) *events.Field { return &events.Field{Name: []byte(name), Value: []byte(value)} }
	key := fmt.Sprintf("%x", 0x9e3779b97f4a7c15*uint64(user*100+n+1)) + fmt.Sprintf("%x", 0xbf58476d1ce4e5b9*uint64(n+user+1))
	body := fmt.Sprintf(`{"tier":"tier of user %d","vorname":"Vorname%d","n":%d,"ok":true,"deploy":{"hook":"%s"},"user":{"name":"User %d","id":%d},"product":{"name":"Tea","id":%d},"note":"same for all"}`,
		user, user, n, key, user, 7000+user, n)
	return &events.Exchange{
		Connection: &events.Connection{},
		Request: &events.Request{Method: "GET", Target: fmt.Sprintf("/me?page=%d&passport=P%07d", n, user), Headers: []*events.Field{
			field("Authorization", fmt.Sprintf("Bearer user-%d-bearer", user)), field("X-Hook", key), field("X-Request-Id", key)}},
		Response: &events.Response{Status: "200", Headers: []*events.Field{field("Content-Type", "application/json")},
			Body: &events.Body{Data: []byte(body), Size: int64(len(body)), Kept: int64(len(body))}},
	}
}

func scanned(t *testing.T, exchanges func(func(*events.Exchange))) string {
	t.Helper()
	s := NewScan(&Rules{})
	exchanges(s.Add)
	var out bytes.Buffer
	if err := s.WriteRules(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func visits(do func(*events.Exchange)) {
	for user := range 5 {
		for n := range 4 {
			do(visit(user, n))
		}
	}
}

// What is proposed can be used as it is, and replaces what it was proposed for
// and nothing else.
func TestProposedRulesReplaceWhatWasFound(t *testing.T) {
	text := scanned(t, visits)
	rules, err := ParseRules([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	e := NewWith(testKey(t), rules, nil)
	for _, value := range []string{"tier of user", "Vorname", "User ", "bearer", "P000", "700", "same for all"} {
		if strings.Contains(text, value) {
			t.Errorf("the rules show a value, %q:\n%s", value, text)
		}
	}
	x := visit(3, 2)
	hook := events.HeaderValue(x.Request.Headers, "X-Hook")
	e.Exchange(x)
	body, target := string(x.Response.Body.Data), x.Request.Target
	for _, gone := range []string{"tier of user 3", "Vorname3", "User 3", `"id":7003`, hook, "P0000003"} {
		if strings.Contains(body+target+events.HeaderValue(x.Request.Headers, "X-Hook"), gone) {
			t.Errorf("%q is not replaced: %s, %s, by\n%s", gone, target, body, text)
		}
	}
	for _, kept := range []string{`"n":2`, `"ok":true`, `"product":{"name":"Tea","id":2}`, `"note":"same for all"`} {
		if !strings.Contains(body, kept) {
			t.Errorf("%q was replaced: %s", kept, body)
		}
	}
	if !strings.Contains(target, "page=2") || events.HeaderValue(x.Request.Headers, "X-Request-Id") != hook {
		t.Errorf("replaced in %s, %v", target, x.Request.Headers)
	}
	if !strings.Contains(text, "20 values, 5 different, 5 sessions") || !strings.Contains(text, "of 20 exchanges") {
		t.Errorf("no counts in\n%s", text)
	}
}

// The same place elsewhere holds something else: the rule names its endpoints.
func TestProposedRulesKeepToTheirEndpoints(t *testing.T) {
	text := scanned(t, func(do func(*events.Exchange)) {
		visits(do)
		for i := range 40 {
			x := visit(i%5, i)
			x.Request.Target = fmt.Sprintf("/products/%d", i)
			x.Response.Body.Data = []byte(`{"tier":"standard"}`)
			do(x)
		}
	})
	if !strings.Contains(text, `selector: '{endpoint="/me"}'`) {
		t.Fatalf("no selector in\n%s", text)
	}
	rules, err := ParseRules([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	x := visit(1, 1)
	x.Request.Target, x.Response.Body.Data = "/products/1", []byte(`{"tier":"standard"}`)
	NewWith(testKey(t), rules, nil).Exchange(x)
	if got := string(x.Response.Body.Data); got != `{"tier":"standard"}` {
		t.Errorf("replaced at another endpoint: %s", got)
	}
}

// Names come from the wire: they may be values, or look like YAML.
func TestScanOfStrangeNames(t *testing.T) {
	text := scanned(t, func(do func(*events.Exchange)) {
		for user := range 4 {
			for range 3 {
				x := visit(user, 0)
				x.Response.Body.Data = fmt.Appendf(nil, `{"ada@example.com":{"login":"u%d"},"%d":{"login":"u%d"},"a: b\n  - {x":{"login":"u%d"},"'\"":{"login":"u%d"}}`, user, 4711+user, user, user, user)
				do(x)
			}
		}
	})
	rules, err := ParseRules([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if strings.Contains(text, "ada@") || strings.Contains(text, "471") {
		t.Errorf("a name that is a value is shown:\n%s", text)
	}
	x := visit(0, 0)
	x.Response.Body.Data = []byte(`{"4719":{"login":"secret login"},"a: b\n  - {x":{"login":"secret login"}}`)
	NewWith(testKey(t), rules, nil).Exchange(x)
	if got := string(x.Response.Body.Data); strings.Contains(got, "secret") {
		t.Errorf("not replaced: %s by\n%s", got, text)
	}
}

// A rule file has room for 64 rules: the rest are remarks.
func TestScanOfManyFields(t *testing.T) {
	text := scanned(t, func(do func(*events.Exchange)) {
		x := visit(0, 0)
		x.Response.Body.Data = []byte("{")
		for i := range 100 {
			x.Response.Body.Data = fmt.Appendf(x.Response.Body.Data, `"f%d":{"login":"u"},`, i)
		}
		x.Response.Body.Data = append(x.Response.Body.Data, `"z":0}`...)
		do(x)
	})
	rules, err := ParseRules([]byte(text))
	if err != nil || len(rules.list) != maxRules || strings.Count(text, "  # - name: ") < 36 {
		t.Errorf("%v, %d rules, want %d, in\n%s", err, len(rules.list), maxRules, text)
	}
	if empty, err := ParseRules([]byte(scanned(t, func(func(*events.Exchange)) {}))); err != nil || len(empty.list) != 0 {
		t.Errorf("of nothing: %v, %v", empty, err)
	}
}
