package scenario

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"tapedeck/events"
)

// kind is what a leaf is.
type kind uint8

const (
	kindText kind = iota
	kindNumber
	kindBool
	kindNull
	kindEmpty // an empty object or array
	kindBytes // a body without structure that is no text
	kindPlain // a body without structure that is text
)

// leaf is a value at a place of an exchange. Places read
//
//	request.method · request.path[1] · request.query.page · request.form.name
//	request.header.X-Tenant · request.cookie.sid · request.body.$.items[0].id
//	response.status · response.header.ETag · response.location.path[1]
//	response.location.query.code · response.cookie.sid · response.body.$.token
//	request.body, response.body: a body without structure
//
// A repeated header, query key or cookie has its number from the second on:
// request.query.tag[1].
type leaf struct {
	place string
	key   string // the name it stands under: JSON key, header, query key; "" for a path segment
	kind  kind
	value string
}

// requestLeaves are all values of a request.
func requestLeaves(r *events.Request) []leaf {
	if r == nil {
		return nil
	}
	out := []leaf{{"request.method", "", kindText, r.Method}}
	path, query, _ := strings.Cut(r.Target, "?")
	out = append(out, pathLeaves("request.path", originForm(path))...)
	out = append(out, formLeaves("request.query.", query)...)
	out = append(out, headerLeaves("request", r.Headers)...)
	return append(out, bodyLeaves("request", r.Headers, r.Body)...)
}

// responseLeaves are all values of a response.
func responseLeaves(r *events.Response) []leaf {
	if r == nil {
		return nil
	}
	out := []leaf{{"response.status", "", kindText, r.Status}}
	if location := events.HeaderValue(r.Headers, "Location"); location != "" {
		path, query, _ := strings.Cut(location, "?")
		out = append(out, pathLeaves("response.location.path", originForm(path))...)
		out = append(out, formLeaves("response.location.query.", query)...)
	}
	out = append(out, headerLeaves("response", r.Headers)...)
	return append(out, bodyLeaves("response", r.Headers, r.Body)...)
}

// originForm drops scheme and authority of a URL.
func originForm(path string) string {
	_, rest, found := strings.Cut(path, "://")
	if !found {
		return path
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return "/"
}

func pathLeaves(prefix, path string) []leaf {
	var out []leaf
	for i, segment := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
		value, err := url.PathUnescape(segment)
		if err != nil {
			value = segment
		}
		out = append(out, leaf{prefix + "[" + strconv.Itoa(i) + "]", "", kindText, value})
	}
	return out
}

func formLeaves(prefix, query string) []leaf {
	if query == "" {
		return nil
	}
	var out []leaf
	count := counter{}
	for part := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(part, "=")
		key, value = unescapeQuery(key), unescapeQuery(value)
		out = append(out, leaf{count.place(prefix + key), key, kindText, value})
	}
	return out
}

func unescapeQuery(s string) string {
	if v, err := url.QueryUnescape(s); err == nil {
		return v
	}
	return s
}

// counter numbers repeated places from the second on.
type counter map[string]int

func (c counter) place(place string) string {
	n := c[place]
	c[place]++
	if n == 0 {
		return place
	}
	return place + "[" + strconv.Itoa(n) + "]"
}

func headerLeaves(side string, fields []*events.Field) []leaf {
	var out []leaf
	count := counter{}
	for _, f := range fields {
		name, value := headerName(f), string(f.Value)
		switch {
		case side == "request" && name == "Cookie":
			for _, c := range cookiesIn(value) {
				out = append(out, leaf{count.place("request.cookie." + c.name), c.name, kindText, c.value})
			}
		case side == "response" && name == "Set-Cookie":
			part, _, _ := strings.Cut(value, ";")
			for _, c := range cookiesIn(part) {
				out = append(out, leaf{count.place("response.cookie." + c.name), c.name, kindText, c.value})
			}
		default:
			out = append(out, leaf{count.place(side + ".header." + name), name, kindText, value})
		}
	}
	return out
}

// headerName is the name in the form that places use: Content-Type.
func headerName(f *events.Field) string {
	b := bytes.ToLower(f.Name)
	upper := true
	for i, c := range b {
		if upper && c >= 'a' && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
		upper = c == '-'
	}
	return string(b)
}

type cookie struct{ name, value string }

func cookiesIn(header string) []cookie {
	var out []cookie
	for part := range strings.SplitSeq(header, ";") {
		name, value, found := strings.Cut(strings.TrimSpace(part), "=")
		if found && name != "" {
			out = append(out, cookie{name, value})
		}
	}
	return out
}

func bodyLeaves(side string, headers []*events.Field, b *events.Body) []leaf {
	if b == nil || len(b.Data) == 0 {
		return nil
	}
	data, ok := decodeBody(headers, b.Data)
	place := side + ".body"
	if !ok {
		return []leaf{{place, "", kindBytes, string(b.Data)}}
	}
	media := mediaType(headers)
	if side == "request" && media == "application/x-www-form-urlencoded" {
		return formLeaves("request.form.", string(data))
	}
	if looksJSON(media, data) {
		if found, err := jsonLeaves(data); err == nil {
			return jsonToLeaves(place, found)
		}
	}
	if side == "response" && looksXML(media, data) { // in a request nothing could be put into its place
		if found, err := xmlLeaves(place, data); err == nil {
			return found
		}
	}
	k := kindBytes
	if utf8.Valid(data) {
		k = kindPlain
	}
	return []leaf{{place, "", k, string(data)}}
}

func jsonToLeaves(place string, found []jsonLeaf) []leaf {
	out := make([]leaf, len(found))
	for i, f := range found {
		out[i] = leaf{place + "." + f.path, f.key, f.kind, f.text}
	}
	return out
}

// mediaType is the content type without parameters, lower case.
func mediaType(headers []*events.Field) string {
	media, _, _ := strings.Cut(events.HeaderValue(headers, "Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(media))
}

func looksJSON(media string, data []byte) bool {
	if media == "application/json" || strings.HasSuffix(media, "+json") || media == "text/json" {
		return true
	}
	if media != "" && media != "text/plain" {
		return false
	}
	t := bytes.TrimLeft(data, " \t\r\n")
	return len(t) > 0 && (t[0] == '{' || t[0] == '[')
}

// findLeaf is the value at exactly that place.
func findLeaf(leaves []leaf, place string) (leaf, bool) {
	for _, l := range leaves {
		if l.place == place {
			return l, true
		}
	}
	return leaf{}, false
}
