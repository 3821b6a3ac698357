package redact

import (
	"fmt"
	"time"

	"tapedeck/events"
)

// Offline gives engines for what was recorded before. What an earlier pass has
// redacted goes on under the key of that pass: an exchange, and a tape, has one
// key.
type Offline struct {
	keys   *Keys
	active *Key
	rules  *Rules
	made   map[offlineKey]*Engine
	named  Schemas // nil: none
}

type offlineKey struct {
	key      string
	workload string
}

// NewOffline redacts by rules, and what nobody has redacted yet under the key
// that is active now.
func NewOffline(keys *Keys, rules *Rules, now time.Time) (*Offline, error) {
	active, err := keys.Active(now)
	if err != nil {
		return nil, err
	}
	return &Offline{keys: keys, active: active, rules: rules, made: map[offlineKey]*Engine{}}, nil
}

// WithSchemas redacts fields of gRPC by their names.
func (o *Offline) WithSchemas(s Schemas) *Offline {
	o.named = s
	return o
}

// Engine is the one for what has tokens of the key with that id, "" for none.
func (o *Offline) Engine(id string, w *events.Workload) (*Engine, error) {
	key := o.active
	if id != "" {
		if key = o.keys.ByID(id); key == nil {
			return nil, fmt.Errorf("it was redacted under key %s, which is not among ours: tokens of another key would never be equal to those in it", id)
		}
	}
	name := offlineKey{key.id, w.String()}
	e := o.made[name]
	if e == nil {
		if e = NewWith(key, o.rules, w); o.named != nil {
			e.WithSchemas(o.named)
		}
		o.made[name] = e
	}
	return e, nil
}

// MissingKeyHint is what a person can do about an error of Engine.
const MissingKeyHint = "put that key into the key file, or redact the recording that this one was made of; docs/redaction.md tells more of keys"
