package redact

import (
	"bytes"
	"strings"

	"tapedeck/wire"
)

// A keyForm is how the keys of a provider look: a prefix, then at least so many
// letters of an alphabet.
type keyForm struct {
	prefix string
	sign   int // place in the prefix of the letter that it is found by
	least  int // letters behind the prefix
	signs  string
}

var keyForms = []keyForm{
	{"AKIA", 2, 16, ""}, {"ASIA", 2, 16, ""}, // AWS
	{"AIza", 1, 35, "_-"},    // GCP
	{"GOCSPX-", 6, 20, "_-"}, // GCP, OAuth
	{"ghp_", 3, 30, ""}, {"gho_", 3, 30, ""}, {"ghu_", 3, 30, ""}, {"ghs_", 3, 30, ""}, {"ghr_", 3, 30, ""}, {"github_pat_", 10, 22, "_"},
	{"xoxb-", 4, 10, "-"}, {"xoxp-", 4, 10, "-"}, {"xoxa-", 4, 10, "-"}, {"xoxr-", 4, 10, "-"}, {"xoxs-", 4, 10, "-"}, {"xapp-", 4, 10, "-"}, // Slack
	{"glpat-", 5, 20, "_-"}, {"npm_", 3, 36, ""},
	{"sk_live_", 7, 16, ""}, {"rk_live_", 7, 16, ""}, {"sk_test_", 7, 16, ""}, {"whsec_", 5, 16, "+/="},
}

// formsBySign are the forms that are found by a letter.
var formsBySign = func() (by [256][]keyForm) {
	for _, f := range keyForms {
		by[f.prefix[f.sign]] = append(by[f.prefix[f.sign]], f)
	}
	return by
}()

// key looks for a known form around the letter at i. A redaction token is
// passed over.
func (d *detector) key(i int) (m match, to int) {
	s := d.text
	switch s[i] {
	case 'J':
		return d.jwt(i), i + 1
	case '~':
		return d.azure(i), i + 1
	case '_':
		if from := i - 3; from >= 0 && bytes.HasPrefix(s[from:], []byte(wire.TokenPrefix)) {
			return m, d.endOfToken(from)
		}
	case '-':
		if bytes.HasPrefix(s[i:], []byte("-----BEGIN ")) {
			return d.block(i), i + 5
		}
		if i < 4 {
			return m, i + 1
		}
	}
	forms := formsBySign[s[i]]
	for n := range forms {
		f := &forms[n]
		from := i - f.sign
		if from < 0 || s[i-1] != f.prefix[f.sign-1] || !bytes.HasPrefix(s[from:], []byte(f.prefix)) || isWord(d.at(from-1)) {
			continue
		}
		end := run(s, from+len(f.prefix), f.signs)
		if end-from-len(f.prefix) >= f.least {
			return match{from, end, Credential}, end
		}
	}
	return m, i + 1
}

// run is the end of the letters, digits and signs from i on.
func run(s []byte, i int, signs string) int {
	for i < len(s) && (isWord(s[i]) || signs != "" && bytes.IndexByte([]byte(signs), s[i]) >= 0) {
		i++
	}
	return i
}

func (d *detector) endOfToken(from int) int {
	end := run(d.text, from, "_")
	for to := from + len(wire.TokenPrefix) + 34; to <= end && to <= from+54; to++ {
		if wire.IsToken(string(d.text[from:to])) {
			return to
		}
	}
	return from + len(wire.TokenPrefix)
}

// jwt is "eyJ…" with a J at i: three parts, or the five of one that is encrypted.
func (d *detector) jwt(i int) (m match) {
	from := i - 2
	if from < 0 || d.text[from] != 'e' || d.text[from+1] != 'y' || isWord(d.at(from-1)) {
		return m
	}
	end, dots := from, 0
	for dots < 5 {
		end = run(d.text, end, "_-")
		if d.at(end) != '.' || dots == 4 {
			break
		}
		dots++
		end++
	}
	if dots < 2 || isRedacted(d.text[from:end]) || !bytes.Contains(d.text[from:end], []byte("J")) || end-from < 20 {
		return m
	}
	return match{from, end, Credential}
}

