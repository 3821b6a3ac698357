package scenario

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// Class says what kind of value differs from run to run, and thereby what is
// still expected of it.
type Class string

// The classes.
const (
	ClassTime     Class = "time"     // a moment near the recording, in the recorded layout
	ClassUUID     Class = "uuid"     // any UUID
	ClassToken    Class = "token"    // random text
	ClassRedacted Class = "redacted" // was redacted: any value of its class
	ClassID       Class = "id"       // made by the service: same kind, same letters
	ClassLinked   Class = "linked"   // comes from an earlier answer: same kind, same letters
	ClassDuration Class = "duration" // a measured time: any number
	ClassText     Class = "text"     // a text that holds times, UUIDs or tokens: the rest of it
	ClassAny      Class = "any"      // anything
)

var (
	uuidPattern     = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	wholeRedacted   = regexp.MustCompile(`^(?:[A-Za-z]+ )?td1_[0-9A-Za-z-]+_[0-9a-f]{32}$`) // a scheme is kept
	redactedPattern = regexp.MustCompile(`td1_([0-9A-Za-z-]+)_[0-9a-f]{32}`)
	prefixedPattern = regexp.MustCompile(`^[a-z]{2,8}[_-]([0-9A-Za-z]{8,})$`)
	tokenPattern    = regexp.MustCompile(`^[0-9A-Za-z+/_=~-]{16,}$`)
	jwtPattern      = regexp.MustCompile(`^eyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]*$`)
)

// near is how far from the recording a moment may lie to be one of it.
const near = 48 * time.Hour

// far is how far ahead an expiry may lie.
const far = 400 * 24 * time.Hour

// maxNormalised bounds the texts that are searched for volatile parts.
const maxNormalised = 4 << 20

// classify says how a value is volatile by its own looks; "" is a value that
// is expected again. recorded is when it was recorded.
func classify(l leaf, recorded time.Time) Class {
	switch l.kind {
	case kindNumber:
		return classifyNumber(l, recorded)
	case kindText:
		return classifyText(l.key, l.value, recorded)
	case kindPlain:
		if len(l.value) <= maxNormalised && normalise(l.value, recorded) != l.value {
			return ClassText
		}
	}
	return ""
}

func classifyNumber(l leaf, recorded time.Time) Class {
	if t, _, ok := parseMoment(l.value); ok && isNear(t, recorded, l.key) {
		return ClassTime
	}
	if isDurationKey(l.key) {
		return ClassDuration
	}
	return ""
}

func classifyText(key, value string, recorded time.Time) Class {
	if c := classifyWord(key, value, recorded); c != "" || len(value) > maxNormalised {
		return c
	}
	if normalise(value, recorded) != value {
		return ClassText
	}
	return ""
}

// classifyWord looks at a text as one value.
func classifyWord(key, value string, recorded time.Time) Class {
	switch {
	case len(value) <= 4096 && isRedactedValue(value):
		return ClassRedacted
	case uuidPattern.MatchString(value):
		return ClassUUID
	case len(value) > 4096:
		return ""
	}
	if t, _, ok := parseMoment(value); ok && isNear(t, recorded, key) {
		return ClassTime
	}
	if isToken(value) {
		return ClassToken
	}
	return ""
}

// isRedactedValue knows tokens of every shape but UUIDs, which any service may
// make and which are told apart as such.
func isRedactedValue(value string) bool {
	return wholeRedacted.MatchString(value) || wire.TokenClass(value) != "" && !uuidPattern.MatchString(value)
}

func isNear(t, recorded time.Time, key string) bool {
	if recorded.IsZero() {
		return false
	}
	distance := t.Sub(recorded)
	if distance.Abs() <= near {
		return true
	}
	return distance > 0 && distance < far && strings.Contains(strings.ToLower(key), "exp")
}

// layouts of moments; the first that reads a text is its layout.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07",
	"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999 -0700 MST",
	"20060102T150405Z", time.RFC1123, time.RFC1123Z, time.RFC850, time.ANSIC, time.DateOnly,
}

// parseMoment reads a moment in a usual layout, or seconds, milliseconds,
// microseconds or nanoseconds since 1970. layout tells the forms apart.
func parseMoment(s string) (t time.Time, layout string, ok bool) {
	if len(s) < 10 || len(s) > 40 {
		return time.Time{}, "", false
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if n, err := strconv.ParseInt(whole, 10, 64); err == nil && n > 0 && isDigits(fraction) {
		return parseEpoch(n, len(whole))
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, layout, true
		}
	}
	return time.Time{}, "", false
}

