package redact

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lineOf is a new key as a line of the file.
func lineOf(notBefore time.Time) (k *Key, line string) {
	k = ThrowawayKey()
	k.notBefore = notBefore
	return k, k.line()
}

func TestOneKeyIsActive(t *testing.T) {
	day := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	first, one := lineOf(time.Time{})
	second, two := lineOf(day)
	third, three := lineOf(day.AddDate(0, 0, 1))
	keys, err := ParseKeys("# of the installation\n\n" + three + one + two) // in any order
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		at    time.Time
		want  *Key
		until time.Time
	}{
		{time.Time{}, first, day},
		{day.Add(-time.Nanosecond), first, day},
		{day, second, day.AddDate(0, 0, 1)},
		{day.AddDate(1, 0, 0), third, time.Time{}},
	} {
		if k, until := keys.At(test.at); k.ID() != test.want.ID() || !until.Equal(test.until) {
			t.Errorf("at %s: key %s until %s, want %s until %s", test.at, k.ID(), until, test.want.ID(), test.until)
		}
	}
	if keys.ByID(second.ID()) == nil || keys.ByID("0000") != nil || len(keys.All()) != 3 {
		t.Error("a key is not found by its id")
	}
	keys, err = ParseKeys(two)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Active(day.Add(-time.Hour)); err == nil || !strings.Contains(err.Error(), "2026-12-01T00:00:00Z") {
		t.Errorf("before the first key: error %v, want one that says when", err)
	}
}

// Errors about keys never repeat what they are about: it may be one, or most
// of one.
func TestBadKeysAreNotShown(t *testing.T) {
	secret := hex.EncodeToString(randomSecret())
	k, line := lineOf(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	other, _ := lineOf(k.notBefore)
	for name, text := range map[string]string{
		"empty":           "# none\n",
		"short":           secret[:62],
		"long":            secret + "ab",
		"two words":       "2026-12-01T00:00:00Z " + secret,
		"another id":      "0a0a0a0a 2026-12-01T00:00:00Z " + secret,
		"bad time":        k.id + " yesterday " + hex.EncodeToString(k.secret),
		"twice":           line + line,
		"the same time":   line + other.line(),
		"a truncated one": line[:len(line)-9],
	} {
		_, err := ParseKeys(text)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, s := range []string{secret, hex.EncodeToString(k.secret)} {
			if strings.Contains(err.Error(), s[:16]) {
				t.Errorf("%s: the error shows the key: %v", name, err)
			}
		}
	}
}

func TestOpenKeys(t *testing.T) {
	t.Setenv(KeyVariable, "")
	path := filepath.Join(t.TempDir(), "data", "redaction.key")
	first, err := OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenKeys(path)
	k := first.list[0]
	if err != nil || second.ByID(k.ID()) == nil {
		t.Fatalf("opened again: %v, %v, want key %s", err, second, k)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", k, k, k), hex.EncodeToString(k.secret)) {
		t.Error("the key prints itself")
	}
	_, line := lineOf(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	t.Setenv(KeyVariable, strings.Repeat("ab", 32)+","+line)
	if keys, err := OpenKeys(path); err != nil || len(keys.All()) != 2 || keys.ByID(k.ID()) != nil {
		t.Errorf("from the environment: %v, %v", keys, err)
	}
	t.Setenv(KeyVariable, "too short")
	if _, err := OpenKeys(path); err == nil || strings.Contains(err.Error(), "too short") {
		t.Errorf("a bad key: got %v, want an error that doesn't show it", err)
	}
}

func TestKeysAreAddedAndRemoved(t *testing.T) {
	t.Setenv(KeyVariable, "")
	path := filepath.Join(t.TempDir(), "redaction.key")
	if err := os.WriteFile(path, []byte(strings.Repeat("ab", 32)), 0o600); err != nil { // without an end of line
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	added, err := AddKey(path, now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := AddKey(path, now); err == nil {
		t.Error("a key was added before one that is there")
	}
	keys, err := OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := keys.At(now)
	after, _ := keys.At(now.Add(time.Minute))
	if before.ID() == added.ID() || after.ID() != added.ID() {
		t.Errorf("active %s, then %s, want %s then", before.ID(), after.ID(), added.ID())
	}
	if err := RemoveKey(path, added.ID(), now.Add(time.Hour)); err == nil {
		t.Error("the active key was removed")
	}
	if err := RemoveKey(path, "0000", now); err == nil {
		t.Error("a key that is not there was removed")
	}
	if err := RemoveKey(path, before.ID(), now.Add(time.Hour)); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), "abababab") {
		t.Errorf("the key is still there, %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

func FuzzParseKeys(f *testing.F) {
	_, line := lineOf(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	f.Add(line)
	f.Add(strings.Repeat("ab", 32) + "\n# remark")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys(text)
		if err != nil {
			return
		}
		again := ""
		for _, k := range keys.All() {
			again += k.line()
		}
		if other, err := ParseKeys(again); err != nil || len(other.All()) != len(keys.All()) {
			t.Fatalf("written and read again: %v", err)
		}
	})
}
