package redact

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxKeys bounds what is read of a key file.
const maxKeys = 256

// Keys are the keys of an installation in the order of their times. At any
// time one of them is active: the last that is not before its time. Those that
// were active before are kept to redact old recordings alike; without its key
// no token can be made, or linked, again.
type Keys struct{ list []*Key }

// ParseKeys reads keys, one a line: each is
//
//	ID NOT-BEFORE KEY
//
// with the time as RFC 3339 writes it, or KEY alone, of 64 hex digits, which is
// active from the beginning. What begins with # is a remark. Errors never
// repeat what they are about.
func ParseKeys(text string) (*Keys, error) {
	keys := &Keys{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		k, err := parseLine(words)
		if err == nil {
			err = keys.add(k)
		}
		if err != nil {
			return nil, fmt.Errorf("read redaction keys: line %d: %w", n, err)
		}
	}
	if len(keys.list) == 0 {
		return nil, errors.New("read redaction keys: there is none")
	}
	return keys, nil
}

func parseLine(words []string) (*Key, error) {
	secret, err := hex.DecodeString(words[len(words)-1])
	if err != nil || len(secret) != keyBytes {
		return nil, errors.New("the key is not 64 hex digits") // never the text itself
	}
	k := newKey(secret)
	if len(words) == 1 {
		return k, nil
	}
	if len(words) != 3 {
		return nil, errors.New("it is neither KEY nor ID NOT-BEFORE KEY")
	}
	if words[0] != k.id {
		return nil, errors.New("the id is not that of the key")
	}
	if k.notBefore, err = time.Parse(time.RFC3339, words[1]); err != nil {
		return nil, errors.New("the time is not like 2026-12-31T00:00:00Z")
	}
	return k, nil
}

func (r *Keys) add(k *Key) error {
	for _, other := range r.list {
		if other.id == k.id {
			return errors.New("this key was there before")
		}
		if other.notBefore.Equal(k.notBefore) {
			return errors.New("another key begins at the same time")
		}
	}
	if len(r.list) == maxKeys {
		return fmt.Errorf("more than %d keys", maxKeys)
	}
	r.list = append(r.list, k)
	slices.SortFunc(r.list, func(a, b *Key) int { return a.notBefore.Compare(b.notBefore) })
	return nil
}

// At is the key that is active at t, and when the next one is; zero: never.
// Before the first one's time it is nil.
func (r *Keys) At(t time.Time) (active *Key, until time.Time) {
	for _, k := range r.list {
		if k.notBefore.After(t) {
			return active, k.notBefore
		}
		active = k
	}
	return active, time.Time{}
}

// Active is the key of now, or an error that says when there is one.
func (r *Keys) Active(now time.Time) (*Key, error) {
	k, until := r.At(now)
	if k == nil {
		return nil, fmt.Errorf("no redaction key is active before %s", until.Format(time.RFC3339))
	}
	return k, nil
}

// ByID is a key of any time, nil for one that is not there.
func (r *Keys) ByID(id string) *Key {
	for _, k := range r.list {
		if k.id == id {
			return k
		}
	}
	return nil
}

// All are the keys, the oldest first.
func (r *Keys) All() []*Key { return slices.Clone(r.list) }
