package scenario

import (
	"strings"
	"testing"
	"time"

	"tapedeck/events"
)

// Tokens of redaction stand for any value, whatever their shape.
func TestRedactedShapes(t *testing.T) {
	token := "td1_0a1b2c3d_" + strings.Repeat("0f", 16)
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

func TestRedactedNumbers(t *testing.T) {
	x := &events.Exchange{Redactions: []*events.Redaction{{Place: "response.body.$.pin"}}}
	for place, want := range map[string]bool{"response.body.$.pin": true, "response.body.$.total": false} {
		if got := isRedactedNumber(x, leaf{kind: kindNumber, place: place}); got != want {
			t.Errorf("%s: %v", place, got)
		}
	}
}
