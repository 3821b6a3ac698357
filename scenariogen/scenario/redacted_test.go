package scenario

import (
	"strings"
	"testing"
	"time"

	"tapedeck/events"
)

func redactedAs(digits string) string { return "td1_0a1b2c3d_" + strings.Repeat(digits, 16) }

// Tokens of redaction stand for any value of a class, whatever their shape.
func TestRedactedShapes(t *testing.T) {
	token := redactedAs("0f")
	for value, want := range map[string]Class{
		token: ClassRedacted, "Bearer " + token: ClassRedacted, token + "@redacted.invalid": ClassRedacted,
		"9942424242424244": ClassRedacted, "+999123456789": ClassRedacted, "912-34-5678": ClassRedacted, "9123-04-05": ClassRedacted,
		"[12 bytes " + token + "]": ClassRedacted, "ada@example.com": "", "412-34-5678": "", "9999-12-31": "",
	} {
		if got := classify(leaf{kind: kindText, value: value}, time.Now()); got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}

func TestRedactedFits(t *testing.T) {
	text := func(s string) leaf { return leaf{kind: kindText, value: s} }
	number := func(s string) leaf { return leaf{kind: kindNumber, value: s} }
	email, jwt := redactedAs("0f")+"@redacted.invalid", "eyJhbGciOiJIUzI1NiJ9.eyJhIjoidGQxIn0.dGQxXzAx"
	for _, tt := range []struct {
		recorded, live leaf
		want           bool
	}{
		{text(redactedAs("0f")), text("anything"), true}, {text(redactedAs("0f")), text(""), false}, {text(redactedAs("0f")), number("1"), false},
		{text(redactedAs("0f")), leaf{kind: kindNull, value: "null"}, false},
		{text(email), text("ada@example.com"), true}, {text(email), text("Ada"), false}, {text(email), text(redactedAs("01") + "@redacted.invalid"), true},
		{text("9942424242424244"), text("4242 4242 4242 4242"), true}, {text("9942424242424244"), text("4242"), false},
		{text("9942424242424244"), text("ada@example.com"), false},
		{text("+999123456789"), text("+49 30 901820"), true}, {text("+999123456789"), text("none"), false},
		{text("912-34-5678"), text("078-05-1120"), true}, {text("912-34-5678"), text("78-05-1120"), false},
		{text("9123-04-05"), text("1815-12-10"), true}, {text("9123-04-05"), text("10 Dec 1815"), false},
		{text(jwt), text("eyJhbGciOiJIUzI1NiJ9.e30.c2ln"), true}, {text(jwt), text("opaque"), false},
		{text("999"), text("123"), true}, {text("999"), text("1234"), false}, {text("999"), text("abc"), false}, // a CVV is masked
		{number("8153"), number("4711"), true}, {number("8153"), text("4711"), false}, {text(""), text("dropped"), true},
	} {
		if got := fitsRedacted(tt.recorded, tt.live); got != tt.want {
			t.Errorf("%s for %s: %v", tt.live.value, tt.recorded.value, got)
		}
	}
}

// What does not look redacted is told by the marks.
func TestMarked(t *testing.T) {
	x := &events.Exchange{Redactions: []*events.Redaction{{Place: "response.body.$.pin", Class: "credential"}, {Place: "request.header.x-plan", Class: "custom"}}}
	for _, tt := range []struct {
		place string
		kind  kind
		value string
		want  bool
	}{
		{"response.body.$.pin", kindNumber, "4711", true}, {"response.body.$.total", kindNumber, "4711", false}, {"response.body.$.pin", kindBool, "true", false},
		{"response.body.$.pin", kindText, "****", true}, {"request.header.X-Plan", kindText, "gold", true},
		{"response.body.$.pin", kindText, "in a text: " + redactedAs("0f"), false}, // compared as a text
	} {
		if got := isMarked(x, leaf{kind: tt.kind, place: tt.place, value: tt.value}); got != tt.want {
			t.Errorf("%s %s: %v", tt.place, tt.value, got)
		}
	}
}

func TestRedactedTexts(t *testing.T) {
	at := observed{time: time.Now()}
	text := func(s string) observed { at.leaf = leaf{value: s}; return at }
	for recorded, live := range map[string]string{
		"Dear " + redactedAs("0f") + "@redacted.invalid, hello": "Dear ada@example.com, hello",
		"card 9942424242424244 ends":                            "card 4242424242424242 ends", "call +999 123 456789 now": "call 555-1234 now", "SSN 912-34-5678.": "SSN 078-05-1120.",
	} {
		if !sameText(text(recorded), text(live)) {
			t.Errorf("%q is not %q", live, recorded)
		}
		if sameText(text(recorded), text(live+" and more")) {
			t.Errorf("%q takes more", recorded)
		}
	}
}

// An answer tells how well it fits: a value that was redacted is proved by its
// secret alone.
func TestRedactedLevel(t *testing.T) {
	recorded := answer(200, nil, `{"customer":"`+redactedAs("0f")+`@redacted.invalid","id":1}`)
	volatile := []*Volatile{{Place: "response.body.$.customer", Class: string(ClassRedacted)}}
	secrets := NewSecrets(map[string]string{redactedAs("0f") + "@redacted.invalid": "ada@example.com"})
	equal := []events.Assertion{{Place: "response.body.$.customer", Rule: RuleEqual}}
	for _, tt := range []struct {
		name, live string
		rules      Rules
		want       Level
	}{
		{"the token", redactedAs("0f") + "@redacted.invalid", Rules{Volatile: volatile}, Exact},
		{"another of its class", "ada@example.com", Rules{Volatile: volatile}, Redacted},
		{"the secret", "ada@example.com", Rules{Volatile: volatile, Secrets: secrets}, Exact},
		{"another than the secret", "eve@example.com", Rules{Volatile: volatile, Secrets: secrets}, Redacted},
		{"asserted", "ada@example.com", Rules{Volatile: volatile, Assertions: equal}, Redacted},
		{"of another class", "Ada", Rules{Volatile: volatile}, Miss},
	} {
		level, differences := Judge(recorded, later(200, nil, `{"customer":"`+tt.live+`","id":1}`), tt.rules)
		if level != tt.want {
			t.Errorf("%s: %s, want %s: %v", tt.name, level, tt.want, differences)
		}
		for _, d := range differences {
			if d.Got != events.Hidden {
				t.Errorf("%s shows %s", tt.name, d.Got)
			}
		}
	}
}
