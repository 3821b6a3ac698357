package redact

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"tapedeck/events/selector"
)

// maxRules is how many rules a file may have: which of them hold for an
// exchange is a set in 64 bits.
const maxRules = 64

// ruleFile is the YAML of a rule file.
type ruleFile struct {
	Packs   map[string]string `yaml:"packs"` // name: on or off
	Unknown []struct {
		Selector string `yaml:"selector"`
		Body     string `yaml:"body"`
	} `yaml:"unknown"`
	Rules []struct {
		Name     string   `yaml:"name"`
		Selector string   `yaml:"selector"`
		In       []string `yaml:"in"`
		Key      string   `yaml:"key"`
		Value    string   `yaml:"value"`
		Path     string   `yaml:"path"`
		Detector string   `yaml:"detector"`
		Class    string   `yaml:"class"`
		Action   string   `yaml:"action"`
	} `yaml:"rules"`
}

// LoadRules reads the rule file at path.
func LoadRules(path string) (*Rules, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read redaction rules: %w", err)
	}
	rules, err := ParseRules(text)
	if err != nil {
		return nil, fmt.Errorf("read redaction rules %s: %w", path, err)
	}
	return rules, nil
}

// ParseRules reads the text of a rule file. A word that it does not know is an
// error: a rule with a typo protects nothing.
func ParseRules(text []byte) (*Rules, error) {
	var file ruleFile
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil && len(bytes.TrimSpace(text)) > 0 {
		return nil, plainYAML(err)
	}
	if len(file.Rules) > maxRules {
		return nil, fmt.Errorf("%d rules; at most %d can be told apart", len(file.Rules), maxRules)
	}
	out := &Rules{off: map[Class]bool{}}
	if err := out.packs(file.Packs); err != nil {
		return nil, err
	}
	for _, u := range file.Unknown {
		rule, err := unknownOf(u.Selector, u.Body)
		if err != nil {
			return nil, err
		}
		out.unknown = append(out.unknown, rule)
	}
	for i, r := range file.Rules {
		rule := Rule{Name: r.Name}
		err := errors.Join(rule.where(r.Selector, r.In), rule.patterns(r.Key, r.Value, r.Path), rule.what(r.Detector, r.Class, r.Action))
		if err != nil {
			return nil, fmt.Errorf("rule %d (%s): %w", i+1, r.Name, err)
		}
		out.add(rule)
	}
	return out, nil
}

// plainYAML leaves our types out of an error.
func plainYAML(err error) error {
	var all *yaml.TypeError
	if !errors.As(err, &all) {
		return err
	}
	var lines []string
	for _, line := range all.Errors {
		word, _, _ := strings.Cut(line, " in type ")
		lines = append(lines, word)
	}
	return errors.New(strings.Join(lines, "; "))
}

// add keeps a rule. One that names a detector sets what its class is treated as.
func (r *Rules) add(rule Rule) { r.list = append(r.list, rule) }

func (r *Rules) packs(chosen map[string]string) error {
	for name, state := range chosen {
		all, ok := packs[name]
		if !ok {
			return fmt.Errorf("pack %q is not known; there are credentials, payment and personal", name)
		}
		if state != "on" && state != "off" && state != "true" && state != "false" {
			return fmt.Errorf("pack %s is %q; write on or off", name, state)
		}
		for _, c := range all {
			r.off[c] = state == "off" || state == "false"
		}
	}
	return nil
}

func unknownOf(where, body string) (u unknownRule, err error) {
	if u.selector, err = selector.Parse(or(where, "{}")); err != nil {
		return u, err
	}
	switch body {
	case "scan":
		u.unknown = ScanUnknown
	case "strict":
		u.unknown = StrictUnknown
	case "keep":
		u.unknown = KeepUnknown
	default:
		return u, fmt.Errorf("unknown body %q; write scan, strict or keep", body)
	}
	return u, nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (r *Rule) where(where string, in []string) (err error) {
	if where != "" {
		if r.Selector, err = selector.Parse(where); err != nil {
			return err
		}
	}
	for _, name := range in {
		at, ok := locationNames[name]
		if !ok {
			return fmt.Errorf("location %q is not known", name)
		}
		r.at |= at
	}
	if r.at == 0 {
		r.at = anywhere
	}
	return nil
}

func (r *Rule) patterns(key, value, path string) (err error) {
	compile := func(pattern, text string) *regexp.Regexp {
		if text == "" || err != nil {
			return nil
		}
		var re *regexp.Regexp
		re, err = regexp.Compile(fmt.Sprintf(pattern, text))
		return re
	}
	r.Key, r.Value = compile("(?i)^(?:%s)$", key), compile("%s", value)
	if path != "" {
		quoted := regexp.QuoteMeta(path)
		quoted = strings.ReplaceAll(strings.ReplaceAll(quoted, `\[\*\]`, `\[\d+\]`), `\*`, `[^./]+`)
		r.Path = compile("^%s$", quoted)
	}
	return err
}

func (r *Rule) what(detector, class, action string) error {
	ok := true
	if detector != "" {
		if r.Detector, ok = classOf(detector); !ok {
			return fmt.Errorf("detector %q is not known; there are %s", detector, strings.Join(classNames[1:], ", "))
		}
		r.class = r.Detector
	}
	if given := 0 + b2i(r.Key != nil) + b2i(r.Value != nil) + b2i(r.Path != nil) + b2i(detector != ""); given != 1 {
		return fmt.Errorf("it has %d of key, value, path and detector; it needs one", given)
	}
	if r.class == None {
		r.class = Custom
	}
	if class != "" {
		if r.class, ok = classOf(class); !ok {
			return fmt.Errorf("class %q is not known; there are %s", class, strings.Join(classNames[1:], ", "))
		}
	}
	n := slices.Index(actionNames[:], or(action, "token"))
	if n < 0 {
		return fmt.Errorf("action %q is not known; there are %s", action, strings.Join(actionNames[:], ", "))
	}
	r.action = Action(n)
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
