package redact

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tapedeck/events"
)

// Settings say where an engine comes from.
type Settings struct {
	Keys     string           // file
	Rules    string           // file; "": the rules that are built in
	Headers  bool             // credentials by their names only
	Workload *events.Workload // that rules with a selector look at
}

// Source gives the engine of now. Keys turn by the clock, and both files are
// read again when they change (Check); as long as a new version can't be used,
// the last one that could is. Rules that could never be read leave metadata
// only. A nil Source gives a nil Engine. It is safe for concurrent use.
type Source struct {
	settings Settings
	failures failures
	reloads  [2]atomic.Int64 // versions of the files that could not be used
	schemas  atomic.Pointer[Schemas]
	current  atomic.Pointer[term]

	mu       sync.Mutex
	keys     *Keys
	rules    *Rules // nil: none could be read
	keyFile  watched
	ruleFile watched
}

// term is the time of one engine; until is zero when no other key follows.
type term struct {
	engine *Engine
	until  time.Time
}

// OpenSource opens the keys, which are made at first use. Rules that can't be
// read are no error here: Problems says so.
func OpenSource(s Settings, now time.Time) (*Source, error) {
	o := &Source{settings: s, keyFile: watched{path: s.Keys}, ruleFile: watched{path: s.Rules}}
	var err error
	if o.keys, err = OpenKeys(s.Keys); err == nil {
		_, err = o.keys.Active(now)
	}
	if err != nil {
		return nil, err
	}
	o.keyFile.changed()
	if s.Rules == "" {
		o.rules = &Rules{}
	} else {
		o.ruleFile.changed()
		o.readRules()
	}
	o.begin(now)
	return o, nil
}

// Fixed always gives e.
func Fixed(e *Engine) *Source {
	s := &Source{}
	e.failures = &s.failures
	s.current.Store(&term{engine: e})
	return s
}

// At is the engine of t.
func (s *Source) At(t time.Time) *Engine {
	if s == nil {
		return nil
	}
	now := s.current.Load()
	if now.until.IsZero() || t.Before(now.until) {
		return now.engine
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now = s.current.Load(); !t.Before(now.until) {
		s.begin(t)
	}
	return s.current.Load().engine
}

// begin makes the engine of now. Callers hold mu.
func (s *Source) begin(now time.Time) {
	key, until := s.keys.At(now)
	var e *Engine
	switch {
	case s.rules == nil:
		e = NewShut(key)
	case s.settings.Headers:
		e = NewHeaders(key)
	default:
		e = NewWith(key, s.rules, s.settings.Workload)
	}
	e.failures, e.schemas = &s.failures, &s.schemas
	s.current.Store(&term{e, until})
}

// Know redacts fields of gRPC by their names from now on.
func (s *Source) Know(schemas Schemas) {
	if s != nil {
		s.schemas.Store(&schemas)
	}
}

// Check reads the files that have changed. It returns the names of those that
// are used from now on, and what is wrong with those that can't be.
func (s *Source) Check(now time.Time) (read []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settings.Rules != "" && s.ruleFile.changed() {
		if s.readRules() == nil {
			read = append(read, s.ruleFile.path)
		}
		err = s.ruleFile.problem
	}
	if os.Getenv(KeyVariable) == "" && s.keyFile.changed() {
		if s.readKeys(now) == nil {
			read = append(read, s.keyFile.path)
		}
		err = errors.Join(err, s.keyFile.problem)
	}
	if len(read) > 0 {
		s.begin(now)
	}
	return read, err
}

func (s *Source) readRules() error {
	rules, err := LoadRules(s.ruleFile.path)
	s.ruleFile.problem = err
	if err != nil {
		s.reloads[0].Add(1)
		return err
	}
	s.rules = rules
	return nil
}

func (s *Source) readKeys(now time.Time) error {
	keys, err := readKeyFile(s.keyFile.path)
	if err == nil {
		_, err = keys.Active(now)
	}
	if err != nil {
		s.keyFile.problem = fmt.Errorf("read redaction keys: %w", err)
		s.reloads[1].Add(1)
		return err
	}
	s.keys, s.keyFile.problem = keys, nil
	return nil
}

// Problem says why there are no rules, nil when there are.
func (s *Source) Problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rules != nil {
		return nil
	}
	return s.ruleFile.problem
}

// Failures are counts by reason: rules and keys are versions of the files that
// could not be used; panic and timeout are bodies, messages and heads.
func (s *Source) Failures() map[string]int64 {
	if s == nil {
		return nil
	}
	return map[string]int64{
		"rules": s.reloads[0].Load(), "keys": s.reloads[1].Load(),
		"panic": s.failures.panics.Load(), "timeout": s.failures.timeouts.Load(),
	}
}

// LastPanic is where redaction panicked last, "" for never.
func (s *Source) LastPanic() string {
	if where := s.failures.stack.Load(); where != nil {
		return *where
	}
	return ""
}
