package scenario

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"tapedeck/events"
)

// message is the part of a request or response that places name.
type message struct {
	side    string // "request" or "response"
	target  *string
	headers []*events.Field
	body    *events.Body
}

func requestMessage(r *events.Request) message {
	return message{side: "request", target: &r.Target, headers: r.Headers, body: r.Body}
}

func responseMessage(r *events.Response) message {
	return message{side: "response", headers: r.Headers, body: r.Body}
}

// put replaces the recorded value at a place by the live one: all of the
// value there, or the parts of it that are the recorded value (the token behind
// "Bearer "). It says whether anything was replaced.
func (m message) put(place, recorded, live string) bool {
	rest, ok := strings.CutPrefix(place, m.side+".")
	if !ok || recorded == live || recorded == "" {
		return false
	}
	switch {
	case strings.HasPrefix(rest, "path[") && m.target != nil:
		return m.putPath(rest, recorded, live)
	case strings.HasPrefix(rest, "query.") && m.target != nil:
		path, query, _ := strings.Cut(*m.target, "?")
		query, done := putForm(query, "query.", rest, recorded, live)
		*m.target = path + "?" + query
		return done
	case strings.HasPrefix(rest, "header."):
		return m.putHeader(rest, recorded, live)
	case strings.HasPrefix(rest, "cookie."):
		return m.putCookie(rest, recorded, live)
	case strings.HasPrefix(rest, "form.") && m.body != nil:
		form, done := putForm(string(m.body.Data), "form.", rest, recorded, live)
		m.setBody([]byte(form), done)
		return done
	case strings.HasPrefix(rest, "body.$") && m.body != nil:
		return m.putJSON(strings.TrimPrefix(rest, "body."), recorded, live)
	case rest == "body" && m.body != nil:
		text := replacePart(string(m.body.Data), recorded, live)
		m.setBody([]byte(text), text != string(m.body.Data))
		return true
	}
	return false
}

func (m message) putPath(rest, recorded, live string) bool {
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(rest, "path["), "]"))
	path, query, hasQuery := strings.Cut(*m.target, "?")
	prefix := path[:len(path)-len(originForm(path))]
	segments := strings.Split(path[len(prefix):], "/")
	n++ // behind the leading slash
	if err != nil || n >= len(segments) {
		return false
	}
	value, err := url.PathUnescape(segments[n])
	if err != nil {
		value = segments[n]
	}
	segments[n] = url.PathEscape(replacePart(value, recorded, live))
	*m.target = prefix + strings.Join(segments, "/")
	if hasQuery {
		*m.target += "?" + query
	}
	return true
}

func putForm(form, prefix, rest, recorded, live string) (string, bool) {
	all := strings.Split(form, "&")
	count := counter{}
	for i, part := range all {
		key, value, _ := strings.Cut(part, "=")
		if count.place(prefix+unescapeQuery(key)) != rest {
			continue
		}
		all[i] = key + "=" + url.QueryEscape(replacePart(unescapeQuery(value), recorded, live))
		return strings.Join(all, "&"), true
	}
	return form, false
}

func (m message) putHeader(rest, recorded, live string) bool {
	count := counter{}
	for _, f := range m.headers {
		if count.place("header."+headerName(f)) == rest {
			f.Value = []byte(replacePart(string(f.Value), recorded, live))
			return true
		}
	}
	return false
}

func (m message) putCookie(rest, recorded, live string) bool {
	count := counter{}
	for _, f := range m.headers {
		name := headerName(f)
		if name != "Cookie" && name != "Set-Cookie" {
			continue
		}
		parts := strings.Split(string(f.Value), ";")
		for i, part := range parts {
			if name == "Set-Cookie" && i > 0 {
				break // attributes
			}
			key, value, found := strings.Cut(part, "=")
			if !found || count.place("cookie."+strings.TrimSpace(key)) != rest {
				continue
			}
			parts[i] = key + "=" + replacePart(value, recorded, live)
			f.Value = []byte(strings.Join(parts, ";"))
			return true
		}
	}
	return false
}

// putJSON replaces a leaf where it stands; all other bytes stay.
func (m message) putJSON(path, recorded, live string) bool {
	found, err := jsonLeaves(m.body.Data)
	if err != nil {
		return false
	}
	for _, l := range found {
		if l.path != path {
			continue
		}
		raw := jsonValue(l, recorded, live)
		data := append([]byte(nil), m.body.Data[:l.start]...)
		data = append(data, raw...)
		m.setBody(append(data, m.body.Data[l.end:]...), true)
		return true
	}
	return false
}

// jsonValue writes the live value as the recorded one was: a number stays one
// as long as the live value is one.
func jsonValue(l jsonLeaf, recorded, live string) []byte {
	text := replacePart(l.text, recorded, live)
	if l.kind == kindNumber && json.Valid([]byte(text)) {
		return []byte(text)
	}
	return quoteJSON(text)
}

// replacePart replaces all of a value, or the parts of it that stand alone:
// 7 is no part of 77.
func replacePart(value, part, live string) string {
	if value == part {
		return live
	}
	var b strings.Builder
	done := 0
	for {
		i := strings.Index(value[done:], part)
		if i < 0 {
			b.WriteString(value[done:])
			return b.String()
		}
		from, to := done+i, done+i+len(part)
		b.WriteString(value[done:from])
		if standsAlone(value, from, to) {
			b.WriteString(live)
		} else {
			b.WriteString(part)
		}
		done = to
	}
}

func standsAlone(s string, from, to int) bool {
	return (from == 0 || charClass(s[from-1]) == 0) && (to == len(s) || charClass(s[to]) == 0)
}

func quoteJSON(s string) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(s) // a string always encodes
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}

// setBody replaces the body and the length that a header names.
func (m message) setBody(data []byte, changed bool) {
	if !changed {
		return
	}
	m.body.Data, m.body.Size, m.body.Kept = data, int64(len(data)), int64(len(data))
	for _, f := range m.headers {
		if headerName(f) == "Content-Length" {
			f.Value = strconv.AppendInt(nil, int64(len(data)), 10)
		}
	}
}
