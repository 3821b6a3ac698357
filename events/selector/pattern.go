package selector

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxRepeat      = 255 // PostgreSQL's DUPMAX; RE2 takes 1000
	maxPatternSize = 500 // characters and classes after {m,n} is written out: PostgreSQL compiles in cubic time
	maxPatternDeep = 16  // groups
)

const patternHint = "=~ takes literals, . [] [^] ^ $ * + ? {m,n} | ( ), a backslash before punctuation, and (?i) at the head"

// pattern reads the regular expression of a condition and writes it anew in
// the one form that RE2 and PostgreSQL read alike: groups do not capture,
// every literal that means something to either engine is escaped, and (?i) is
// spelled out, because the engines disagree about the case of letters beyond
// ASCII.
func (p *parser) pattern(c *Condition) *SyntaxError {
	r := &patternReader{in: c.Text}
	problem := r.read()
	if problem == "" {
		c.pattern = "^(?:" + r.out.String() + ")$"
		if r.out.Len() == 0 {
			c.pattern = "^$"
		}
		var err error
		// s: the dot of PostgreSQL matches a newline as well.
		if c.regexp, err = regexp.Compile("(?s)" + c.pattern); err == nil {
			return nil
		}
		problem = err.Error()
	}
	return p.fail(p.tok.offset(r.at), problem, patternHint)
}

type patternReader struct {
	in   string
	at   int
	out  strings.Builder
	fold bool // (?i)
	deep int
}

func (r *patternReader) peek() rune {
	if r.at >= len(r.in) {
		return -1
	}
	c, _ := utf8.DecodeRuneInString(r.in[r.at:])
	return c
}

func (r *patternReader) take() rune {
	c, n := utf8.DecodeRuneInString(r.in[r.at:])
	r.at += n
	return c
}

// read writes the pattern to out, or says what is wrong at r.at.
func (r *patternReader) read() (problem string) {
	if strings.HasPrefix(r.in, "(?i)") {
		r.fold, r.at = true, 4
	}
	if r.at == len(r.in) {
		return ""
	}
	if _, problem := r.alternatives(); problem != "" {
		return problem
	}
	if r.at < len(r.in) {
		return "there is no ( for this )"
	}
	return ""
}

// alternatives reads branches up to a ) or the end; size is what it comes to
// when every {m,n} is written out.
func (r *patternReader) alternatives() (size int, problem string) {
	for {
		begin := r.out.Len()
		n, problem := r.branch()
		if problem != "" {
			return 0, problem
		}
		if r.out.Len() == begin {
			return 0, "an alternative is empty: write (…)? for something that may be missing"
		}
		size += n
		if r.peek() != '|' {
			return size, ""
		}
		r.out.WriteRune(r.take())
	}
}

func (r *patternReader) branch() (size int, problem string) {
	for {
		c := r.peek()
		if c < 0 || c == '|' || c == ')' {
			return size, ""
		}
		n, quantifiable, problem := r.atom()
		if problem != "" {
			return 0, problem
		}
		begin := r.at
		times, problem := r.quantifier(quantifiable)
		if problem != "" {
			return 0, problem
		}
		if size += n * times; size > maxPatternSize {
			r.at = begin
			return 0, fmt.Sprintf("the expression is too big: at most %d characters when {m,n} is written out", maxPatternSize)
		}
	}
}

func (r *patternReader) atom() (size int, quantifiable bool, problem string) {
	switch c := r.peek(); c {
	case '(':
		size, problem = r.group()
		return size, true, problem
	case '[':
		return 1, true, r.class()
	case '.':
		r.out.WriteRune(r.take())
		return 1, true, ""
	case '^', '$':
		r.out.WriteRune(r.take())
		return 1, false, ""
	case '*', '+', '?':
		return 0, false, "nothing stands before " + strconv.Quote(string(c)) + " to repeat"
	case '{':
		if _, _, n := bounds(r.in[r.at:]); n > 0 {
			return 0, false, "nothing stands before {m,n} to repeat"
		}
	case '\\':
		r.at++
		if problem := r.escaped(); problem != "" {
			r.at--
			return 0, false, problem
		}
	}
	r.literal(r.take())
	return 1, true, ""
}

