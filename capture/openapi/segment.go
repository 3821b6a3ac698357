package openapi

import (
	"fmt"
	"strings"
)

// segment is one of a template: texts with parameters between them. {id}.json
// is "", ".json".
type segment struct {
	texts []string
	name  string // of the last parameter
}

func parseSegment(s string) (segment, error) {
	var g segment
	for rest := s; ; {
		text, after, open := strings.Cut(rest, "{")
		if strings.IndexByte(text, '}') >= 0 {
			return g, fmt.Errorf("a brace in %q has no partner", s)
		}
		g.texts = append(g.texts, text)
		if !open {
			return g, nil
		}
		name, after, closed := strings.Cut(after, "}")
		if !closed || strings.IndexByte(name, '{') >= 0 {
			return g, fmt.Errorf("a brace in %q has no partner", s)
		}
		g.name, rest = name, after
	}
}

func (g *segment) literal() bool { return len(g.texts) == 1 }

// parameter is a segment that is nothing but one: {id}.
func (g *segment) parameter() bool { return len(g.texts) == 2 && g.texts[0] == "" && g.texts[1] == "" }

// greedy parameters are those of gateways: {proxy+} stands for the rest of a path.
func (g *segment) greedy() bool {
	return g.parameter() && (strings.HasSuffix(g.name, "+") || strings.HasSuffix(g.name, "*"))
}

// length is how much of the segment is text.
func (g *segment) length() int { return len(strings.Join(g.texts, "")) }

// matches wants every text in its place, and something in every parameter.
func (g *segment) matches(s string) bool {
	s, ok := strings.CutPrefix(s, g.texts[0])
	if !ok {
		return false
	}
	last := len(g.texts) - 1
	for _, text := range g.texts[1:last] {
		if s == "" {
			return false
		}
		i := strings.Index(s[1:], text)
		if i < 0 {
			return false
		}
		s = s[1+i+len(text):]
	}
	return len(s) > len(g.texts[last]) && strings.HasSuffix(s, g.texts[last])
}
