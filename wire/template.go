package wire

import (
	"strings"

	"tapedeck/events"
)

// Templater knows templates that somebody has written down: that of a path, as
// a pure function. ok is false for a path that is not among them.
type Templater func(d events.Direction, host, path string) (template string, ok bool)

// The classes of volatile text: what Class answers and templates contain.
const (
	ClassID    = "{id}"    // a number
	ClassUUID  = "{uuid}"  // RFC 9562, any version, with hyphens
	ClassHash  = "{hash}"  // 16 or more hex digits
	ClassDate  = "{date}"  // ISO 8601 date, with or without time
	ClassToken = "{token}" // a long mix of letters and digits, or a redaction token
	ClassEmail = "{email}"
)

const (
	maxTemplateSegments = 12 // the rest of a path is one {rest}
	classRest           = "{rest}"
	minHash             = 16
	minToken            = 20
)

// Template is the shape template of a path: /users/123/avatar.png becomes
// /users/{id}/avatar.png. It is a pure function of the path, so that ten
// replicas, and one before and after a restart, never give one path two
// endpoints. Template(Template(p)) == Template(p).
func Template(path string) string {
	if !volatilePath(path) {
		return path
	}
	var b strings.Builder
	b.Grow(len(path))
	for n, rest := 0, path; ; n++ {
		segment, after, more := strings.Cut(rest, "/")
		if n > maxTemplateSegments {
			b.WriteString(classRest)
			return b.String()
		}
		b.WriteString(templateSegment(segment))
		if !more {
			return b.String()
		}
		b.WriteByte('/')
		rest = after
	}
}

// volatilePath is a quick look that spares most paths the work: without a
// digit, an '@' and a long segment there is nothing to replace.
func volatilePath(path string) bool {
	slashes := 0
	for i := range len(path) {
		switch c := path[i]; {
		case c == '/':
			slashes++
		case c >= '0' && c <= '9', c == '@', c == '%':
			return true
		}
	}
	return slashes >= maxTemplateSegments
}

func templateSegment(s string) string {
	whole := Class(s)
	if whole != "" && whole != ClassToken {
		return whole
	}
	// order-17.json keeps what names it: order-{id}.json
	stem, extension := s, ""
	if i := strings.LastIndexByte(s, '.'); i > 0 && isExtension(s[i+1:]) {
		stem, extension = s[:i], s[i:]
		if class := Class(stem); class != "" {
			return class + extension
		}
	}
	if whole != "" {
		return whole
	}
	if i := strings.LastIndexAny(stem, "-_:"); i > 0 && isName(stem[:i]) {
		if class := Class(stem[i+1:]); class != "" {
			return stem[:i+1] + class + extension
		}
	}
	return s
}

// Class says what kind of volatile text s is, "" for none.
func Class(s string) string {
	switch {
	case s == "":
		return ""
	case isDigits(s):
		return ClassID
	case isUUID(s):
		return ClassUUID
	case IsToken(s):
		return ClassToken
	case isDate(s):
		return ClassDate
	case len(s) >= minHash && isHash(s):
		return ClassHash
	case strings.IndexByte(s, '@') > 0 || strings.Contains(s, "%40"):
		return ClassEmail
	case len(s) >= minToken && isLongToken(s):
		return ClassToken
	}
	return ""
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func isHexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isHex(s string) bool {
	for i := range len(s) {
		if !isHexDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// isHash wants a digit as well: "deadbeefdeadbeef" could be a name, and hex
// without a digit is one hash in two thousand.
func isHash(s string) bool { return isHex(s) && strings.ContainsAny(s, "0123456789") }

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return false
			}
		} else if !isHexDigit(s[i]) {
			return false
		}
	}
	return true
}

// isDate reads 2006-01-02, alone or followed by T or a space and a time.
func isDate(s string) bool {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' || !isDigits(s[:4]) || !isDigits(s[5:7]) || !isDigits(s[8:10]) {
		return false
	}
	if len(s) == 10 {
		return true
	}
	if s[10] != 'T' && s[10] != 't' && s[10] != ' ' {
		return false
	}
	return strings.Trim(s[11:], "0123456789:.,+-ZzAaTt%") == ""
}

// isLongToken is a guess: one long run of letters and digits that are mixed
// often. A slug (red-shoes-for-children-2024) is no token: it consists of words.
func isLongToken(s string) bool {
	letters, digits, changes, run, longest := 0, 0, 0, 0, 0
	last := byte(0)
	for i := range len(s) {
		c, kind := s[i], byte('l')
		switch {
		case c >= '0' && c <= '9':
			kind = 'd'
			digits++
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			letters++
		case strings.IndexByte("-_.~=%+", c) >= 0:
			run = 0
			continue
		default:
			return false
		}
		if last != 0 && kind != last {
			changes++
		}
		last = kind
		run++
		longest = max(longest, run)
	}
	return letters > 0 && digits > 0 && (changes >= 4 || longest >= minToken)
}

// isName is the stable part before a number: order in order-17.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}

func isExtension(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	letter := false
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			letter = true
		} else if c < '0' || c > '9' {
			return false
		}
	}
	return letter
}
