package grpc

import (
	"strings"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// Describe says what the index needs to know of a call: its endpoint is the
// method of its service, /package.Service/Method.
func (p *Protocol) Describe(x *events.Exchange) wire.Description {
	d := (&http1.Protocol{Tags: p.Tags}).Describe(x)
	d.Endpoint.Protocol = Name
	if _, method, ok := splitPath(d.Path); ok {
		d.Endpoint.Method, d.Endpoint.Template = method, d.Path
	}
	d.Status = Status(x)
	d.Class = class(x, d.Status)
	return d
}

// splitPath cuts /package.Service/Method; services and methods are names, what
// looks otherwise is no method of a service.
func splitPath(path string) (service, method string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return "", "", false
	}
	i := strings.LastIndexByte(rest, '/')
	if i <= 0 || !isName(rest[:i], "._-/") || !isName(rest[i+1:], "_") {
		return "", "", false
	}
	return rest[:i], rest[i+1:], true
}

const maxName = 256

func isName(s, extra string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(extra, c) >= 0) {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}
