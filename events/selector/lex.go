package selector

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	end      tokenKind = iota
	mark               // ( ) { } && || !
	operator           // = != …
	word
	text // quoted
)

func (k tokenKind) String() string {
	return [...]string{"the end", "mark", "operator", "word", "text"}[k]
}

type token struct {
	kind  tokenKind
	text  string // decoded
	at    int    // byte offset in the selector
	until int    // byte offset behind it
	// from maps the decoded bytes to their offsets in the selector; nil: one to one from at.
	from []int
}

// offset is where byte i of the decoded text stands in the selector.
func (t token) offset(i int) int {
	switch {
	case t.from == nil:
		return t.at + i
	case i < len(t.from):
		return t.from[i]
	}
	return max(t.until-1, t.at)
}

func (t token) String() string {
	if t.kind == end {
		return "the end"
	}
	return strconv.Quote(t.text)
}

type lexer struct {
	in string
	at int
}

func (l *lexer) next() (token, *SyntaxError) {
	for l.at < len(l.in) && strings.IndexByte(" \t\r\n", l.in[l.at]) >= 0 {
		l.at++
	}
	rest := l.in[l.at:]
	if rest == "" {
		return token{kind: end, at: l.at, until: l.at}, nil
	}
	for _, op := range []string{"&&", "||", "!=", "!~", "=~", ">=", "<=", "==", "=", ">", "<", "!", "(", ")", "{", "}"} {
		if strings.HasPrefix(rest, op) {
			return l.mark(op)
		}
	}
	switch rest[0] {
	case '"':
		return l.quoted()
	case '\'', '`':
		return l.raw(rest[0])
	case ',':
		return token{}, l.fail(l.at, `unexpected ","`, "conditions are joined with && or ||")
	case '&', '|':
		return token{}, l.fail(l.at, "unexpected "+strconv.Quote(rest[:1]), "conditions are joined with && or ||")
	}
	return l.word()
}

func (l *lexer) mark(op string) (token, *SyntaxError) {
	t := token{kind: mark, text: op, at: l.at, until: l.at + len(op)}
	switch op {
	case "==":
		return t, l.fail(l.at, `unknown operator "=="`, "write =")
	case "&&", "||", "!", "(", ")", "{", "}":
	default:
		t.kind = operator
	}
	l.at += len(op)
	return t, nil
}

func (l *lexer) word() (token, *SyntaxError) {
	n := strings.IndexFunc(l.in[l.at:], func(c rune) bool { return !isWord(c) })
	if n < 0 {
		n = len(l.in) - l.at
	}
	if n == 0 {
		c, _ := utf8.DecodeRuneInString(l.in[l.at:])
		return token{}, l.fail(l.at, "unexpected "+strconv.Quote(string(c)), "quote values with other characters than letters, digits and _ - . / : @ + %")
	}
	t := token{kind: word, text: l.in[l.at : l.at+n], at: l.at, until: l.at + n}
	l.at += n
	return t, nil
}

func isWord(c rune) bool {
	return strings.ContainsRune("_-./:@+%", c) || unicode.IsLetter(c) || unicode.IsDigit(c)
}

func (l *lexer) raw(quote byte) (token, *SyntaxError) {
	n := strings.IndexByte(l.in[l.at+1:], quote)
	if n < 0 {
		return token{}, l.fail(l.at, "the quoted text does not end", "close it with "+string(quote))
	}
	t := token{kind: text, text: l.in[l.at+1 : l.at+1+n], at: l.at + 1, until: l.at + 1 + n}
	l.at += n + 2
	return t, nil
}

// quoted reads a text in double quotes. A backslash that begins no escape
// stays, so that a regular expression can be written as it is.
func (l *lexer) quoted() (token, *SyntaxError) {
	t := token{kind: text, at: l.at + 1, from: []int{}}
	var b []byte
	add := func(at int, s string) {
		b = append(b, s...)
		for range len(s) {
			t.from = append(t.from, at)
		}
	}
	for i := l.at + 1; i < len(l.in); {
		switch {
		case l.in[i] == '"':
			t.text, t.until, l.at = string(b), i, i+1
			return t, nil
		case l.in[i] == '\\' && i+1 < len(l.in):
			s, n := unescape(l.in[i:])
			add(i, s)
			i += n
		default:
			add(i, l.in[i:i+1])
			i++
		}
	}
	return token{}, l.fail(l.at, "the quoted text does not end", `close it with "`)
}

// unescape reads one escape and says how long it is.
func unescape(s string) (string, int) {
	if plain, ok := map[byte]string{'"': `"`, '\\': `\`, 'n': "\n", 'r': "\r", 't': "\t"}[s[1]]; ok {
		return plain, 2
	}
	if s[1] == 'u' && len(s) >= 6 {
		if n, err := strconv.ParseUint(s[2:6], 16, 16); err == nil && utf8.ValidRune(rune(n)) {
			return string(rune(n)), 6
		}
	}
	return `\`, 1
}

// quote writes a text so that quoted reads it back.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c == 0x7f:
			b.WriteString(`\u00`)
			b.WriteString(strconv.FormatInt(int64(c>>4), 16))
			b.WriteString(strconv.FormatInt(int64(c&15), 16))
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (l *lexer) fail(at int, problem, hint string) *SyntaxError {
	return &SyntaxError{Selector: l.in, Column: utf8.RuneCountInString(l.in[:min(at, len(l.in))]) + 1, Problem: problem, Hint: hint}
}