func parseEpoch(n int64, digits int) (time.Time, string, bool) {
	switch digits {
	case 10:
		return time.Unix(n, 0), "s", true
	case 13:
		return time.UnixMilli(n), "ms", true
	case 16:
		return time.UnixMicro(n), "us", true
	case 19:
		return time.Unix(0, n), "ns", true
	}
	return time.Time{}, "", false
}

func isDigits(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c < '0' || c > '9' }) < 0
}

// isToken says that a text looks random: a JWT, a prefix with random digits
// and letters behind it, or a long text that mixes both as no word does.
func isToken(s string) bool {
	if jwtPattern.MatchString(s) {
		return true
	}
	if m := prefixedPattern.FindStringSubmatch(s); m != nil && isRandom(m[1], 8) {
		return true
	}
	if !tokenPattern.MatchString(s) || strings.Contains(s, "/") && !strings.ContainsAny(s, "+=") {
		return false
	}
	parts := strings.FieldsFunc(s, func(c rune) bool { return charClass(byte(c)) == 0 })
	return slices.ContainsFunc(parts, func(p string) bool { return isRandom(p, 16) }) || isMixed(strings.Join(parts, ""))
}

// isMixed says that a text changes between small letters, capitals and digits
// all the time, as base64 does and words in capitals and small letters don't.
func isMixed(s string) bool {
	changes, digits := 0, 0
	for i := range len(s) {
		c := charClass(s[i])
		if c == 'd' {
			digits++
		}
		if i > 0 && c != charClass(s[i-1]) {
			changes++
		}
	}
	return len(s) >= 16 && digits >= 2 && 3*changes >= len(s)
}

// isRandom says that letters and digits alternate as they do by chance: random
// hex of 12 digits has both in 996 of 1000, of 16 digits less than 4 changes
// between them once in a hundred.
func isRandom(s string, least int) bool {
	if len(s) < least {
		return false
	}
	changes, digits, letters, hex := 0, 0, 0, true
	last := byte(0)
	for i := range len(s) {
		c := charClass(s[i])
		switch c {
		case 0:
			return false
		case 'd':
			digits++
		default:
			letters++
			hex = hex && s[i] >= 'a' && s[i] <= 'f'
		}
		if last != 0 && c != last {
			changes++
		}
		last = c
	}
	if digits == 0 || letters == 0 {
		return false
	}
	return hex && len(s) >= 12 || changes >= max(3, least/5)
}

func charClass(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return 'd'
	case c >= 'a' && c <= 'z':
		return 'l'
	case c >= 'A' && c <= 'Z':
		return 'u'
	}
	return 0
}

// isIDKey says that what stands under the name identifies something.
func isIDKey(key string) bool {
	words := nameWords(key)
	if len(words) == 0 {
		return false
	}
	last := words[len(words)-1]
	if slices.Contains([]string{"id", "ids", "uuid", "guid", "token", "nonce", "cursor", "reference", "ref", "etag", "csrf", "sid", "key"}, last) {
		return true
	}
	return len(words) > 1 && slices.Contains([]string{"number", "no", "code", "session"}, last)
}

func isDurationKey(key string) bool {
	words := nameWords(key)
	for _, w := range words {
		if slices.Contains([]string{"took", "elapsed", "latency", "uptime"}, w) {
			return true
		}
	}
	return false
}

// nameWords splits orderId, order_id, Order-ID into order, id.
func nameWords(name string) []string {
	var words []string
	start := 0
	for i := range len(name) {
		c, before := charClass(name[i]), byte(0)
		if i > 0 {
			before = charClass(name[i-1])
		}
		if c == 0 || c == 'u' && before == 'l' {
			words = appendWord(words, name[start:i])
			start = i
			if c == 0 {
				start = i + 1
			}
		}
	}
	return appendWord(words, name[start:])
}

func appendWord(words []string, w string) []string {
	if w == "" {
		return words
	}
	return append(words, strings.ToLower(w))
}

// observed is a value and when it was seen.
type observed struct {
	leaf
	time time.Time
}

// fits says whether a live value is what the class lets a recorded one become.
func fits(class Class, recorded, live observed) bool {
	switch class {
	case ClassAny:
		return true
	case ClassRedacted:
		return fitsRedacted(recorded.leaf, live.leaf)
	}
	if recorded.kind != live.kind {
		return false
	}
	switch class {
	case ClassTime:
		_, want, _ := parseMoment(recorded.value)
		_, got, ok := parseMoment(live.value)
		return ok && want == got
	case ClassUUID:
		return uuidPattern.MatchString(live.value)
	case ClassToken:
		return live.value != "" && tokenPrefix(recorded.value) == tokenPrefix(live.value) && 3*len(live.value) >= len(recorded.value)
	case ClassID, ClassLinked:
		return sameForm(recorded.value, live.value) || bothTokens(recorded.value, live.value) || sameText(recorded, live)
	case ClassText:
		return sameText(recorded, live)
	case ClassDuration:
		return true
	}
	return recorded.value == live.value
}

