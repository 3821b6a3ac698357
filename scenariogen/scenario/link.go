package scenario

import (
	"cmp"
	"slices"
	"strings"

	"tapedeck/events"
)

// maxSources bounds the values of a session that are remembered for links.
const maxSources = 200_000

// source is where an answer gives a value.
type source struct {
	test    int
	leaf    leaf
	created bool   // the request may have made it: its method is not safe
	noun    string // what the endpoint is about: "order" for POST /orders
}

// Links finds the values of earlier answers that later requests of the session
// are made of. tests are in the order of time. stable says that a value is the
// service's own data, the same in every run; nil: none is known to be.
//
// A value is linked when an answer gave it before any request named it, and it
// is unlikely to be the same by chance: no words, no booleans, nothing under
// three characters, and small numbers only from and to places that are about
// the same thing (POST /orders gives {"id": 7}, GET /orders/7).
func Links(tests []*Test, stable func(value string) bool) []*Link {
	if stable == nil {
		stable = func(string) bool { return false }
	}
	f := linkFinder{sources: map[string][]source{}, client: map[string]bool{}, stable: stable}
	for i, t := range tests {
		f.request(i, t)
		f.response(i, t)
	}
	slices.SortFunc(f.links, func(a, b *Link) int {
		return cmp.Or(cmp.Compare(a.To, b.To), cmp.Compare(a.ToPlace, b.ToPlace), cmp.Compare(a.Recorded, b.Recorded))
	})
	return f.links
}

type linkFinder struct {
	sources map[string][]source
	count   int
	client  map[string]bool // values the client knew without being told
	stable  func(string) bool
	links   []*Link
}

func (f *linkFinder) request(i int, t *Test) {
	before := ""
	for _, l := range requestLeaves(t.Exchange.GetRequest()) {
		noun := keyNoun(l.key)
		if isPathPlace(l.place) {
			noun, before = singular(before), l.value
		}
		if !isInsertion(l) {
			continue
		}
		for _, part := range parts(l) {
			if f.link(i, l, part, noun) {
				break
			}
		}
	}
}

// link links the value to its best source, and remembers it as the client's
// own without one.
func (f *linkFinder) link(i int, l leaf, value, noun string) bool {
	best, score := source{}, -1
	for _, s := range f.sources[value] {
		if n := affinity(s, l, value, noun); n > score {
			best, score = s, n
		}
	}
	if score < 0 {
		if len(f.client) < maxSources {
			f.client[value] = true
		}
		return false
	}
	f.links = append(f.links, &Link{
		From: uint32(best.test), FromPlace: best.leaf.place, To: uint32(i), ToPlace: l.place, Recorded: value,
	})
	return true
}

// affinity says how well a source fits a place, below 0 not at all.
func affinity(s source, l leaf, value, noun string) int {
	score := 0
	if s.created {
		score += 4
	}
	sourceNoun := keyNoun(s.leaf.key)
	if sourceNoun == "" {
		sourceNoun = s.noun
	}
	sameNoun := noun != "" && (noun == sourceNoun || noun == s.noun)
	sameKey := l.key != "" && strings.EqualFold(l.key, s.leaf.key) && keyNoun(l.key) != ""
	if sameNoun || sameKey {
		score += 3
	}
	if isShort(value) && !sameNoun && !sameKey {
		return -1
	}
	return score
}

// isShort says that a value may easily be the same by chance.
func isShort(value string) bool { return isDigits(value) && len(value) < 6 }

func (f *linkFinder) response(i int, t *Test) {
	if t.Exchange.GetResponse() == nil {
		return
	}
	created, noun := !isSafe(t.Exchange.GetRequest().GetMethod()), endpointNoun(t)
	for _, l := range responseLeaves(t.Exchange.Response) {
		if f.count >= maxSources || !isExtraction(l) || f.client[l.value] || f.stable(l.value) && !isRedactedValue(l.value) {
			continue
		}
		f.count++
		f.sources[l.value] = append(f.sources[l.value], source{i, l, created, noun})
	}
}

func isSafe(method string) bool {
	return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE"
}

func isPathPlace(place string) bool { return strings.Contains(place, ".path[") }

// isInsertion says that a client could have put a value there that it was given.
func isInsertion(l leaf) bool {
	if l.kind != kindText && l.kind != kindNumber || l.value == "" {
		return false
	}
	if l.place == "request.method" || strings.HasPrefix(l.place, "request.header.") && plainRequestHeader(l.key) {
		return false
	}
	return !isShort(l.value) || isPathPlace(l.place) || isIDKey(l.key) || strings.HasPrefix(l.place, "request.cookie.")
}