// escaped says whether a backslash may stand before the next character.
func (r *patternReader) escaped() (problem string) {
	c := r.peek()
	switch {
	case c < 0:
		return "the backslash at the end escapes nothing"
	case c == 'd':
		return `\d is read differently by the engines: write [0-9]`
	case c == 'w':
		return `\w is read differently by the engines: write [A-Za-z0-9_]`
	case c == 's':
		return `\s is read differently by the engines: write [ \t]`
	case c >= utf8.RuneSelf || isAlphanumeric(c):
		return `\` + string(c) + " is not taken"
	}
	return ""
}

func isAlphanumeric(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func (r *patternReader) literal(c rune) {
	if r.fold && isLetter(c) {
		fmt.Fprintf(&r.out, "[%c%c]", c|0x20, c&^0x20)
		return
	}
	if strings.ContainsRune(`\.+*?()|[]{}^$`, c) {
		r.out.WriteByte('\\')
	}
	r.out.WriteRune(c)
}

func isLetter(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func (r *patternReader) group() (size int, problem string) {
	begin := r.at
	r.take()
	if r.deep++; r.deep > maxPatternDeep {
		r.at = begin
		return 0, fmt.Sprintf("too many groups inside each other: at most %d", maxPatternDeep)
	}
	defer func() { r.deep-- }()
	if strings.HasPrefix(r.in[r.at:], "?:") {
		r.at += 2
	}
	if r.peek() == '?' {
		r.at = begin
		return 0, "(? is taken only as (?:…) and as (?i) at the head"
	}
	r.out.WriteString("(?:")
	size, problem = r.alternatives()
	if problem != "" {
		return 0, problem
	}
	if r.peek() != ')' {
		r.at = begin
		return 0, "this ( is never closed"
	}
	r.out.WriteRune(r.take())
	return size, ""
}

// quantifier reads * + ? {m} {m,} {m,n} behind an atom and says how often the
// atom is written out.
func (r *patternReader) quantifier(quantifiable bool) (times int, problem string) {
	text, times := "", 1
	switch c := r.peek(); c {
	case '*', '+', '?':
		text = string(c)
	case '{':
		low, high, n := bounds(r.in[r.at:])
		if n == 0 {
			return 1, "" // a literal
		}
		if low > maxRepeat || high > maxRepeat || high >= 0 && low > high {
			return 0, fmt.Sprintf("{m,n} wants m ≤ n ≤ %d", maxRepeat)
		}
		text, times = r.in[r.at:r.at+n], max(low, high, 1)
	default:
		return 1, ""
	}
	if !quantifiable {
		return 0, "an anchor cannot be repeated"
	}
	r.at += len(text)
	r.out.WriteString(text)
	if c := r.peek(); c == '*' || c == '+' || c == '?' {
		return 0, "a repetition cannot be repeated, and there are no lazy or possessive ones"
	}
	if _, _, n := bounds(r.in[r.at:]); n > 0 {
		return 0, "a repetition cannot be repeated"
	}
	return times, ""
}

// bounds reads {m}, {m,} or {m,n} at the head of s: high is -1 without a
// bound, n is its length and 0 when there is none.
func bounds(s string) (low, high, n int) {
	body, _, closed := strings.Cut(strings.TrimPrefix(s, "{"), "}")
	if !closed || !strings.HasPrefix(s, "{") || len(body) > 9 {
		return 0, 0, 0
	}
	first, second, comma := strings.Cut(body, ",")
	low64, ok := statusNumber(first)
	if !ok {
		return 0, 0, 0
	}
	low, high = int(low64), int(low64)
	if comma {
		high = -1
		if second != "" {
			high64, ok := statusNumber(second)
			if !ok {
				return 0, 0, 0
			}
			high = int(high64)
		}
	}
	return low, high, len(body) + 2
}
