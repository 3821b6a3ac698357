package capture

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"tapedeck/capture/redact"
	"tapedeck/internal/service"
)

const (
	// redactionAge is how often the files of rules and keys are looked at.
	redactionAge = time.Second
	// alarmAgain is how often failures that go on are logged.
	alarmAgain = time.Minute
)

// openRedactor is nil with --redact off.
func openRedactor(cfg Config, data string, log *slog.Logger) (*redact.Source, error) {
	if cfg.RedactRules != "" && cfg.Redact != "on" {
		return nil, service.Hint(fmt.Errorf("--redact-rules %s: rules say nothing with --redact %s", cfg.RedactRules, cfg.Redact), "leave one of the two out")
	}
	if cfg.Redact == "off" {
		return nil, nil
	}
	setDefault(&cfg.RedactionKey, filepath.Join(data, "redaction.key"))
	source, err := redact.OpenSource(redact.Settings{
		Keys: cfg.RedactionKey, Rules: cfg.RedactRules, Headers: cfg.Redact == "headers", Workload: cfg.workload(),
	}, time.Now())
	if err != nil {
		return nil, service.Hint(err, "name a file with --redaction-key FILE, or record unredacted with --redact off")
	}
	if err := source.Problem(); err != nil {
		if cfg.RulesOrNothing {
			return nil, service.Hint(err, "docs/redaction.md has the form of a rule file; nothing is recorded without the rules that were asked for")
		}
		log.Error("redaction has no rules: only metadata is recorded until the file can be read", "error", err)
	}
	knowFields(source, data, log)
	return source, nil
}

// watchRedaction reads the files of rules and keys when they change, and says
// what goes wrong, until ctx is done.
func (s *Service) watchRedaction(ctx context.Context) {
	w := redactionWatch{source: s.recorder.redactor, log: s.log}
	if w.source == nil {
		return
	}
	for now := time.Now(); ; now = time.Now() {
		w.look(now)
		if !service.Sleep(ctx, redactionAge) {
			return
		}
	}
}

// redactionWatch remembers what was said of a source.
type redactionWatch struct {
	source *redact.Source
	log    *slog.Logger
	key    string
	failed int64     // panics and timeouts
	said   time.Time // when those were logged
}

func (w *redactionWatch) look(now time.Time) {
	read, err := w.source.Check(now)
	for _, file := range read {
		w.log.Info("redaction goes by a file that has changed", "file", file)
	}
	if err != nil {
		w.log.Error("a file of redaction has changed and can't be used; the version before it holds", "error", err)
	}
	status := w.source.Status(now)
	if w.key != "" && status.Key != w.key {
		w.log.Info("the redaction key has turned", "from", w.key, "to", status.Key)
	}
	w.key = status.Key
	if failed := status.Failures["panic"] + status.Failures["timeout"]; failed > w.failed && now.Sub(w.said) >= alarmAgain {
		w.log.Error("redaction failed: of these exchanges only metadata is recorded", "failures", failed-w.failed,
			"panic", status.Failures["panic"], "timeout", status.Failures["timeout"], "last_panic", w.source.LastPanic())
		w.failed, w.said = failed, now
	}
}

// Status is what /status shows of it.
type Status struct {
	Redaction redact.Status `json:"redaction"`
}

// Status is that of now.
func (s *Service) Status() any { return Status{s.recorder.redactor.Status(time.Now())} }