func plainRequestHeader(name string) bool {
	switch name {
	case "Host", "User-Agent", "Connection", "Date", "Range", "Cache-Control", "Pragma", "Expect", "Te", "Upgrade",
		"Traceparent", "Tracestate", "Tapedeck-Replay", "Transfer-Encoding", "Origin", "Priority", "Dnt", "X-Request-Id":
		return true
	}
	return strings.HasPrefix(name, "Accept") || strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "Sec-")
}

// isExtraction says that a value of an answer is worth remembering.
func isExtraction(l leaf) bool {
	if l.place == "response.status" || strings.HasPrefix(l.place, "response.header.") && !tellingHeader(l.key) {
		return false
	}
	switch l.kind {
	case kindNumber:
		return isDigits(l.value) && (isIDKey(l.key) || len(l.value) >= 6)
	case kindText:
		return isTelling(l)
	}
	return false
}

func tellingHeader(name string) bool {
	if name == "Etag" || name == "Last-Modified" {
		return true
	}
	words := nameWords(name)
	return slices.ContainsFunc(words, func(w string) bool {
		return slices.Contains([]string{"token", "session", "csrf", "xsrf", "id", "key", "nonce", "cursor", "auth"}, w)
	})
}

// isTelling says that a text is unlikely to be somewhere else by chance.
func isTelling(l leaf) bool {
	v := l.value
	if len(v) > 4096 || v == "true" || v == "false" || v == "null" {
		return false
	}
	identified := isIDKey(l.key) || strings.HasPrefix(l.place, "response.cookie.")
	if isDigits(v) {
		return v != "" && (identified || isPathPlace(l.place) || len(v) >= 6)
	}
	if len(v) < 3 {
		return false
	}
	return identified || len(v) >= 16 || strings.ContainsAny(v, "0123456789")
}

// parts are the value at a place, then the pieces it may be put together from.
func parts(l leaf) []string {
	out := []string{l.value}
	if l.kind != kindText || len(l.value) > 16<<10 {
		return out
	}
	for _, p := range strings.FieldsFunc(l.value, func(c rune) bool { return strings.ContainsRune(" \t/?&=;,:\"'()", c) }) {
		if len(p) >= 3 && p != l.value && !isShort(p) {
			out = append(out, p)
		}
	}
	return out
}

// keyNoun is what a name is about: "order" for order_id; "" for "id".
func keyNoun(key string) string {
	words := nameWords(key)
	if len(words) < 2 || !isIDKey(key) {
		return ""
	}
	return singular(words[len(words)-2])
}

// endpointNoun is what an endpoint is about: the last word of its template.
func endpointNoun(t *Test) string {
	path := t.Template
	if path == "" {
		path, _, _ = strings.Cut(t.Exchange.GetRequest().GetTarget(), "?")
	}
	segments := strings.Split(originForm(path), "/")
	for _, s := range slices.Backward(segments) {
		if s != "" && !strings.ContainsAny(s, "{}*:0123456789") {
			return singular(s)
		}
	}
	return ""
}

func singular(word string) string {
	word = strings.ToLower(word)
	switch {
	case strings.HasSuffix(word, "ies") && len(word) > 4:
		return strings.TrimSuffix(word, "ies") + "y"
	case strings.HasSuffix(word, "sses"), strings.HasSuffix(word, "xes"):
		return strings.TrimSuffix(word, "es")
	case strings.HasSuffix(word, "s") && !strings.HasSuffix(word, "ss") && len(word) > 2:
		return strings.TrimSuffix(word, "s")
	}
	return word
}

// credentials are values of a request that say who sends it.
func credentials(r *events.Request) []string {
	var out []string
	for _, l := range requestLeaves(&events.Request{Target: "/", Headers: r.GetHeaders()}) {
		switch {
		case strings.HasPrefix(l.place, "request.cookie.") && len(l.value) >= 8:
			out = append(out, l.value)
		case l.place == "request.header.Authorization":
			_, token, found := strings.Cut(l.value, " ")
			if !found {
				token = l.value
			}
			out = append(out, token)
		case strings.HasPrefix(l.place, "request.header.") && isCredentialHeader(l.key):
			out = append(out, l.value)
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return len(s) < 8 })
}

func isCredentialHeader(name string) bool {
	words := nameWords(name)
	return len(words) > 1 && slices.Contains([]string{"token", "key", "session"}, words[len(words)-1]) && words[0] != "sec"
}

// issued are values of an answer that may become credentials.
func issued(r *events.Response) []string {
	var out []string
	for _, l := range responseLeaves(r) {
		switch {
		case strings.HasPrefix(l.place, "response.cookie.") && len(l.value) >= 8:
			out = append(out, l.value)
		case l.kind == kindText && len(l.value) >= 8 && len(l.value) <= 8192 && (isIDKey(l.key) || classifyWord(l.key, l.value, recordedNever) != ""):
			out = append(out, l.value)
		}
	}
	return out
}
