package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Passthrough is one thing that captures know of each other: a host whose TLS
// is not opened, for every client or for one kind of them.
type Passthrough struct {
	Host   string    `json:"host"`             // name:port
	Client string    `json:"client,omitempty"` // fingerprint of its software; "": every client
	Reason string    `json:"reason"`
	CA     string    `json:"ca,omitempty"` // fingerprint of the authority that the client refused
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// PassthroughKeys are the keys in RULES that hold a Passthrough each.
const PassthroughKeys = "passthrough.>"

// maxPassthrough bounds the value of a key.
const maxPassthrough = 4 << 10

// Key is its key in RULES. A key has letters, digits and few signs, so the
// escapes of tokens begin with '=' there.
func (p *Passthrough) Key() string {
	return strings.ReplaceAll("passthrough."+Token(p.Host)+"."+Token(p.Client)+"."+Token(p.CA), "%", "=")
}

// ParsePassthrough reads the value of a key in RULES.
func ParsePassthrough(key string, value []byte) (p Passthrough, err error) {
	if len(value) > maxPassthrough {
		return p, fmt.Errorf("key %.100s of %s: %d bytes, at most %d", key, BucketRules, len(value), maxPassthrough)
	}
	if err := json.Unmarshal(value, &p); err != nil {
		return p, fmt.Errorf("key %s of %s: %w", key, BucketRules, err)
	}
	if p.Key() != key || p.Host == "" || p.Reason == "" || !p.Since.Before(p.Until) {
		return p, fmt.Errorf("key %s of %s: %w", key, BucketRules, errNotItsOwn)
	}
	return p, nil
}

var errNotItsOwn = errors.New("host, client, reason or times are not those of the key")
