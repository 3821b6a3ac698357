package redact

import (
	"time"

	"tapedeck/events"
)

// Status says how redaction does, for people to look at. It names keys, and
// holds none.
type Status struct {
	Mode     string           `json:"mode"`            // on, headers or off
	State    string           `json:"state"`           // working, metadata only, or off
	Rules    string           `json:"rules,omitempty"` // their file
	Key      string           `json:"key,omitempty"`   // id of the active one
	NextKey  string           `json:"next_key,omitempty"`
	NextAt   time.Time        `json:"next_key_at,omitzero"`
	Problems []string         `json:"problems,omitempty"`            // of files: the versions before them are used
	Keeps    bool             `json:"keeps_unknown_bodies,omitzero"` // rules leave some unknown bodies as they are
	Failures map[string]int64 `json:"failures,omitempty"`
}

// Status is that of now.
func (s *Source) Status(now time.Time) Status {
	if s == nil {
		return Status{Mode: "off", State: "off"}
	}
	e := s.At(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Status{Mode: "on", State: "working", Rules: s.settings.Rules, Key: e.KeyID(), Failures: s.Failures()}
	if s.settings.Headers {
		out.Mode = "headers"
	}
	if e.shut {
		out.State = events.MetadataOnly
	}
	for _, u := range e.rules.unknown {
		out.Keeps = out.Keeps || u.unknown == KeepUnknown
	}
	for _, f := range []watched{s.ruleFile, s.keyFile} {
		if f.problem != nil {
			out.Problems = append(out.Problems, f.problem.Error())
		}
	}
	if s.keys != nil {
		if _, at := s.keys.At(now); !at.IsZero() {
			next, _ := s.keys.At(at)
			out.NextKey, out.NextAt = next.ID(), at
		}
	}
	return out
}
