package http1

import (
	"strings"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/graphql"
	"tapedeck/wire/websocket"
)

// Bounds of what goes into the index.
const (
	maxPath = 1 << 10
	maxHost = 253 + 6
)

// Describe says what the index needs to know of an exchange.
func (p *Protocol) Describe(x *events.Exchange) wire.Description {
	r := x.Request
	if r == nil {
		r = &events.Request{}
	}
	marks := wire.ReadMarks(r.Headers, p.Tags)
	path := clip(Path(r.Target), maxPath)
	host, operation := hostOf(x, r), graphql.Operation(r)
	d := wire.Description{
		Endpoint: &events.Endpoint{
			Direction: x.Direction, Protocol: Name,
			Host:     host,
			Method:   clip(r.Method, maxMethod),
			Template: withOperation(p.template(x.Direction, host, path), operation),
			Replay:   marks.ReplayID != "",
		},
		Path: path, Class: class(x), Session: wire.Session(r.Headers),
		Trace: marks.Trace, Span: marks.Span, Parent: marks.Parent, ReplayID: marks.ReplayID, Tags: marks.Tags,
	}
	if x.Response != nil {
		d.Status = x.Response.Status
	}
	if operation != "" && d.Class == events.StatusClass_OK && graphql.HasErrors(x.Response) {
		d.Class = events.StatusClass_SERVER // GraphQL says it in the body alone
	}
	if x.Protocol == websocket.Name {
		d.Endpoint.Protocol, d.Status, d.Class = websocket.Name, websocket.Status(x), websocket.Class(x)
	}
	return d
}

// Path is the path of a request target, without scheme, authority and query.
// The target of CONNECT and the "*" of OPTIONS are their own path.
func Path(target string) string {
	target, _, _ = strings.Cut(target, "?")
	if strings.HasPrefix(target, "/") {
		return target
	}
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		return target
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return "/"
}

// template is the one that is written down, else the shape of the path.
func (p *Protocol) template(d events.Direction, host, path string) string {
	if p.Templates != nil {
		if written, ok := p.Templates(d, host, path); ok {
			return written
		}
	}
	return template(path)
}

// withOperation is the template of a GraphQL request: /graphql query GetCart.
func withOperation(template, operation string) string {
	if operation == "" {
		return template
	}
	return template + " " + operation
}

// template leaves alone what is no path: an authority, "*".
func template(path string) string {
	if !strings.HasPrefix(path, "/") {
		return path
	}
	return wire.Template(path)
}

// hostOf is the host as the caller named it; a fixed dependency
// (--outbound LISTEN=HOST:PORT) is named by what it is when its caller only
// names where we listen.
func hostOf(x *events.Exchange, r *events.Request) string {
	c := x.Connection
	host := r.Host
	if c != nil && (c.Listen != "" && namesPort(host, c.Listen) || host == "" && x.Direction == events.Direction_OUTBOUND) {
		host = c.Server
	}
	host = strings.ToLower(clip(host, maxHost))
	if r.Scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// namesPort says whether host is no more than a way to reach listen: none, or
// one with its port. A machine has many names, the port is one.
func namesPort(host, listen string) bool {
	return host == "" || strings.HasSuffix(host, listen[max(strings.LastIndexByte(listen, ':'), 0):])
}

func class(x *events.Exchange) events.StatusClass {
	if x.Response.GetStatus() == "" || x.Failure != "" && !strings.HasPrefix(x.Failure, "malformed request") {
		return events.StatusClass_FAILED
	}
	switch x.Response.Status[:1] {
	case "4":
		return events.StatusClass_CLIENT
	case "5":
		return events.StatusClass_SERVER
	}
	return events.StatusClass_OK
}

// clip cuts a text that is valid UTF-8 at a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
