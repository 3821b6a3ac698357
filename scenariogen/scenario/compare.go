package scenario

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tapedeck/events"
)

// PlaceTruncated is the place of the difference that says that a recorded body
// is incomplete: nothing was proved, so it is neither passed nor the target's
// fault.
const PlaceTruncated = "recorded.body"

const (
	missing        = "(missing)"
	maxDifferences = 100
	maxShown       = 200 // bytes of a value in a difference
)

// Truncated says that the differences are no proof of anything because a
// recorded body is incomplete.
func Truncated(differences []events.Difference) bool {
	return len(differences) > 0 && !slices.ContainsFunc(differences, func(d events.Difference) bool { return d.Place != PlaceTruncated })
}

// Compare says where a live answer differs from the recorded one: the status,
// the content type, the headers that the rules name, cookies by name, and the
// body. JSON, and the XML of an answer, is compared by its structure: a volatile place by its class, all
// else by value; a missing or an additional name is a difference. Other text
// and bytes are compared exactly, but for times, UUIDs and tokens in text
// where the recording holds some. At most 100 differences come back, in the
// order of the recorded answer.
func Compare(recorded, got *events.Exchange, rules Rules) []events.Difference {
	_, found := Judge(recorded, got, rules)
	return found
}

func (c *comparison) answers(recorded, got *events.Exchange) {
	want, have := recorded.GetResponse(), got.GetResponse()
	switch {
	case want == nil && have == nil:
		return
	case have == nil:
		c.differ("response", "status "+want.Status, "no answer: "+got.GetFailure())
		return
	case want == nil:
		c.differ("response", "no answer: "+recorded.GetFailure(), "status "+have.Status)
		return
	}
	c.value(leaf{place: "response.status", value: want.Status}, leaf{place: "response.status", value: have.Status})
	c.headers("response", want.Headers, have.Headers, append([]string{"Content-Type"}, c.rules.Headers...))
	c.location(want.Headers, have.Headers)
	c.cookies(want.Headers, have.Headers)
	c.body("response", side{want.Headers, want.Body}, side{have.Headers, have.Body})
}

// CompareRequest says where a live request differs from a recorded one: method,
// path by segments, query, content type, the headers that the rules name, and
// the body as Compare does.
func CompareRequest(recorded, got *events.Exchange, rules Rules) []events.Difference {
	c := newComparison(recorded, got, rules)
	want, have := recorded.GetRequest(), got.GetRequest()
	if want == nil || have == nil {
		return []events.Difference{{Place: "request", Want: fmt.Sprint(want != nil), Got: fmt.Sprint(have != nil)}}
	}
	c.request(want, have, append([]string{"Content-Type"}, rules.Headers...))
	return c.found
}

func (c *comparison) request(want, have *events.Request, headers []string) {
	c.value(leaf{place: "request.method", value: want.Method}, leaf{place: "request.method", value: have.Method})
	c.target(want.Target, have.Target)
	c.headers("request", want.Headers, have.Headers, headers)
	c.body("request", side{want.Headers, want.Body}, side{have.Headers, have.Body})
}

