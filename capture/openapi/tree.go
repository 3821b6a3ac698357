package openapi

import (
	"net/url"
	"slices"
	"strings"
)

// tree holds templates by their segments. A path visits a node once at most,
// so that a match costs no more than the templates are many.
type tree struct {
	exact map[string]*tree
	mixed []mixedChild // those with the most text first
	any   *tree        // {name}
	here  string       // the template that ends here
	rest  string       // the template that ends here with {name+}: any segments from here on
}

type mixedChild struct {
	segment segment
	tree    *tree
}

// add adds a template that begins with a slash; one that is there stays.
func (t *tree) add(template string) error {
	segments := strings.Split(template[1:], "/")
	for i, text := range segments {
		s, err := parseSegment(text)
		if err != nil {
			return err
		}
		if s.greedy() && i == len(segments)-1 {
			if t.rest == "" {
				t.rest = template
			}
			return nil
		}
		t = t.child(s)
	}
	if t.here == "" {
		t.here = template
	}
	return nil
}

// child finds or makes the node of a segment.
func (t *tree) child(s segment) *tree {
	switch {
	case s.literal():
		if t.exact == nil {
			t.exact = map[string]*tree{}
		}
		if t.exact[s.texts[0]] == nil {
			t.exact[s.texts[0]] = &tree{}
		}
		return t.exact[s.texts[0]]
	case s.parameter():
		if t.any == nil {
			t.any = &tree{}
		}
		return t.any
	}
	for _, c := range t.mixed {
		if slices.Equal(c.segment.texts, s.texts) {
			return c.tree
		}
	}
	next := &tree{}
	t.mixed = append(t.mixed, mixedChild{s, next})
	slices.SortStableFunc(t.mixed, func(a, b mixedChild) int { return b.segment.length() - a.segment.length() })
	return next
}

// match is the template of a path, "" for none. The most specific one wins:
// segment by segment from the left, text before text with parameters, that
// before a parameter, and that before the rest of a path.
func (t *tree) match(path string) string {
	if !strings.HasPrefix(path, "/") {
		return ""
	}
	return t.find(path[1:])
}

func (t *tree) find(path string) string {
	text, after, more := strings.Cut(path, "/")
	if strings.IndexByte(text, '%') >= 0 {
		if plain, err := url.PathUnescape(text); err == nil {
			text = plain
		}
	}
	if next := t.exact[text]; next != nil {
		if found := next.end(after, more); found != "" {
			return found
		}
	}
	for _, c := range t.mixed {
		if c.segment.matches(text) {
			if found := c.tree.end(after, more); found != "" {
				return found
			}
		}
	}
	if text != "" && t.any != nil {
		if found := t.any.end(after, more); found != "" {
			return found
		}
	}
	if path == "" {
		return ""
	}
	return t.rest
}

func (t *tree) end(after string, more bool) string {
	if more {
		return t.find(after)
	}
	return t.here
}