// azure is a client secret of Entra ID: three letters, a digit, "Q~", the rest.
func (d *detector) azure(i int) (m match) {
	from := i - 5
	if from < 0 || d.text[i-1] != 'Q' || !isDigit(d.text[i-2]) {
		return m
	}
	end := run(d.text, i+1, "_.~-")
	if n := end - i - 1; n < 31 || n > 40 {
		return m
	}
	return match{from, end, Credential}
}

// maxBlock bounds a private key in PEM.
const maxBlock = 16 << 10

// block is a private key in PEM; cut off it goes to the end.
func (d *detector) block(i int) (m match) {
	s := d.text[i:min(len(d.text), i+maxBlock)]
	line := s[:min(len(s), 64)]
	if !bytes.Contains(line, []byte("PRIVATE KEY")) {
		return m
	}
	end := len(s)
	if at := bytes.Index(s, []byte("-----END ")); at >= 0 {
		if close := bytes.Index(s[at+9:], []byte("-----")); close >= 0 {
			end = at + 9 + close + 5
		}
	}
	return match{i, i + end, Credential}
}

// named is a value behind "name=" or "name: " where the name is a credential's:
// in logs, SQL, settings, cookies within texts.
func (d *detector) named(i int) (m match) {
	s := d.text
	to := i
	for to > d.done && (s[to-1] == ' ' || s[to-1] == '"' || s[to-1] == '\'') && i-to < 2 {
		to--
	}
	from := to
	for from > d.done && to-from < maxName && (isWord(s[from-1]) || s[from-1] == '_' || s[from-1] == '-' || s[from-1] == '.') {
		from--
	}
	if to-from < 3 {
		return m
	}
	class := d.view.class(s[from:to])
	if class != Credential && class != CVV {
		return m
	}
	begin := i + 1
	for begin < len(s) && (s[begin] == ' ' || s[begin] == '=') && begin-i < 4 {
		begin++
	}
	return d.value(begin, class)
}

// quoted is a value in SQL: PASSWORD 'x', IDENTIFIED BY 'x'.
func (d *detector) quoted(i int) (m match) {
	if d.at(i-1) != ' ' {
		return m
	}
	to := i - 1
	from := to
	for from > d.done && to-from < maxName && (isWord(d.text[from-1]) || d.text[from-1] == '_') {
		from--
	}
	word := d.text[from:to]
	if is(word, "by") && from >= len("identified ") && is(d.text[from-len("identified "):from-1], "identified") {
		return d.value(i, Credential)
	}
	if len(word) < 3 || d.view.class(word) != Credential {
		return m
	}
	return d.value(i, Credential)
}

// value reaches to its quote, else to a blank or a sign between values; a
// scheme before it ("Bearer x") stays.
func (d *detector) value(begin int, class Class) (m match) {
	s := d.text
	if begin >= len(s) {
		return m
	}
	if q := s[begin]; q == '"' || q == '\'' {
		if n := bytes.IndexByte(s[begin+1:], q); n > 0 {
			return d.unless(match{begin + 1, begin + 1 + n, class})
		}
		return m
	}
	for {
		end := begin
		for end < len(s) && strings.IndexByte(" \t\r\n&;,\"'<>()[]{}", s[end]) < 0 {
			end++
		}
		if word := s[begin:end]; d.at(end) == ' ' && (is(word, "Bearer") || is(word, "Basic") || is(word, "Token")) {
			begin = end + 1
			continue
		}
		if end == begin {
			return m
		}
		return d.unless(match{begin, end, class})
	}
}

func (d *detector) unless(m match) match {
	if isRedacted(d.text[m.from:m.to]) {
		return match{}
	}
	return m
}

var endsAuthority = setOf("/?# \t\r\n\"'<>\\")

func setOf(signs string) (set [256]bool) {
	for i := range len(signs) {
		set[signs[i]] = true
	}
	return set
}

// colon is within a URL, whose userinfo is a credential, or behind a name.
func (d *detector) colon(i int) (m match) {
	s := d.text
	if !bytes.HasPrefix(s[i:], []byte("://")) {
		if i+1 < len(s) && (s[i+1] == ' ' || s[i+1] == '"' || s[i+1] == '\'') {
			return d.named(i)
		}
		return m
	}
	from := i + 3
	at := from
	for end := from; end < len(s) && end-from < 1024 && !endsAuthority[s[end]]; end++ {
		if s[end] == '@' {
			at = end
		}
	}
	if at == from {
		return m
	}
	return d.unless(match{from, at, Credential})
}
