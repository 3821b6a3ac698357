package graphql

import (
	"slices"
	"strings"
)

// operationOf is the operation of a document that a request asks for: the one
// of that name, or the only one.
func operationOf(document, name string) string {
	s := scanner{rest: strings.TrimPrefix(document, "\ufeff")}
	s.next()
	var chosen *definition
	for s.token != "" {
		d, ok := s.definition()
		if !ok {
			return ""
		}
		if d.kind != "fragment" && (chosen == nil || d.name == name) && (name == "" || d.name == name) {
			chosen = &d
		}
	}
	if chosen == nil {
		return ""
	}
	return chosen.String()
}

// definition is one of a document: an operation, or a fragment.
type definition struct {
	kind, name string
	fields     []string // of its selection, not below
}

func (d *definition) String() string {
	if d.name != "" {
		return d.kind + " " + shape(d.name)
	}
	slices.Sort(d.fields)
	fields := slices.Compact(d.fields)
	if len(fields) > maxNames {
		fields = append(fields[:maxNames:maxNames], "…")
	}
	return d.kind + " {" + strings.Join(fields, ",") + "}"
}

// definition reads one. ok is false where it is none.
func (s *scanner) definition() (d definition, ok bool) {
	switch d.kind = s.token; d.kind {
	case "{":
		d.kind = "query"
		return d, s.selection(&d)
	case "query", "mutation", "subscription":
		if s.next(); isName(s.token) {
			d.name = s.token
			s.next()
		}
		if s.token == "(" && !s.skip() {
			return d, false
		}
	case "fragment":
		if s.next(); !isName(s.token) || s.token == "on" {
			return d, false
		}
		s.next()
		if s.token != "on" {
			return d, false
		}
		if s.next(); !isName(s.token) {
			return d, false
		}
		s.next()
	default:
		return d, false
	}
	return d, s.directives() && s.selection(&d)
}

func (s *scanner) directives() bool {
	for s.token == "@" {
		if s.next(); !isName(s.token) {
			return false
		}
		if s.next(); s.token == "(" && !s.skip() {
			return false
		}
	}
	return true
}

// selection reads { … } and notes the names of its fields: of "mine: cart" the
// field is cart.
func (s *scanner) selection(d *definition) bool {
	if s.token != "{" {
		return false
	}
	if s.next(); s.token == "}" {
		return false
	}
	for s.token != "}" {
		if s.token == "..." {
			if !s.spread() {
				return false
			}
			continue
		}
		field := s.token
		if !isName(field) {
			return false
		}
		if s.next(); s.token == ":" {
			s.next()
			if field = s.token; !isName(field) {
				return false
			}
			s.next()
		}
		d.fields = append(d.fields, field)
		if s.token == "(" && !s.skip() || !s.directives() || s.token == "{" && !s.skip() {
			return false
		}
	}
	s.next()
	return true
}

// spread reads what follows "...": a fragment's name, or a selection.
func (s *scanner) spread() bool {
	s.next()
	if s.token == "on" {
		s.next()
	}
	if isName(s.token) {
		s.next()
	}
	return s.directives() && (s.token != "{" || s.skip())
}

// skip goes behind the partner of the bracket it stands at.
func (s *scanner) skip() bool {
	for depth := 0; s.token != ""; {
		switch s.token {
		case "{", "(", "[":
			depth++
		case "}", ")", "]":
			depth--
		}
		if s.next(); depth == 0 {
			return true
		}
	}
	return false
}

// scanner reads tokens. Texts and numbers are tokens that are no names.
type scanner struct{ rest, token string }

func (s *scanner) next() {
	for {
		s.rest = strings.TrimLeft(s.rest, " \t\r\n,")
		if !strings.HasPrefix(s.rest, "#") {
			break
		}
		_, s.rest, _ = strings.Cut(s.rest, "\n")
	}
	n := s.length()
	s.token, s.rest = s.rest[:n], s.rest[n:]
}

// length is that of the next token.
func (s *scanner) length() int {
	r := s.rest
	switch {
	case r == "":
		return 0
	case strings.HasPrefix(r, "..."):
		return 3
	case strings.HasPrefix(r, `"""`):
		return blockLength(r)
	case r[0] == '"':
		return quoted(r)
	}
	n := 0
	for n < len(r) && isNameByte(r[n]) {
		n++
	}
	return max(n, 1)
}

// blockLength is that of """ … """, in which \""" ends nothing.
func blockLength(r string) int {
	for i := 3; ; {
		n := strings.Index(r[i:], `"""`)
		if n < 0 {
			return len(r)
		}
		i += n + 3
		if r[i-4] != '\\' {
			return i
		}
	}
}

func isNameByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isName is a name of GraphQL, of a length that people give.
func isName(s string) bool {
	if s == "" || len(s) > maxName || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return true
}
