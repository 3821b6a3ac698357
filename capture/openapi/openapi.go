// Package openapi gives paths the templates that OpenAPI documents write down
// for them: /users/alice is /users/{name} where a document says so, whatever
// shape "alice" has.
//
//   - openapi.go: the documents of a service and of its dependencies
//   - document.go: one document: OpenAPI 3.x or Swagger 2, in YAML or JSON
//   - tree.go, segment.go: which template fits a path
//
// A template is a pure function of direction, host and path: the same in every
// replica that is given the same documents.
package openapi

import (
	"fmt"
	"strings"

	"tapedeck/events"
	"tapedeck/wire"
)

// Templates are those of a service and of the dependencies it calls.
type Templates struct {
	service      tree
	dependencies map[string]*tree // by host
}

// Open reads documents: FILE is one of the service, HOST=FILE one of the
// dependency that is called by that name. Where two name the same path the
// first one counts.
func Open(names []string) (*Templates, error) {
	t := &Templates{dependencies: map[string]*tree{}}
	for _, name := range names {
		into, file := &t.service, name
		if host, rest, ok := cutHost(name); ok {
			host = strings.ToLower(host)
			if t.dependencies[host] == nil {
				t.dependencies[host] = &tree{}
			}
			into, file = t.dependencies[host], rest
		}
		if err := read(file, into); err != nil {
			return nil, fmt.Errorf("--openapi %s: %w", name, err)
		}
	}
	return t, nil
}

// cutHost cuts HOST=FILE. What has a slash before the sign is a file.
func cutHost(name string) (host, file string, ok bool) {
	host, file, ok = strings.Cut(name, "=")
	return host, file, ok && host != "" && !strings.ContainsAny(host, `/\`)
}

var _ wire.Templater = (*Templates)(nil).Template

// Template is the template of a path, ok is false when no document has it.
func (t *Templates) Template(d events.Direction, host, path string) (template string, ok bool) {
	paths := &t.service
	if d == events.Direction_OUTBOUND {
		if paths = t.dependency(host); paths == nil {
			return "", false
		}
	}
	template = paths.match(path)
	return template, template != ""
}

// dependency finds the documents of HOST:PORT, or else those of HOST.
func (t *Templates) dependency(host string) *tree {
	if len(t.dependencies) == 0 {
		return nil
	}
	if paths := t.dependencies[host]; paths != nil {
		return paths
	}
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		return t.dependencies[host[:i]]
	}
	return nil
}
