package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"strconv"
	"strings"
	"testing"

	"tapedeck/wire"
)

// Who has the stored tokens and not the key tries every value there is: all SSNs
// of an area, and a million e-mails. `make test` tries every tenth, `make
// test-canary` (CANARIES) all.
const tried = 1_000_000

func ssnOf(i int) string   { return fmt.Sprintf("219-%02d-%04d", i/10_000, i%10_000) }
func emailOf(i int) string { return "user" + strconv.Itoa(i) + "@example.com" }

// stolen are the stored tokens, by what can be compared of them.
type stolen struct {
	hashes map[[8]byte]bool // the first 64 bits of their hex digits
	shapes map[string]bool  // as they are
}

// steal stores values as somebody's tokens.
func steal(values []string, token func(value string) string) stolen {
	s := stolen{map[[8]byte]bool{}, map[string]bool{}}
	for _, v := range values {
		stored := token(v)
		s.shapes[stored] = true
		local := strings.TrimSuffix(stored, wire.RedactedDomain)
		digest, err := hex.DecodeString(local[strings.LastIndexAny(local, "_-")+1:])
		if err == nil && len(digest) >= 8 {
			s.hashes[[8]byte(digest)] = true
		}
	}
	return s
}

// attacks are the functions that peers make tokens with, and keys that somebody
// might have left.
func attacks() map[string]func() hash.Hash {
	all := map[string]func() hash.Hash{"SHA-256": sha256.New, "SHA-1": sha1.New, "MD5": md5.New, "SHA-512": sha512.New}
	for _, key := range []string{"", "secret", "tapedeck", "class\x00email", "class\x00ssn", strings.Repeat("\x00", 32)} {
		all["HMAC-SHA-256 under "+strconv.Quote(key)] = func() hash.Hash { return hmac.New(sha256.New, []byte(key)) }
	}
	return all
}

// attack counts the values of which a hash, or a part of one, is stored.
func (s stolen) attack(step int, value func(int) string, class Class, with map[string]func() hash.Hash) (found map[string]int) {
	found = map[string]int{}
	names, hashes := []string{}, []hash.Hash{}
	for name, make := range with {
		names, hashes = append(names, name), append(hashes, make())
	}
	guessed := newKey(make([]byte, keyBytes))
	sum := make([]byte, 0, 64)
	for i := 0; i < tried; i += step {
		v := []byte(value(i))
		for j, h := range hashes {
			h.Reset()
			h.Write(v)
			sum = h.Sum(sum[:0])
			for at := 0; at+8 <= len(sum); at += 8 { // a part of it, wherever it was cut
				if s.hashes[[8]byte(sum[at:])] {
					found[names[j]]++
				}
			}
		}
		if class == Email && s.shapes[string(guessed.shaped(class, v))] {
			found["our tokens under a key of zeros"]++
		}
		if s.shapes[string(v)] {
			found["no transform at all"]++
		}
	}
	return found
}

func TestDictionary(t *testing.T) {
	step := 10
	if os.Getenv("CANARIES") != "" {
		step = 1
	}
	e := New(testKey(t))
	ours := func(value string) string {
		out, _ := redactBody(t, e, "text/plain", value, nil)
		return string(out)
	}
	theirs := func(value string) string {
		sum := sha256.Sum256([]byte(value))
		return "REDACTED-" + hex.EncodeToString(sum[:])
	}
	plain := map[string]func() hash.Hash{"SHA-256": sha256.New}
	for class, value := range map[Class]func(int) string{SSN: ssnOf, Email: emailOf} {
		var values []string
		for i := 10_000; len(values) < 500; i += 1970 {
			if i%10_000 > 0 { // the serial number of an SSN is never zero
				values = append(values, value(i))
			}
		}
		if found := steal(values, ours).attack(step, value, class, attacks()); len(found) > 0 {
			t.Errorf("%s: found %v", class, found)
		}
		if found := steal(values, theirs).attack(step, value, class, plain); found["SHA-256"] < 490 {
			t.Errorf("%s: of plain hashes only %v are found: this attacks nothing", class, found)
		}
	}
}

// TestTokensSayNothing: tokens of neighbours have nothing in common, those of
// one value in two classes, or under two keys, neither, and the shape that holds
// few bits is no part of the one that holds many.
func TestTokensSayNothing(t *testing.T) {
	k, other := testKey(t), newKey(bytes.Repeat([]byte{1}, keyBytes))
	seen := map[string]string{}
	for i := range 2000 {
		value := []byte(emailOf(i))
		for name, token := range map[string][]byte{
			"credential": k.token(Credential, value), "name": k.token(Name, value), "e-mail": k.token(Email, value), "other key": other.token(Email, value),
		} {
			digits := string(token[len(token)-32:])
			for _, part := range []string{digits[:16], digits[16:]} {
				if before, ok := seen[part]; ok {
					t.Fatalf("%s of %s has a half in common with %s", name, value, before)
				}
				seen[part] = name + " of " + string(value)
			}
		}
	}
	equal := 0
	for i := 20_000; i < 40_000; i++ {
		if ssn := ssnOf(i); i%10_000 > 0 && string(k.ssn([]byte(ssn)))[4:] == ssn[4:] {
			equal++
		}
	}
	if equal > 5 { // one in 500,000 by chance
		t.Errorf("%d SSNs keep their last six digits", equal)
	}
}