func recordedAt(x *events.Exchange) time.Time {
	if ns := x.GetRequest().GetFirstByte(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Now()
}

type comparison struct {
	rules             Rules
	classes           classes
	wantTime, gotTime time.Time
	wantHost, gotHost string // the authority that was called
	found             []events.Difference
	shape, redacted   bool // places took another value that their class lets them have
}

func newComparison(recorded, got *events.Exchange, rules Rules) *comparison {
	return &comparison{
		rules: rules, classes: classesOf(rules.Volatile),
		wantTime: recordedAt(recorded), gotTime: recordedAt(got),
		wantHost: recorded.GetRequest().GetHost(), gotHost: got.GetRequest().GetHost(),
	}
}

func (c *comparison) differ(place, want, got string) {
	if len(c.found) < maxDifferences {
		c.found = append(c.found, events.Difference{Place: c.hide(place), Want: shown(c.hide(want)), Got: shown(c.hide(got))})
	}
}

// hide goes before every cut: half a secret is one as well.
func (c *comparison) hide(text string) string { return c.rules.Secrets.Hide(text) }

// shown is a value as a person reads it, not longer than maxShown.
func shown(s string) string {
	if !utf8.ValidString(s) {
		s = strconv.QuoteToASCII(s)
	}
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// value compares two leaves of the same place.
func (c *comparison) value(want, got leaf) {
	if got.kind == kindText {
		got.value = c.recordedHost(got.value)
	}
	switch c.rules.assertion(want.place) {
	case RuleIgnore, RuleExists:
		return
	case RuleEqual:
		c.equal(want, got)
		return
	}
	class := c.classes.at(want.place)
	live, renamed := c.rules.Values[want.value]
	switch {
	case class == ClassRedacted && c.isSupplied(want, got):
	case renamed && class != ClassTime && sureName(want.value):
		if got.value != live && got.value != want.value {
			c.differ(want.place, live, display(got))
		}
	case equalLeaf(want, got), renamed && got.value == live:
	case class == "":
		c.differ(want.place, display(want), display(got))
	case class == ClassRedacted && !fitsRedacted(want, got):
		c.differ(want.place, display(want)+" (any "+string(class)+")", displayRedacted(got))
	case !c.fits(class, want, got):
		c.differ(want.place, display(want)+" (any "+string(class)+")", display(got))
	default:
		c.note(class, want.value)
	}
}

func (c *comparison) fits(class Class, want, got leaf) bool {
	w, g := observed{want, c.wantTime}, observed{got, c.gotTime}
	if fits(class, w, g) {
		return true
	}
	if class != ClassText && class != ClassLinked || got.kind != kindText {
		return false
	}
	g.value = c.recordedNames(got.value)
	return fits(class, w, g)
}

// sureName says that a value is long enough to be the same thing wherever it
// stands.
func sureName(value string) bool { return len(value) >= 8 }

func display(l leaf) string {
	if l.kind == kindText && l.value == "" {
		return `""`
	}
	return l.value
}

func equalLeaf(a, b leaf) bool {
	if a.kind == b.kind && a.value == b.value {
		return true
	}
	if a.kind != kindNumber || b.kind != kindNumber || isDigits(a.value) && isDigits(b.value) {
		return false
	}
	x, errX := strconv.ParseFloat(a.value, 64)
	y, errY := strconv.ParseFloat(b.value, 64)
	return errX == nil && errY == nil && x == y
}

func (c *comparison) headers(side string, want, got []*events.Field, names []string) {
	for _, name := range names {
		place := side + ".header." + headerName(&events.Field{Name: []byte(name)})
		w, g := joined(want, name), joined(got, name)
		if strings.EqualFold(name, "Content-Type") {
			w, g = contentType(w), contentType(g)
		}
		if w != "" || g != "" {
			c.value(leaf{place: place, value: orMissing(w)}, leaf{place: place, value: orMissing(g)})
		}
	}
}

func orMissing(s string) string {
	if s == "" {
		return missing
	}
	return s
}

func joined(fields []*events.Field, name string) string {
	var values []string
	for _, f := range fields {
		if strings.EqualFold(string(f.Name), name) {
			values = append(values, string(f.Value))
		}
	}
	return strings.Join(values, ", ")
}

// contentType is in one form: lower case, without blanks, without the
// boundary, which is made anew each time.
func contentType(s string) string {
	media, parameters, _ := strings.Cut(strings.ToLower(s), ";")
	out := strings.TrimSpace(media)
	for p := range strings.SplitSeq(parameters, ";") {
		if p = strings.TrimSpace(p); p != "" && !strings.HasPrefix(p, "boundary=") {
			out += "; " + strings.ReplaceAll(p, `"`, "")
		}
	}
	return out
}

// location compares where a redirect or a new thing is: path and query, since
// scheme and host belong to the target.
func (c *comparison) location(want, got []*events.Field) {
	w, g := events.HeaderValue(want, "Location"), events.HeaderValue(got, "Location")
	switch {
	case w == "" && g == "":
	case w == "" || g == "":
		c.value(leaf{place: "response.header.Location", value: orMissing(w)}, leaf{place: "response.header.Location", value: orMissing(g)})
	default:
		c.address("response.location", "response.header.Location", w, g)
	}
}

func (c *comparison) target(want, got string) { c.address("request", "request.path", want, got) }

func (c *comparison) address(prefix, whole, want, got string) {
	wantPath, wantQuery, _ := strings.Cut(want, "?")
	gotPath, gotQuery, _ := strings.Cut(got, "?")
	w, g := pathLeaves(prefix+".path", originForm(wantPath)), pathLeaves(prefix+".path", originForm(gotPath))
	if len(w) != len(g) {
		c.value(leaf{place: whole, value: wantPath}, leaf{place: whole, value: gotPath})
		return
	}
	for i := range w {
		c.value(w[i], g[i])
	}
	c.sets(formLeaves(prefix+".query.", wantQuery), formLeaves(prefix+".query.", gotQuery))
}

// sets compares leaves by place.
func (c *comparison) sets(want, got []leaf) {
	have := make(map[string]leaf, len(got))
	for _, l := range got {
		have[l.place] = l
	}
	for _, w := range want {
		g, ok := have[w.place]
		delete(have, w.place)
		if ok {
			c.value(w, g)
		} else if c.rules.assertion(w.place) != RuleIgnore {
			c.differ(w.place, display(w), missing)
		}
	}
	for _, g := range got {
		if _, extra := have[g.place]; extra && c.rules.assertion(g.place) == "" {
			c.differ(g.place, missing, display(g))
		}
	}
}

// cookies are compared by name: their values are for the client.
func (c *comparison) cookies(want, got []*events.Field) {
	w, g := cookieNames(want), cookieNames(got)
	for _, name := range w {
		if place := "response.cookie." + name; !slices.Contains(g, name) && c.rules.assertion(place) == "" {
			c.differ(place, "set", missing)
		}
	}
	for _, name := range g {
		if place := "response.cookie." + name; !slices.Contains(w, name) && c.rules.assertion(place) == "" {
			c.differ(place, missing, "set")
		}
	}
}

func cookieNames(fields []*events.Field) []string {
	var names []string
	for _, f := range fields {
		if headerName(f) != "Set-Cookie" {
			continue
		}
		if name, _, ok := strings.Cut(string(f.Value), "="); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// side is one side of a body comparison.
type side struct {
	headers []*events.Field
	body    *events.Body
}

func (s side) truncated() bool {
	return s.body.GetSize() > s.body.GetKept() || s.body.GetKept() > int64(len(s.body.GetData()))
}

func (c *comparison) body(name string, want, got side) {
	place := name + ".body"
	if c.rules.assertion(place) == RuleIgnore || c.classes[place] == ClassAny {
		return
	}
	if want.truncated() {
		c.differ(PlaceTruncated, fmt.Sprintf("%d bytes", want.body.GetSize()), fmt.Sprintf("%d of them were recorded", len(want.body.GetData())))
		return
	}
	if got.truncated() {
		c.differ(place, fmt.Sprintf("%d bytes", want.body.GetSize()), fmt.Sprintf("%d bytes, of which %d were received", got.body.GetSize(), len(got.body.GetData())))
		return
	}
	w, g := bodyLeaves(name, want.headers, want.body), bodyLeaves(name, got.headers, got.body)
	if isWhole(w) && isWhole(g) {
		c.whole(place, w, g)
		return
	}
	if len(w) == 0 || len(g) == 0 {
		c.differ(place, excerpt(c.hide(string(want.body.GetData())), ""), excerpt(c.hide(string(got.body.GetData())), ""))
		return
	}
	c.sets(w, g)
}

// isWhole says that a body is absent or has no structure.
func isWhole(leaves []leaf) bool {
	return len(leaves) == 0 || len(leaves) == 1 && (leaves[0].kind == kindPlain || leaves[0].kind == kindBytes)
}

func (c *comparison) whole(place string, want, got []leaf) {
	w, g := wholeText(want), c.recordedHost(wholeText(got))
	if w == g || c.rules.assertion(place) == RuleExists && g != "" {
		return
	}
	if c.classes.at(place) == ClassText && c.rules.assertion(place) != RuleEqual {
		g = c.recordedNames(g)
		if sameText(observed{leaf{value: w}, c.wantTime}, observed{leaf{value: g}, c.gotTime}) {
			c.note(ClassText, w)
			return
		}
		w, g = normalise(w, c.wantTime), normalise(g, c.gotTime)
	}
	w, g = c.hide(w), c.hide(g)
	c.differ(place, excerpt(w, g), excerpt(g, w))
}

// recordedNames replaces live values in a text by what they were called in
// the recording.
func (c *comparison) recordedNames(text string) string {
	for _, recorded := range slices.Sorted(maps.Keys(c.rules.Values)) {
		if live := c.rules.Values[recorded]; sureName(live) {
			text = strings.ReplaceAll(text, live, recorded)
		}
	}
	return text
}

// recordedHost replaces the target's authority in URLs by the recorded one.
func (c *comparison) recordedHost(text string) string {
	if c.gotHost == "" || c.gotHost == c.wantHost {
		return text
	}
	return strings.ReplaceAll(text, "://"+c.gotHost, "://"+c.wantHost)
}

func wholeText(leaves []leaf) string {
	if len(leaves) == 0 {
		return ""
	}
	return leaves[0].value
}

// excerpt shows a text around the first byte where it differs from another.
func excerpt(text, other string) string {
	at := 0
	for at < len(text) && at < len(other) && text[at] == other[at] {
		at++
	}
	if text == "" {
		return "(empty)"
	}
	from := max(0, at-30)
	cut := text[from:min(len(text), at+80)]
	if !utf8.ValidString(text) {
		sum := sha256.Sum256([]byte(text))
		return fmt.Sprintf("%d bytes, SHA-256 %x…, at %d: %q", len(text), sum[:6], at, cut)
	}
	return fmt.Sprintf("%d bytes, at %d: %s", len(text), at, strings.ToValidUTF8(cut, ""))
}
