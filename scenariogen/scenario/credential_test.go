package scenario

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

// session is what one client did, learned.
func learned(exchanges ...*events.Exchange) *Session {
	s := &Session{Id: "1"}
	for _, x := range exchanges {
		s.Tests = append(s.Tests, &Test{Exchange: x, Template: strings.SplitN(x.Request.Target, "?", 2)[0]})
	}
	Learn(s, nil)
	return s
}

// What no answer gave is listed, and what a target would refuse is needed.
func TestCredentials(t *testing.T) {
	mail, password, wrong, sid := redactedAs("0a")+"@redacted.invalid", redactedAs("0b"), redactedAs("0c"), redactedAs("0d")
	key, name, card := redactedAs("0e"), redactedAs("0f"), "9942424242424244"
	marked := func(x *events.Exchange, place, class string) *events.Exchange {
		x.Redactions = append(x.Redactions, &events.Redaction{Place: place, Class: class, Action: "token"})
		return x
	}
	s := learned(
		exchangeOf(began, "POST", "/login", nil, `{"email":"`+mail+`","password":"`+wrong+`"}`, 401, nil, ""),
		exchangeOf(began.Add(1e9), "POST", "/login", nil, `{"email":"`+mail+`","password":"`+password+`"}`, 200, fields{"Set-Cookie", "sid=" + sid + "; Path=/"}, `{"ok":true}`),
		exchangeOf(began.Add(2e9), "POST", "/orders", fields{"Cookie", "sid=" + sid}, `{"card":"`+card+`"}`, 201, nil, `{"ok":true}`),
		marked(exchangeOf(began.Add(3e9), "PUT", "/me", fields{"Cookie", "sid=" + sid, "X-Api-Key", key}, `{"first_name":"`+name+`"}`, 200, nil, `{"ok":true}`), "request.body.$.first_name", "name"),
		marked(exchangeOf(began.Add(4e9), "POST", "/pin?api_key="+key, nil, `{"pin":8153,"total":8153}`, 200, nil, `{"ok":true}`), "request.body.$.pin", "credential"),
	)
	var list credentialList
	list.add(s)
	want := []Credential{
		{mail, "email", true, []string{"POST /login request.body.$.email"}, 2},
		{password, "credential", true, []string{"POST /login request.body.$.password"}, 1},
		{key, "credential", true, []string{"PUT /me request.header.X-Api-Key", "POST /pin request.query.api_key"}, 2},
		{"8153", "credential", true, []string{"POST /pin request.body.$.pin"}, 1},
		{wrong, "credential", false, []string{"POST /login request.body.$.password"}, 1},
		{card, "card", false, []string{"POST /orders request.body.$.card"}, 1},
		{name, "name", false, []string{"PUT /me request.body.$.first_name"}, 1},
	}
	if diff := cmp.Diff(want, list.sorted()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	m := &Manifest{Credentials: list.sorted()}
	set := []events.Transform{{Place: "request.header.X-Api-Key"}, {Place: "request.query.api_key"}}
	missing := m.Missing(NewSecrets(map[string]string{mail: "ada@example.com", password: "", "8153": "4711"}), set)
	if len(missing) != 1 || missing[0].Token != password {
		t.Errorf("missing %v, want the password alone", missing)
	}
	if missing := m.Missing(WaiveSecrets(), nil); missing != nil {
		t.Errorf("waived, and missing %v", missing)
	}
}

// Secrets go to the places of their tokens, as each place wants them.
func TestSecretsAreSent(t *testing.T) {
	tok := redactedAs("0a")
	for name, tt := range map[string]struct {
		target string
		header fields
		body   string
		secret string
		sent   string // target, headers and body
	}{
		"query":     {"/a?k=" + tok, nil, "", "a b&c", "/a?k=a+b%26c"},
		"path":      {"/users/" + tok + "/x", nil, "", "a b/c", "/users/a%20b%2Fc/x"},
		"bearer":    {"/", fields{"Authorization", "Bearer " + tok}, "", "s3", "Authorization: Bearer s3"},
		"basic":     {"/", fields{"Authorization", "Basic " + tok}, "", "ada:x", "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:x"))},
		"basic raw": {"/", fields{"Authorization", "Basic " + tok}, "", "YWRhOng=", "Basic YWRhOng="},
		"cookie":    {"/", fields{"Cookie", "a=1; sid=" + tok + "; b=2"}, "", "s3", "a=1; sid=s3; b=2"},
		"form":      {"/", fields{"Content-Type", "application/x-www-form-urlencoded"}, "a=1&p=" + tok, "ä&", "a=1&p=%C3%A4%26"},
		"json":      {"/", nil, `{"p": "` + tok + `","n":1}`, `a"b`, `{"p": "a\"b","n":1}`},
		"number":    {"/", nil, `{"pin": 8153,"total":8153}`, "4711", `{"pin": 4711,"total":8153}`},
		"text":      {"/", fields{"Content-Type", "text/plain"}, "I am " + tok + "!", "Ada", "I am Ada!"},
		"xml":       {"/", fields{"Content-Type", "application/xml"}, "<p>" + tok + "</p>", "a<b", "<p>a&lt;b</p>"},
	} {
		t.Run(name, func(t *testing.T) {
			x := exchangeOf(began, "POST", tt.target, tt.header, tt.body, 200, nil, "")
			x.Redactions = []*events.Redaction{{Place: "request.body.$.pin", Class: "credential"}}
			q, _ := NewValues(learned(x)).With(NewSecrets(map[string]string{tok: tt.secret, "8153": tt.secret})).Request(0)
			sent := q.Request.Target + "\n"
			for _, f := range q.Request.Headers {
				sent += string(f.Name) + ": " + string(f.Value) + "\n"
			}
			if sent += string(q.Request.Body.GetData()); !strings.Contains(sent, tt.sent) || strings.Contains(sent, tok) {
				t.Errorf("sent %s\nwant %s", sent, tt.sent)
			}
		})
	}
}

// A redacted value that two sessions are told is linked all the same: the live
// value is another.
func TestStableTokensAreLinked(t *testing.T) {
	tok := redactedAs("0a")
	s := &Session{Tests: []*Test{
		{Exchange: exchangeOf(began, "GET", "/me", nil, "", 200, nil, `{"email":"`+tok+`@redacted.invalid"}`)},
		{Exchange: exchangeOf(began.Add(1e9), "POST", "/mail", nil, `{"to":"`+tok+`@redacted.invalid"}`, 200, nil, "")},
	}}
	if Learn(s, func(string) bool { return true }); len(s.Links) != 1 {
		t.Errorf("links %v", s.Links)
	}
}
