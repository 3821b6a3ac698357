package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"tapedeck/events"
	"tapedeck/wire"
)

// sample are values of every class that is known by its looks, made anew.
func sample(r *rand.Rand) map[string]string {
	digits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('0' + r.IntN(10))
		}
		return string(b)
	}
	letters := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[r.IntN(36)]
		}
		return string(b)
	}
	segment := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	card := withLuhn([]byte("4" + digits(15)))
	return map[string]string{
		"card":    string(card),
		"amex":    string(withLuhn([]byte("37" + digits(13)))),
		"grouped": fmt.Sprintf("%s %s %s %s", card[:4], card[4:8], card[8:12], card[12:]),
		"ssn":     fmt.Sprintf("%03d-%02d-%04d", 1+r.IntN(600), 1+r.IntN(99), 1+r.IntN(9999)),
		"email":   "u" + digits(6) + "@mail-" + digits(4) + ".example.com",
		"phone":   "+49" + digits(10),
		"spaced":  "+1 415 " + digits(3) + " " + digits(4),
		"iban":    string((&Key{}).ibanOf("DE", digits(18))),
		"aws":     "AKIA" + letters(16), "gcp": "AIza" + letters(35), "github": "ghp_" + letters(36), "slack": "xoxb-" + digits(11) + "-" + letters(20),
		"azure": strings.ToLower(letters(3)) + "8Q~" + letters(34), "stripe": "sk_live_" + letters(24),
		"jwt": segment(`{"alg":"HS256","typ":"JWT"}`) + "." + segment(`{"sub":"`+letters(20)+`","exp":1790000000}`) + "." + letters(43),
		"pem": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + letters(64) + "\n" + letters(64) + "\n-----END RSA " + "PRIVATE KEY-----",
	}
}

func (*Key) ibanOf(country, bban string) []byte {
	n, _ := wire.IBANRemainder(country + "00" + bban)
	return fmt.Appendf(nil, "%s%02d%s", country, 98-n, bban)
}

// TestEveryClassInEveryForm: nothing of a value is left, in any encoding, and a
// second pass changes nothing.
func TestEveryClassInEveryForm(t *testing.T) {
	e := New(testKey(t))
	r := rand.New(rand.NewPCG(1, 2))
	for name, secret := range sample(r) {
		quoted, _ := json.Marshal(secret)
		inner, _ := json.Marshal(`{"note":` + string(quoted) + `}`)
		for kind, body := range map[string]string{
			"application/json":                  `{"note":` + string(quoted) + `,"list":["x",` + string(quoted) + `]}`,
			"application/json; v=in a text":     `{"note":` + strings.Replace(string(quoted), `"`, `"call (`, 1) + `}`,
			"application/json; v=key":           `{` + string(quoted) + `:1}`,
			"application/json; v=nested":        `{"a":` + string(inner) + `}`,
			"application/json; v=base64":        `{"a":"` + base64.StdEncoding.EncodeToString([]byte(secret)) + `"}`,
			"application/json; v=twice":         `{"a":"` + base64.URLEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(secret)))) + `"}`,
			"application/json; v=percent":       `{"a":"` + url.QueryEscape(url.QueryEscape(strings.ReplaceAll(secret, " ", "-"))) + `"}`,
			"application/x-www-form-urlencoded": "n=1&note=" + url.QueryEscape(secret),
			"text/plain":                        "Hello, " + secret + " is it.",
			"application/xml":                   `<a><b c="` + secret + `">` + secret + `</b><!-- ` + secret + ` --><![CDATA[` + secret + `]]></a>`,
			"multipart/form-data; boundary=bb":  "--bb\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n" + secret + "\r\n--bb--\r\n",
			"application/x-protobuf":            "\x0a" + string(rune(len(secret))) + secret,
			"application/octet-stream":          "\x00\x01\x02 " + secret + " \xff\xfe\xfd",
		} {
			if len(secret) > 127 && strings.Contains(kind, "protobuf") {
				continue // its length would need two bytes
			}
			out, marks := redactBody(t, e, kind, body, nil)
			if left := leftOf(out, secret); left != "" {
				t.Errorf("%s in %s: %q holds %s", name, kind, out, left)
			}
			if strings.Contains(kind, "octet-stream") && len(out) != len(body) {
				t.Errorf("%s: %d bytes became %d", name, len(body), len(out))
			}
			if strings.Contains(kind, "json") && !json.Valid(out) {
				t.Errorf("%s in %s: no JSON: %s", name, kind, out)
			}
			if again, _ := redactBody(t, e, kind, string(out), marks); !bytes.Equal(again, out) {
				t.Errorf("%s in %s: once %q, twice %q", name, kind, out, again)
			}
		}
	}
}