// sameText says that two texts are equal but for the times, UUIDs and tokens
// that they hold. What was redacted may be anything.
func sameText(recorded, live observed) bool {
	want, got := normalise(recorded.value, recorded.time), normalise(live.value, live.time)
	pieces := strings.Split(want, "{"+string(ClassRedacted)+"}")
	if len(pieces) == 1 {
		return want == got
	}
	rest, ok := strings.CutPrefix(got, pieces[0])
	last := pieces[len(pieces)-1]
	if !ok || !strings.HasSuffix(rest, last) {
		return false
	}
	rest = strings.TrimSuffix(rest, last)
	for _, piece := range pieces[1 : len(pieces)-1] {
		_, after, found := strings.Cut(rest, piece)
		if !found {
			return false
		}
		rest = after
	}
	return true
}

func bothTokens(a, b string) bool {
	return uuidPattern.MatchString(a) && uuidPattern.MatchString(b) || isToken(a) && isToken(b) && tokenPrefix(a) == tokenPrefix(b)
}

// sameForm says that two ids are made alike: equal but for their digits, or
// part by part equal or of letters and digits and equally long.
func sameForm(a, b string) bool {
	if letterShape(a) == letterShape(b) {
		return true
	}
	if len(a) == len(b) && len(a) >= 20 && tokenPattern.MatchString(a) && tokenPattern.MatchString(b) {
		return true
	}
	x, y := idParts(a), idParts(b)
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i] != y[i] && (len(x[i]) != len(y[i]) || len(x[i]) < 4 || !mixed(a, b)) {
			return false
		}
	}
	return true
}

func idParts(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return c >= 128 || charClass(byte(c)) == 0 })
}

// mixed says that one of two ids has a digit: two words of equal length are
// not alike.
func mixed(a, b string) bool { return strings.ContainsAny(a+b, "0123456789") }

// letterShape is a text with each run of digits replaced by one mark.
func letterShape(s string) string {
	var b strings.Builder
	digits := false
	for _, c := range s {
		d := c >= '0' && c <= '9'
		if d && !digits {
			b.WriteByte('#')
		}
		if !d {
			b.WriteRune(c)
		}
		digits = d
	}
	return b.String()
}

// tokenPrefix is the word that some random values begin with: "ord_". Long
// ones may begin so by chance.
func tokenPrefix(s string) string {
	if m := prefixedPattern.FindStringSubmatchIndex(s); m != nil && len(s) < 32 {
		return s[:m[2]]
	}
	return ""
}

// RedactionKey is the id of the redaction key whose tokens stand in an
// exchange's headers or bodies; "" without a token. A tape has one.
func RedactionKey(x *events.Exchange) string {
	if x.GetRedactionKeyId() != "" {
		return x.RedactionKeyId
	}
	for _, m := range []struct {
		headers []*events.Field
		body    *events.Body
	}{{x.GetRequest().GetHeaders(), x.GetRequest().GetBody()}, {x.GetResponse().GetHeaders(), x.GetResponse().GetBody()}} {
		for _, f := range m.headers {
			if key := redactionKeyIn(f.Value); key != "" {
				return key
			}
		}
		if data, ok := decodeBody(m.headers, m.body.GetData()); ok {
			if key := redactionKeyIn(data); key != "" {
				return key
			}
		}
	}
	return ""
}

func redactionKeyIn(b []byte) string {
	if !bytes.Contains(b, []byte("td1_")) { // cheap, and nearly always so
		return ""
	}
	if m := redactedPattern.FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return ""
}

// normalisable are the values that a text without structure may hold.
var normalisable = regexp.MustCompile(`td1_[0-9A-Za-z-]+_[0-9a-f]{32}(?:@redacted\.invalid)?` +
	`|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}` +
	`|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?` +
	`|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT` +
	`|\+999[0-9 ().-]{4,20}[0-9]|\b9\d\d-[0-4]\d-\d{4}\b|\b99[0-9](?:[ -]?[0-9]){9,16}\b|\bZZ\d\d(?: ?[0-9A-Z]){11,30}\b` + // shaped tokens
	`|[0-9A-Za-z_-]{16,}`)

// normalise replaces times near the recording, UUIDs and tokens in a text by
// their class.
func normalise(text string, recorded time.Time) string {
	return normalisable.ReplaceAllStringFunc(text, func(s string) string {
		switch c := classifyWord("", s, recorded); c {
		case "":
		case ClassToken:
			return tokenPrefix(s) + "{" + string(c) + "}"
		default:
			return "{" + string(c) + "}"
		}
		return s
	})
}
