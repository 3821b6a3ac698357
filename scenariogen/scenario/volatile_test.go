package scenario

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"testing"
	"time"
)

func TestClassify(t *testing.T) {
	tests := []struct {
		key, value string
		kind       kind
		want       Class
	}{
		{"created_at", "2026-11-23T12:00:01.5Z", kindText, ClassTime},
		{"created_at", "2026-11-23 12:00:01", kindText, ClassTime},
		{"day", "2026-11-24", kindText, ClassTime},
		{"modified", "Mon, 23 Nov 2026 12:00:00 GMT", kindText, ClassTime},
		{"released", "2019-01-01T00:00:00Z", kindText, ""},
		{"expires", "2026-12-23T12:00:00Z", kindText, ClassTime},
		{"due", "2026-12-23T12:00:00Z", kindText, ""},
		{"ts", "1795435200", kindNumber, ClassTime},
		{"ts", "1795435200123", kindNumber, ClassTime},
		{"ts", "1795435200.25", kindNumber, ClassTime},
		{"population", "1400000000", kindNumber, ""},
		{"took_ms", "12", kindNumber, ClassDuration},
		{"total", "12", kindNumber, ""},
		{"id", "6d1c3b1e-5d0a-4b60-8f0e-0d1f6f5f0a01", kindText, ClassUUID},
		{"token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.", kindText, ClassToken},
		{"id", "cart_222072742d00", kindText, ClassToken},
		{"id", "ch_9f8e7d6c5b1", kindText, ClassToken},
		{"sid", "Zm9vYmFyMTIzNDU2Nzg5MA==", kindText, ClassToken},
		{"token", token(1), kindText, ClassRedacted},
		{"token", "Bearer " + token(1), kindText, ClassRedacted},
		{"self", "/orders/6d1c3b1e-5d0a-4b60-8f0e-0d1f6f5f0a01/items", kindText, ClassText},
		{"sku", "tea-250", kindText, ""},
		{"sku", "book-tape", kindText, ""},
		{"image", "/static/product-image-2024-large.png", kindText, ""},
		{"type", "application/vnd.github.v3+json", kindText, ""},
		{"email", "grace.hopper1906@example.com", kindText, ""},
		{"phone", "+49 170 1234567", kindText, ""},
		{"text", "a long sentence with 12 words and 3 numbers in it", kindText, ""},
		{"name", "internationalization", kindText, ""},
		{"version", "1.26.9", kindText, ""},
	}
	for _, tt := range tests {
		if got := classify(leaf{key: tt.key, kind: tt.kind, value: tt.value}, began); got != tt.want {
			t.Errorf("%s: %s is %q, want %q", tt.key, tt.value, got, tt.want)
		}
	}
}

// What a service makes up at random fits what it makes up the next time.
func TestRandomValuesFitEachOther(t *testing.T) {
	makers := map[string]func() string{
		"hex of 12": func() string { return "cart_" + hex.EncodeToString(random(6)) },
		"hex of 16": func() string { return "ord_" + hex.EncodeToString(random(8)) },
		"hex of 32": func() string { return hex.EncodeToString(random(16)) },
		"base64":    func() string { return base64.RawURLEncoding.EncodeToString(random(24)) },
		"rand.Text": rand.Text,
	}
	for name, make := range makers {
		for range 5000 {
			recorded, live := make(), make()
			a := observed{leaf{kind: kindText, value: recorded}, began}
			b := observed{leaf{kind: kindText, value: live}, began.Add(time.Hour)}
			for _, class := range []Class{ClassID, ClassLinked, classify(a.leaf, began)} {
				if class != "" && !fits(class, a, b) {
					t.Fatalf("%s: %s does not fit %s as %s", name, live, recorded, class)
				}
			}
		}
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

func TestOtherFormsDoNotFit(t *testing.T) {
	for recorded, live := range map[string]string{
		"ord_1a2b3c4d5e6f": "cart_1a2b3c4d5e6f", "ord-17": "ord", "paid": "open", "17": "x17y", "ord_1a2b3c4d": "error 42",
	} {
		a, b := observed{leaf{value: recorded}, began}, observed{leaf{value: live}, began}
		if fits(ClassLinked, a, b) {
			t.Errorf("%s fits %s", live, recorded)
		}
	}
}
