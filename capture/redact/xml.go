package redact

import (
	"bytes"
	"html"
	"regexp"
	"strings"
	"unicode"
)

// element is one that is open.
type element struct {
	name  string
	treat treatment
}

// xml redacts the texts of elements and attributes, by their names and by what
// is found in them, and copies all else.
func (s scope) xml(text []byte) (out []byte, same bool) {
	x := xmlText{scope: s.deeper()}
	if s.depth == 0 && s.marks != nil {
		s.marks.place = &x
	}
	for i := 0; i < len(text); {
		open := bytes.IndexByte(text[i:], '<')
		if open < 0 {
			x.put(text[i:], x.content())
			break
		}
		x.put(text[i:i+open], x.content())
		i += open
		i += x.markup(text[i:])
	}
	if !x.changed {
		return text, true
	}
	return x.out, false
}

type xmlText struct {
	scope
	stack   []element
	out     []byte
	changed bool
	name    string // of the attribute at hand
}

func (x *xmlText) content() treatment {
	if len(x.stack) == 0 {
		return treatment{}
	}
	return x.stack[len(x.stack)-1].treat
}

// put writes a text, redacted.
func (x *xmlText) put(raw []byte, treat treatment) {
	inner := bytes.TrimSpace(raw)
	if len(inner) == 0 {
		x.out = append(x.out, raw...)
		return
	}
	plain := inner
	if bytes.IndexByte(inner, '&') >= 0 {
		plain = []byte(html.UnescapeString(string(inner)))
	}
	if len(x.rules) > 0 {
		if r := x.ruleAt(x.appendPlace(nil)); r != nil {
			treat = r.treatment()
		}
	}
	if treat.class == None && x.depth == 1 {
		x.looked(plain)
	}
	redacted, same := x.value(treat, plain)
	if same {
		x.out = append(x.out, raw...)
		return
	}
	x.changed = true
	before := len(raw) - len(bytes.TrimLeftFunc(raw, unicode.IsSpace))
	x.out = append(x.out, raw[:before]...)
	if x.name != "" {
		redacted = []byte(html.EscapeString(string(redacted)))
	} else { // quotes stay: a sign in a script may make a tag of what is between them
		redacted = []byte(textEscaper.Replace(string(redacted)))
	}
	x.out = append(append(x.out, redacted...), raw[before+len(inner):]...)
}

var textEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// markup copies a tag, a comment or CDATA that text begins with, and returns
// how long it is.
func (x *xmlText) markup(text []byte) int {
	for _, m := range []struct{ open, end string }{{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}} {
		if !bytes.HasPrefix(text, []byte(m.open)) {
			continue
		}
		inner := text[len(m.open):]
		n := bytes.Index(inner, []byte(m.end))
		end := m.end
		if n < 0 {
			n, end = len(inner), ""
		}
		x.out = append(x.out, m.open...)
		treat := treatment{}
		if m.open == "<![CDATA[" {
			treat = x.content()
		}
		redacted, same := x.value(treat, inner[:n])
		x.out, x.changed = append(append(x.out, redacted...), end...), x.changed || !same
		return len(m.open) + n + len(end)
	}
	return x.tag(text)
}

func (x *xmlText) tag(text []byte) int {
	n := tagEnd(text)
	if n < 0 { // a tag without an end, or a sign in a script
		x.put(text[:1], treatment{})
		return 1
	}
	tag := text[:n]
	if len(tag) > 1 && tag[1] == '/' {
		if len(x.stack) > 0 {
			x.stack = x.stack[:len(x.stack)-1]
		}
		x.copy(tag)
		return n
	}
	name := tag[1:]
	end := bytes.IndexAny(name, " \t\r\n/>")
	if end < 0 {
		end = len(name)
	}
	if name = name[:end]; end == 0 { // less than
		x.out = append(x.out, tag[0])
		return 1
	}
	x.copy(tag[:1+end])
	if len(x.stack) < maxDepth && !void[string(name)] {
		x.stack = append(x.stack, element{string(name), x.inner(local(name))})
	}
	x.attributes(tag[1+end:])
	if selfClosing := tag[len(tag)-2] == '/'; selfClosing && !void[string(name)] && len(x.stack) > 0 {
		x.stack = x.stack[:len(x.stack)-1]
	}
	return n
}

// copy copies a part of a tag, but for what is found in a name.
func (x *xmlText) copy(name []byte) {
	if !mayHold(name) {
		x.out = append(x.out, name...)
		return
	}
	out, same, _ := x.find(name)
	x.out, x.changed = append(x.out, out...), x.changed || !same
}

// inner is what is done to the text of an element: one in an element that is
// known by name may only wrap its value.
func (x *xmlText) inner(name []byte) treatment {
	treat := x.named(name, x.at)
	if treat.class == None && isValueName(name) {
		return x.content()
	}
	return treat
}

// fieldName is the name that a field of a form has, as an attribute.
var fieldName = regexp.MustCompile(`(?i)[\s"']name\s*=\s*["']?([^"'\s>]+)`)

// fieldValue are the attributes that hold a field's value.
var fieldValue = map[string]bool{"value": true, "content": true}

// void are HTML's elements without an end.
var void = map[string]bool{"br": true, "hr": true, "img": true, "input": true, "link": true, "meta": true, "area": true, "base": true,
	"col": true, "embed": true, "source": true, "track": true, "wbr": true, "!DOCTYPE": true, "!doctype": true}

// tagEnd is behind the '>' that is in no quotes, -1 when there is none.
func tagEnd(text []byte) int {
	var quote byte
	for i, c := range text {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return i + 1
		}
	}
	return -1
}

func local(name []byte) []byte {
	if i := bytes.LastIndexByte(name, ':'); i >= 0 {
		return name[i+1:]
	}
	return name
}

func (x *xmlText) attributes(s []byte) {
	var field treatment
	if bytes.Contains(s, []byte("value")) || bytes.Contains(s, []byte("content")) {
		if m := fieldName.FindSubmatch(s); m != nil {
			field = x.named(m[1], x.at)
		}
	}
	for len(s) > 0 {
		i := bytes.IndexAny(s, `"'`)
		if i < 0 {
			break
		}
		n := bytes.IndexByte(s[i+1:], s[i])
		if n < 0 {
			break
		}
		name := bytes.TrimRight(s[:i], "= \t\r\n")
		name = name[bytes.LastIndexAny(name, " \t\r\n")+1:]
		x.name = string(name)
		x.out = append(x.out, s[:i+1]...)
		treat := x.named(local(name), x.at)
		if treat.class == None && fieldValue[strings.ToLower(x.name)] {
			treat = field
		}
		x.put(s[i+1:i+1+n], treat)
		x.name = ""
		x.out = append(x.out, s[i])
		s = s[i+n+2:]
	}
	end := len(bytes.TrimRight(s, "/>"))
	x.put(s[:end], treatment{})
	x.out = append(x.out, s[end:]...)
}

// appendPlace appends the path of the text at hand: /order/customer/@email.
func (x *xmlText) appendPlace(b []byte) []byte {
	for _, e := range x.stack {
		b = append(append(b, '/'), e.name...)
	}
	if x.name != "" {
		b = append(append(b, "/@"...), x.name...)
	}
	return b
}
