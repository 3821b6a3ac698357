package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"tapedeck/internal/service"
)

// Bounds of a document.
const (
	maxDocument = 32 << 20
	maxBases    = 100 // base paths of a path: servers, and values of their variables
)

const hint = "give an OpenAPI 3 or Swagger 2 document in YAML or JSON, of which paths and servers are read: --openapi FILE for the service, --openapi HOST=FILE for a dependency"

// read adds the paths of a file.
func read(file string, into *tree) error {
	f, err := os.Open(file)
	if err != nil {
		return service.Hint(err, hint)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("longer than %d MiB", maxDocument>>20)
	}
	if err != nil {
		return service.Hint(err, hint)
	}
	return service.Hint(add(data, into), hint)
}

// object is a mapping of a document. What is of another type than it should be
// reads as if it were not there.
type object map[string]any

// add adds the paths of a document.
func add(data []byte, into *tree) error {
	d, err := decode(data)
	if err != nil {
		return err
	}
	bases, err := d.bases()
	if err != nil {
		return err
	}
	paths := d.object("paths")
	if len(paths) == 0 {
		return errors.New("it has no paths")
	}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if strings.HasPrefix(path, "x-") {
			continue
		}
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("path %q does not begin with a slash", path)
		}
		own, err := paths.object(path).ownBases(bases)
		if err != nil {
			return fmt.Errorf("path %s: %w", path, err)
		}
		for _, base := range own {
			if err := into.add(base + path); err != nil {
				return fmt.Errorf("path %s: %w", base+path, err)
			}
		}
	}
	return nil
}

func decode(data []byte) (object, error) {
	var v any
	var err error
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		err = json.Unmarshal(data, &v)
	} else {
		err = yaml.Unmarshal(data, &v)
	}
	if err != nil {
		return nil, fmt.Errorf("it can't be read: %w", err)
	}
	d, _ := v.(map[string]any)
	if d == nil {
		return nil, errors.New("it is no OpenAPI document")
	}
	return d, nil
}

func (o object) object(key string) object {
	v, _ := o[key].(map[string]any)
	return v
}

func (o object) text(key string) string {
	s, _ := o[key].(string)
	return s
}

func (o object) list(key string) []any {
	l, _ := o[key].([]any)
	return l
}

// bases are the base paths of a document, without a slash at their end.
func (o object) bases() ([]string, error) {
	switch {
	case strings.HasPrefix(fmt.Sprint(o["openapi"]), "3"):
		return basesOf(o.list("servers"), []string{""})
	case strings.HasPrefix(fmt.Sprint(o["swagger"]), "2"):
		return []string{pathOf(o.text("basePath"))}, nil
	}
	return nil, errors.New(`it has neither "openapi: 3.…" nor "swagger: 2.0"`)
}

// methods may have servers of their own (OpenAPI 3.2, "Path Item Object").
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"}

// ownBases are those of a path: its own servers stand for the document's, and
// those of an operation for its path's. The endpoint has the method beside the
// path: any operation's servers will do.
func (o object) ownBases(document []string) ([]string, error) {
	path, err := basesOf(o.list("servers"), document)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(path)
	for _, method := range methods {
		own, err := basesOf(o.object(method).list("servers"), nil)
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// basesOf are the base paths of servers, or otherwise without any.
func basesOf(servers []any, otherwise []string) ([]string, error) {
	if len(servers) == 0 {
		return otherwise, nil
	}
	var all []string
	for _, s := range servers {
		server, _ := s.(map[string]any)
		expanded := expand(pathOf(object(server).text("url")), object(server).object("variables"))
		if all = append(all, expanded...); len(all) > maxBases {
			return nil, fmt.Errorf("it has servers for more than %d base paths", maxBases)
		}
	}
	return all, nil
}

// pathOf is the path of a server's URL, which may have variables anywhere.
func pathOf(url string) string {
	url, _, _ = strings.Cut(url, "?")
	url, _, _ = strings.Cut(url, "#")
	if _, rest, ok := strings.Cut(url, "//"); ok {
		_, url, _ = strings.Cut(rest, "/")
	}
	if url = strings.Trim(url, "/"); url == "" || url == "." {
		return ""
	}
	return "/" + url
}

// expand puts in the values of variables: all that are listed, else the
// default. One that the document does not know stays a parameter.
func expand(base string, variables object) []string {
	all := []string{base}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if !strings.Contains(base, "{"+name+"}") {
			continue
		}
		v := variables.object(name)
		values := v.list("enum")
		if len(values) == 0 {
			values = []any{v["default"]}
		}
		var next []string
		for _, b := range all {
			for _, value := range values[:min(len(values), maxBases+1)] {
				next = append(next, strings.ReplaceAll(b, "{"+name+"}", fmt.Sprint(value)))
			}
		}
		all = next[:min(len(next), maxBases+1)]
	}
	return all
}
