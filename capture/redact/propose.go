package redact

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// proposal is a rule for a place.
type proposal struct {
	why                        string
	class                      Class
	at                         location
	place                      string
	elsewhere                  bool // the place is on other endpoints, too, and nothing there
	endpoints                  []string
	values, distinct, sessions int
}

// maxSelected bounds the endpoints that a rule names.
const maxSelected = 8

// propose says which places look sensitive, the most frequent first.
func (s *Scan) propose() []*proposal {
	type group struct {
		at    location
		place string
	}
	made := map[group]*proposal{}
	others := map[group]bool{}
	var out []*proposal
	for _, p := range s.sorted() {
		f := s.fields[p]
		g := group{p.at, p.place}
		class, why := f.judge(p)
		if class == None {
			others[g] = true
			continue
		}
		q := made[g]
		if q == nil {
			q = &proposal{why: why, class: class, at: p.at, place: p.place}
			made[g], out = q, append(out, q)
		}
		q.endpoints = append(q.endpoints, p.endpoint)
		q.values, q.distinct, q.sessions = q.values+f.values, q.distinct+len(f.seen), max(q.sessions, len(f.sessions))
	}
	for g, q := range made {
		q.elsewhere = others[g] && len(q.endpoints) <= maxSelected
	}
	return out
}

// judge says what the values of a place are, and how that shows.
func (f *fieldCount) judge(p fieldPlace) (Class, string) {
	name, above := lastNames(p)
	if class := personalClass(name, above); class != None {
		return class, "its name is that of persons' values"
	}
	if slices.Contains(traceNames, plainName(withoutX([]byte(name)))) {
		return None, ""
	}
	if 5*f.secrets >= 4*f.values {
		return Credential, "its values look like keys: long, and of no pattern"
	}
	if f.oneSession() {
		return Custom, "each value comes again, and in one session only"
	}
	return None, ""
}

// lastNames are the name of a place and that of what it is in.
func lastNames(p fieldPlace) (name, above string) {
	if p.at&(inJSON|inXML) == 0 {
		return headPlace.ReplaceAllString(p.place, ""), ""
	}
	parts := strings.FieldsFunc(strings.ReplaceAll(p.place, "[*]", ""), func(c rune) bool { return c == '.' || c == '/' || c == '@' || c == '$' })
	if n := len(parts); n > 0 {
		name = parts[n-1]
		if n > 1 {
			above = parts[n-2]
		}
	}
	return name, above
}

var headPlace = regexp.MustCompile(`^(?:request|response)\.(?:header|trailer|query|fragment)\.`)

// proposed is a rule as it stands in a file.
type proposed struct {
	Name     string   `yaml:"name"`
	Selector string   `yaml:"selector,omitempty"`
	Path     string   `yaml:"path,omitempty"`
	Key      string   `yaml:"key,omitempty"`
	In       []string `yaml:"in,omitempty,flow"`
	Class    string   `yaml:"class"`
}

func (p *proposal) rule() proposed {
	r := proposed{Name: p.place, Class: p.class.String()}
	for name, at := range locationNames {
		if at == p.at && name != "sql" {
			r.In = []string{name}
		}
	}
	if p.at&(inJSON|inXML) != 0 {
		r.Path = p.place
	} else {
		name, _ := lastNames(fieldPlace{at: p.at, place: p.place})
		if p.at == inHeader {
			name = string(withoutX([]byte(name)))
		}
		r.Key = regexp.QuoteMeta(name)
	}
	if p.elsewhere {
		var all []string
		for _, e := range p.endpoints {
			all = append(all, "endpoint="+strconv.Quote(e))
		}
		r.Selector = "{" + strings.Join(all, " || ") + "}"
	}
	return r
}

func (p *proposal) remark() string {
	text := fmt.Sprintf("%s; %d values, %d different", p.why, p.values, p.distinct)
	if p.sessions > 0 {
		text += fmt.Sprintf(", %d sessions", p.sessions)
	}
	return text
}

// WriteRules writes rules for what was found, in the form of a rule file, and
// in remarks what the rules there are have found. It shows no value.
func (s *Scan) WriteRules(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Proposed by `tapedeck redact scan` of %d exchanges. Take out what is no secret, then: --redact-rules FILE\n", s.exchanges)
	room := maxRules
	b.WriteString("rules:\n")
	for _, p := range s.propose() {
		if err := writeRule(&b, p.rule(), p.remark(), &room); err != nil {
			return err
		}
	}
	if err := s.writeFound(&b, &room); err != nil {
		return err
	}
	if room == maxRules {
		b.WriteString("  []\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

var bodyPlace = regexp.MustCompile(`^(?:request|response)\.body\.([$/].+)$`)

// writeFound writes rules for places in bodies where the rules there are have
// found something: with them a place is replaced whatever its next value looks
// like. What is in headers and queries is found again anyway.
func (s *Scan) writeFound(b *bytes.Buffer, room *int) error {
	all := slices.SortedFunc(maps.Keys(s.found), func(x, y foundPlace) int {
		return cmp.Or(s.found[y]-s.found[x], cmp.Compare(x.place, y.place), cmp.Compare(x.class, y.class))
	})
	written := map[string]bool{}
	for _, f := range all {
		m := bodyPlace.FindStringSubmatch(f.place)
		_, known := classOf(f.class)
		remark := fmt.Sprintf("found by the rules there are, %d times", s.found[f])
		if m == nil || !known || general(m[1]) == "" || written[general(m[1])] {
			if m == nil && known {
				fmt.Fprintf(b, "  # %s: %s, %s\n", plainRemark(f.place), f.class, remark)
			}
			continue
		}
		written[general(m[1])] = true
		if err := writeRule(b, proposed{Name: general(m[1]), Path: general(m[1]), Class: f.class}, remark, room); err != nil {
			return err
		}
	}
	return nil
}

// writeRule writes an item of the list; beyond the rules that a file may have
// it is a remark.
func writeRule(b *bytes.Buffer, r proposed, remark string, room *int) error {
	text, err := yaml.Marshal([]proposed{r})
	if err != nil {
		return fmt.Errorf("write rule: %w", err)
	}
	indent := "  "
	if *room == 0 {
		indent = "  # "
	} else {
		*room--
	}
	fmt.Fprintf(b, "  # %s\n", remark)
	for line := range strings.Lines(string(text)) {
		b.WriteString(indent + line)
	}
	return nil
}

// plainRemark is a place on one line: names come from the wire.
func plainRemark(place string) string {
	quoted := strconv.Quote(place)
	return quoted[1 : len(quoted)-1]
}
