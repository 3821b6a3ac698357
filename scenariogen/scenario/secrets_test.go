package scenario

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecretsAreHidden(t *testing.T) {
	secret := `pä"ss & <word>`
	s := NewSecrets(map[string]string{"T1": secret, "T2": "4711", "T3": "Ada@Example.com", "T4": ""})
	for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), string(quoteJSON(secret)), escapeXML(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), "said " + secret + "!"} {
		if got := s.Hide(form); !strings.Contains(got, "T1") || strings.Contains(got, "ss") {
			t.Errorf("%q became %q", form, got)
		}
	}
	for text, want := range map[string]string{
		"pin 4711.": "pin T2.", "total 147110": "total 147110", "ada@example.com": "T3", "ADA@EXAMPLE.COM": "T3", "": "", "nothing": "nothing",
	} {
		if got := s.Hide(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	x := exchangeOf(began, "GET", "/u/"+url.PathEscape(secret), fields{"X-Key", secret}, "", 200, fields{"X-Echo", secret}, `{"a":`+string(quoteJSON(secret))+`}`)
	if hidden := s.HideIn(x); strings.Contains(hidden.String(), "word") || !strings.Contains(x.String(), "word") {
		t.Errorf("shown is %v", hidden)
	}
	var none *Secrets
	if none.Hide("x") != "x" || none.HideIn(x) != x {
		t.Error("no secrets hide something")
	}
}

// A file keeps what was filled in, and holds other scenarios' lines.
func TestSecretsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secrets.yaml")
	mail := redactedAs("0a") + "@redacted.invalid"
	m := &Manifest{Name: "check\nout", Credentials: []Credential{{Token: mail, Class: "email", Needed: true, Places: []string{"POST /a\nb: x"}}, {Token: "8153", Class: "credential"}}}
	if err := WriteSecrets(name, m); err != nil {
		t.Fatal(err)
	}
	filled, empty, err := FillSecrets(name, map[string]string{mail: `a"d: a`, "other": "x"})
	if err != nil || filled != 1 || empty != 1 {
		t.Fatal(filled, empty, err)
	}
	m.Credentials = append(m.Credentials[1:], Credential{Token: "new", Class: "card"})
	if err := WriteSecrets(name, m); err != nil {
		t.Fatal(err)
	}
	values, mode, err := readSecrets(name)
	if diff := cmp.Diff(map[string]string{mail: `a"d: a`, "8153": "", "new": ""}, values); diff != "" || err != nil || mode.Perm() != 0o600 {
		t.Errorf("%v %v\n%s", mode, err, diff)
	}
}

func TestSecretsFileMistakes(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"hunter2":           "no YAML of the form",
		"secrets: hunter2":  "no YAML of the form",
		"hunter2: {a: b}":   "no YAML of the form",
		"secrets: {a: [x]}": "no YAML of the form",
		"secrets: {a: 0815, b: true, c: null, d: 4242424242424242}": "",
		"": "",
	} {
		name := filepath.Join(dir, "file")
		if err := os.WriteFile(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		s, exposed, err := OpenSecrets(name)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && !exposed {
			t.Errorf("%q: that others may read it is not told", text)
		}
		if value, _ := s.Value("a"); err == nil && text != "" && value != "0815" {
			t.Errorf("%q: a is %q", text, value)
		}
	}
}

func FuzzSecretsFile(f *testing.F) {
	f.Add([]byte("secrets:\n  \"td1_0a_00\": \"x\"\n"))
	f.Add([]byte("secrets: &a {b: *a}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		values, err := parseSecrets(raw)
		if err != nil {
			return
		}
		s := NewSecrets(values)
		for token, value := range values {
			if got, ok := s.Value(token); ok && got != value || !ok && value != "" {
				t.Errorf("%q is %q, want %q", token, got, value)
			}
		}
		var b bytes.Buffer
		FormatSecrets(&b, &Manifest{Name: string(raw)}, values)
		if again, err := parseSecrets(b.Bytes()); err != nil || !cmp.Equal(values, again) && len(values) > 0 {
			t.Errorf("%v: %q became %q", err, values, again)
		}
	})
}

// A mock takes any value of its class for a redacted one, and the secret or a
// repetition before another.
func TestMatcherTakesRedactedValues(t *testing.T) {
	first, second := "9942424242424244", "9912345678901239"
	pay := func(card, reference string) string {
		return `{"card":"` + card + `","amount":1998,"reference":"` + reference + `"}`
	}
	r := newRecorder()
	r.turn()
	r.inbound("GET", "/", nil, "", 200, nil, "")
	r.outbound("pay.test", "POST", "/charges", pay(first, "6d1c3b1e-5d0a-4b60-8f0e-0d1f6f5f0a01"), 402, `{"n":1,"card":"`+first+`"}`)
	r.outbound("pay.test", "POST", "/charges", pay(second, "6d1c3b1e-5d0a-4b60-8f0e-0d1f6f5f0a02"), 201, `{"n":2,"card":"`+second+`"}`)
	secrets := NewSecrets(map[string]string{first: "4000000000000002", second: "4242424242424242"})
	for _, tt := range []struct {
		name    string
		secrets *Secrets
		cards   []string
		levels  []Level
		answers string
	}{
		{"tokens", nil, []string{second, first, second}, []Level{Shape, Shape, Shape}, "212"},
		{"any cards", nil, []string{"4111111111111111", "4111111111111111"}, []Level{Redacted, Redacted}, "12"},
		{"secrets", secrets, []string{"4242424242424242", "4000000000000002", "4242424242424242"}, []Level{Shape, Shape, Shape}, "212"},
		{"no card", nil, []string{"none"}, []Level{Miss}, "?"},
	} {
		m := r.matcher(t, "pay.test")
		m.Secrets = tt.secrets
		var answers strings.Builder
		for i, card := range tt.cards {
			live := call("POST", "/charges", pay(card, "0d1f6f5f-5d0a-4b60-8f0e-6d1c3b1e0a09"))
			got := m.Match(live)
			if got.Level != tt.levels[i] {
				t.Errorf("%s: %s is %s, want %s", tt.name, card, got.Level, tt.levels[i])
			}
			if got.Level == Miss {
				answers.WriteByte('?')
				continue
			}
			body := string(got.Mock.Answer(live).Body.Data)
			answers.WriteByte(body[len(`{"n":`)])
			if !strings.Contains(body, card) {
				t.Errorf("%s: the answer %s does not know %s", tt.name, body, card)
			}
		}
		if answers.String() != tt.answers {
			t.Errorf("%s: answers %s, want %s", tt.name, answers.String(), tt.answers)
		}
	}
}