func redactBody(t testing.TB, e *Engine, kind, body string, earlier []Mark) ([]byte, []Mark) {
	t.Helper()
	x := exchangeOf(kind, "")
	for _, m := range earlier {
		m.Place = "request.body." + m.Place
		Add(x, m)
	}
	b := e.Body(x, events.Side_REQUEST, []byte(body))
	if b == nil {
		t.Fatalf("%s is not looked at", kind)
	}
	out := b.Close(b.Write(nil, []byte(body)))
	if b.Failed() {
		t.Fatalf("%s: %q cost the body", kind, body)
	}
	return out, b.Marks()
}

// leftOf says in which form a secret is in a text.
func leftOf(text []byte, secret string) string {
	for form, s := range map[string]string{
		"it": secret, "its percent-encoding": url.QueryEscape(secret), "its hex": hex.EncodeToString([]byte(secret)),
		"its base64": base64.RawStdEncoding.EncodeToString([]byte(secret))[:len(secret)-3],
	} {
		if bytes.Contains(text, []byte(s)) {
			return form
		}
	}
	return ""
}

func TestWhatIsNotFound(t *testing.T) {
	e := New(testKey(t))
	for _, text := range []string{
		"0192a0c4-7b1e-7c3d-9f00-1234567890ab", "2026-11-28T10:00:00+01:00", "1764330000123", "1764330000123456", "4242424242424241",
		"v1.2.3-rc4", "a@b", "user@localhost", "10.0.0.1:8080", "#123-45-6789-0", "+0123", "d41d8cd98f00b204e9800998ecf8427e",
		"https://shop.example/p/17?page=2", "[1] a note", "sku-0001", "DE00 1234", "12:00:00", "9999-12-31", "token", "key: value",
	} {
		in := `{"note":"` + text + `","n":1764330000123456}`
		if out, _ := redactBody(t, e, "application/json", in, nil); string(out) != in {
			t.Errorf("%s became %s", in, out)
		}
	}
}

func TestByName(t *testing.T) {
	e := New(testKey(t))
	in := `{"password":"hunter2","cvv":"123","cvc":456,"pin":4711,"first_name":"Ada","street":"1 Main St","dob":"1815-12-10","ssn":"123456789",
		"phone":"030 1234567","credential":{"value":"x1"},"otp":["1","2"],"token":null,"name":"a product","id":17}`
	out, marks := redactBody(t, e, "application/json", in, nil)
	var got map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err, string(out))
	}
	for key, want := range map[string]string{
		"password": "credential", "first_name": "credential", "street": "credential", "dob": "birthdate", "ssn": "ssn", "phone": "phone",
	} {
		if class := wire.TokenClass(fmt.Sprint(got[key])); class != want {
			t.Errorf("%s is %v, which looks like %q, want %q", key, got[key], class, want)
		}
	}
	if got["cvv"] != "999" || got["cvc"] != 999.0 || got["name"] != "a product" || got["id"] != 17.0 || got["token"] != nil {
		t.Errorf("got %v", got)
	}
	if pin := got["pin"].(float64); pin == 4711 || pin < 1000 || pin > 9999 {
		t.Errorf("pin is %v, want another number of four digits", pin)
	}
	if bytes.Contains(out, []byte(`"x1"`)) || bytes.Contains(out, []byte(`"1"`)) {
		t.Errorf("in objects and arrays: %s", out)
	}
	if again, _ := redactBody(t, e, "application/json", string(out), marks); !bytes.Equal(again, out) {
		t.Errorf("once %s\ntwice %s", out, again)
	}
}

// TestEqualInEveryPlace: the same value has the same token wherever it stands.
func TestEqualInEveryPlace(t *testing.T) {
	e := New(testKey(t))
	for _, secret := range []string{"abcdefgh", sample(rand.New(rand.NewPCG(3, 4)))["jwt"], "0192a0c4-7b1e-7c3d-9f00-1234567890ab"} {
		out, _ := redactBody(t, e, "application/json", `{"token":"`+secret+`"}`, nil)
		token := strings.TrimSuffix(strings.TrimPrefix(string(out), `{"token":"`), `"}`)
		form, _ := redactBody(t, e, "application/x-www-form-urlencoded", "token="+secret, nil)
		for place, got := range map[string]string{
			"header": fieldOf(e, "Authorization", "Bearer "+secret), "query": targetOf(e, "/?token="+secret), "cookie": fieldOf(e, "Cookie", "a="+secret), "form": string(form),
		} {
			if !strings.HasSuffix(got, token) || token == secret {
				t.Errorf("%s: %s does not end with %s", place, got, token)
			}
		}
	}
}
