// Package graphql finds the operations of GraphQL in HTTP exchanges. GraphQL
// has one path for everything: what is asked for is its operation, so type and
// name of it are part of an endpoint.
//
//   - graphql.go: where a request carries its operation (graphql.org, "GraphQL
//     over HTTP"), and whether the answer has errors
//   - document.go: the operations of a document (GraphQL specification, 2.3)
//   - members.go: members of a JSON object, read without the rest of it
//
// Bodies are read up to a bound. What does not read as GraphQL is none.
package graphql

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"tapedeck/events"
	"tapedeck/wire"
)

// Bounds of what is read.
const (
	maxBody  = 64 << 10 // of a request
	maxQuery = 16 << 10 // of a target
	maxBatch = 16       // operations of one request that are read
	maxNames = 4        // of them, that are named
	maxName  = 128
)

// Operation is what the request asks for: "query GetCart", "mutation AddItem".
// One without a name has its fields, "query {cart,user}"; one that the server
// knows by its name or hash alone is "operation GetCart" or "operation
// #ecf4edb46db4". A batch is a list, each operation once. "" is no GraphQL.
func Operation(r *events.Request) string {
	switch r.GetMethod() {
	case "POST":
		return ofBody(r)
	case "GET":
		if _, query, ok := strings.Cut(r.Target, "?"); ok {
			return ofQuery(query)
		}
	}
	return ""
}

func ofBody(r *events.Request) string {
	kind, _, _ := strings.Cut(events.HeaderValue(r.Headers, "content-type"), ";")
	body := r.Body.GetData()
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "application/graphql":
		return request{document: string(plain(r.Headers, body, maxBody))}.operation()
	case "application/json", "application/graphql+json":
		body = plain(r.Headers, body, maxBody)
	default:
		return ""
	}
	if !bytes.Contains(body, []byte(`"query"`)) && !bytes.Contains(body, []byte(`"operationName"`)) && !bytes.Contains(body, []byte(`ersisted`)) {
		return ""
	}
	onGraphQL := isPath(r.Target)
	if body = bytes.TrimLeft(body, " \t\r\n"); len(body) == 0 || body[0] != '[' {
		return requestOf(body, onGraphQL).operation()
	}
	var all []string
	for _, element := range elements(body, maxBatch) {
		operation := requestOf(element, onGraphQL).operation()
		if operation == "" {
			return ""
		}
		all = append(all, operation)
	}
	return join(all)
}

// isPath says that a path is one that GraphQL is served at.
func isPath(target string) bool {
	path, _, _ := strings.Cut(strings.ToLower(target), "?")
	return strings.HasSuffix(strings.TrimSuffix(path, "/"), "graphql") || strings.HasSuffix(path, "/gql")
}

// join lists operations in an order of their own: clients gather batches as
// they come.
func join(all []string) string {
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > maxNames {
		all = append(all[:maxNames:maxNames], "…")
	}
	return strings.Join(all, ", ")
}

func ofQuery(query string) string {
	if len(query) > maxQuery || !strings.Contains(query, "query=") && !strings.Contains(query, "operationName=") && !strings.Contains(query, "ersisted") {
		return ""
	}
	values, _ := url.ParseQuery(query)
	q := request{document: values.Get("query"), name: values.Get("operationName")}
	if q.document == "" {
		q.known = persistedHash([]byte(values.Get("extensions")))
		q.persisted = q.known != "" || values.Has("variables")
	}
	return q.operation()
}

// request is one of GraphQL.
type request struct {
	document  string
	name      string
	persisted bool   // without a document: the server has it
	known     string // by this hash
}

// requestOf reads a JSON body. Without a document it is GraphQL when it says
// so, or comes where GraphQL is served.
func requestOf(body []byte, onGraphQL bool) request {
	var q request
	for key, value := range members(body) {
		switch key {
		case "query":
			q.document = text(value)
		case "operationName":
			q.name = text(value)
		case "variables":
			q.persisted = true
		case "documentId":
			q.known = shortHash(strings.TrimPrefix(text(value), "sha256:"))
		case "extensions":
			if hash := persistedHash(value); hash != "" {
				q.known = hash
			}
		}
	}
	q.persisted = q.persisted || q.known != "" || onGraphQL
	return q
}

// persistedHash reads {"persistedQuery":{"sha256Hash":"…"}}.
func persistedHash(extensions []byte) string {
	for key, value := range members(extensions) {
		if key != "persistedQuery" {
			continue
		}
		for key, hash := range members(value) {
			if key == "sha256Hash" {
				return shortHash(text(hash))
			}
		}
	}
	return ""
}

// shortHash is enough of a document's hash to tell documents apart.
func shortHash(s string) string {
	if wire.Class(s) != wire.ClassHash {
		return ""
	}
	return "#" + strings.ToLower(s[:12])
}

func (q request) operation() string {
	if q.document != "" {
		return operationOf(q.document, q.name)
	}
	if !q.persisted {
		return ""
	}
	if isName(q.name) {
		return "operation " + shape(q.name)
	}
	if q.name == "" && q.known != "" {
		return "operation " + q.known
	}
	return ""
}

// shape takes volatile parts out of a name: programs make names as well.
func shape(name string) string { return wire.Template("/" + name)[1:] }

// HasErrors says that an answer to GraphQL has errors.
func HasErrors(r *events.Response) bool {
	body := plain(r.GetHeaders(), r.GetBody().GetData(), events.BodyInline)
	if !bytes.Contains(body, []byte(`"errors"`)) {
		return false
	}
	if body = bytes.TrimLeft(body, " \t\r\n"); len(body) > 0 && body[0] == '[' {
		return slices.ContainsFunc(elements(body, maxBatch), failed)
	}
	return failed(body)
}

func failed(answer []byte) bool {
	for key, value := range members(answer) {
		if key == "errors" && len(elements(value, 1)) > 0 {
			return true
		}
	}
	return false
}
