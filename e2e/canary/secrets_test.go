package canary

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"

	"tapedeck/wire"
)

const letters = "abcdefghijklmnopqrstuvwxyz0123456789"

func pick(r *rand.Rand, from string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = from[r.IntN(len(from))]
	}
	return string(b)
}

func word(r *rand.Rand, n int) string  { return pick(r, letters, n) }
func digit(r *rand.Rand, n int) string { return pick(r, "0123456789", n) }

// looks make secrets that are known by their looks.
var looks = []func(r *rand.Rand) string{
	email,
	card,
	func(r *rand.Rand) string { return withCheckDigit("51" + digit(r, 13)) },
	func(r *rand.Rand) string {
		return fmt.Sprintf("%03d-%02d-%04d", 1+r.IntN(600), 1+r.IntN(99), 1000+r.IntN(8999))
	},
	func(r *rand.Rand) string { return "+4420" + digit(r, 8) },
	iban,
	func(r *rand.Rand) string { return "AKIA" + strings.ToUpper(word(r, 16)) },
	func(r *rand.Rand) string { return "AIza" + word(r, 35) },
	key,
	func(r *rand.Rand) string { return "xoxb-" + digit(r, 12) + "-" + word(r, 24) },
	jwt,
}

func email(r *rand.Rand) string { return word(r, 8) + "@" + word(r, 6) + ".example.com" }
func card(r *rand.Rand) string  { return withCheckDigit("4" + digit(r, 14)) }

// key is one that may also stand in a host name.
func key(r *rand.Rand) string { return "ghp_" + word(r, 36) }

func jwt(r *rand.Rand) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"HS256"}`) + "." + part(`{"sub":"`+word(r, 12)+`"}`) + "." + word(r, 43)
}

func withCheckDigit(digits string) string {
	for c := range 10 {
		if s := digits + strconv.Itoa(c); wire.CheckLuhn(s) {
			return s
		}
	}
	panic("no check digit fits " + digits)
}

func iban(r *rand.Rand) string {
	account := digit(r, 18)
	for check := 2; check < 99; check++ {
		if s := fmt.Sprintf("DE%02d%s", check, account); wire.CheckIBAN(s) {
			return s
		}
	}
	panic("no check digits fit " + account)
}

// forms are what a secret is searched as: as it is, in hex, percent-encoded in
// all ways, escaped for HTML, in UTF-16, and in base64 of both alphabets
// whatever stands before it.
func forms(secret string) []string {
	plain := []byte(secret)
	var all, utf16le, utf16be strings.Builder
	for _, c := range plain {
		fmt.Fprintf(&all, "%%%02X", c)
	}
	for _, u := range utf16.Encode([]rune(secret)) {
		utf16le.Write([]byte{byte(u), byte(u >> 8)})
		utf16be.Write([]byte{byte(u >> 8), byte(u)})
	}
	out := []string{secret, hex.EncodeToString(plain), strings.ToUpper(hex.EncodeToString(plain)), url.QueryEscape(secret), strings.ToLower(url.QueryEscape(secret)),
		url.QueryEscape(url.QueryEscape(secret)), all.String(), strings.ToLower(all.String()), html.EscapeString(secret), utf16le.String(), utf16be.String()}
	for shift := range 3 {
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			text := encoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret + "xx"))
			out = append(out, text[(shift*8+5)/6:(shift*8+len(secret)*8)/6])
		}
	}
	return out
}
