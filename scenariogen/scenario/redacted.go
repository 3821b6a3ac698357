package scenario

import (
	"regexp"
	"slices"
	"strings"

	"tapedeck/events"
	"tapedeck/wire"
)

// redacted is a value that redaction has replaced.
type redacted struct {
	token string // what stands for it
	class string // "credential", "email", …; "" when that is not known
}

// maxMarks is how many marks an exchange has at most (package redact).
const maxMarks = 64

var tokenInText = regexp.MustCompile(`td1_[0-9A-Za-z-]+_[0-9a-f]{32}(?:@redacted\.invalid)?`)

// redactedIn finds what redaction has replaced in a value: all of it, what
// stands behind a scheme, or tokens within a text. Numbers, and UUIDs of the
// form of a token, are told by the exchange's marks alone.
func redactedIn(x *events.Exchange, l leaf) []redacted {
	mark := markAt(x, l.place)
	if l.kind == kindNumber && mark != nil {
		return []redacted{{l.value, mark.Class}}
	}
	if l.kind != kindText && l.kind != kindPlain {
		return nil
	}
	if class := wire.TokenClass(l.value); class != "" && (mark != nil || !uuidPattern.MatchString(l.value)) {
		return []redacted{{behindScheme(l.value), classOf(x, mark, l.place, class)}}
	}
	var all []redacted
	for _, token := range tokenInText.FindAllString(l.value, -1) {
		all = append(all, redacted{token, classOf(x, mark, l.place, wire.TokenClass(token))})
	}
	return all
}

// classOf is the class of the value that was at a place: the mark knows, the
// token's form says whether it is a shaped one.
func classOf(x *events.Exchange, mark *events.Redaction, place, form string) string {
	switch {
	case form != "credential":
		return form
	case mark != nil:
		return mark.Class
	case len(x.GetRedactions()) >= maxMarks && !strings.Contains(place, ".header.") && !strings.Contains(place, ".cookie."):
		return ""
	}
	return form
}

// behindScheme is the token of "Bearer <token>".
func behindScheme(value string) string {
	if scheme, rest, ok := strings.Cut(value, " "); ok && wire.TokenClass(rest) != "" && isWord(scheme) {
		return rest
	}
	return value
}

func isWord(s string) bool {
	for i := range len(s) {
		if c := charClass(s[i]); c != 'l' && c != 'u' {
			return false
		}
	}
	return s != ""
}

// markAt is the mark of a place; redaction calls forms a body.
func markAt(x *events.Exchange, place string) *events.Redaction {
	if rest, ok := strings.CutPrefix(place, "request.form."); ok {
		place = "request.body." + rest
	}
	i := slices.IndexFunc(x.GetRedactions(), func(r *events.Redaction) bool { return strings.EqualFold(r.Place, place) })
	if i < 0 {
		return nil
	}
	return x.Redactions[i]
}

// isMarked says that a value was replaced and does not look like it: a number,
// what was masked or dropped, a text with a card's number in it.
func isMarked(x *events.Exchange, l leaf) bool {
	switch l.kind {
	case kindNumber:
		return markAt(x, l.place) != nil
	case kindText:
		return !redactedPattern.MatchString(l.value) && markAt(x, l.place) != nil
	}
	return false
}

// fitsRedacted says that a live value is of the class of a redacted one. Its
// shape tells the class; where that holds any text, any text fits.
func fitsRedacted(recorded, live leaf) bool {
	if recorded.kind != live.kind {
		return false
	}
	w, g := recorded.value, live.value
	if recorded.kind != kindText || w == "" || wire.TokenClass(g) != "" && wire.TokenClass(g) == wire.TokenClass(w) {
		return true
	}
	switch digits := countDigits(g); wire.TokenClass(w) {
	case "email":
		return strings.Index(g, "@") > 0 && !strings.ContainsAny(g, " \t\r\n<>")
	case "card":
		return digits >= 12 && digits <= 19 && isGrouped(g)
	case "phone":
		return digits >= 5 && digits <= 20 && isGrouped(g)
	case "ssn":
		return digits == 9 && isGrouped(g)
	case "iban":
		return len(g) >= 15 && len(g) <= 42 && digits > 0 && isAlphanumeric(strings.ReplaceAll(g, " ", ""))
	case "birthdate":
		return letterShape(w) == letterShape(g)
	case "":
		return !isDigits(w) || len(w) == len(g) && isDigits(g) // what was masked keeps its length
	}
	if uuidPattern.MatchString(w) {
		return uuidPattern.MatchString(g)
	}
	return g != "" && jwtPattern.MatchString(w) == jwtPattern.MatchString(g)
}

func countDigits(s string) int {
	n := 0
	for i := range len(s) {
		if charClass(s[i]) == 'd' {
			n++
		}
	}
	return n
}

// isGrouped says that a text is of digits and the signs that group them.
func isGrouped(s string) bool { return strings.Trim(s, "0123456789+-.()/ ") == "" }

func isAlphanumeric(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c >= 128 || charClass(byte(c)) == 0 }) < 0
}
