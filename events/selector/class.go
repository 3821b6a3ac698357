package selector

import (
	"strconv"
	"strings"
)

// class reads [a-z] or [^a-z].
func (r *patternReader) class() (problem string) {
	begin := r.at
	r.take()
	r.out.WriteByte('[')
	if r.peek() == '^' {
		r.out.WriteRune(r.take())
	}
	for first := true; first || r.peek() != ']'; first = false {
		low, problem := r.member(first)
		if problem != "" {
			return problem
		}
		high := low
		if strings.HasPrefix(r.in[r.at:], "-") && !strings.HasPrefix(r.in[r.at:], "-]") {
			at := r.at
			r.take()
			if high, problem = r.member(false); problem != "" {
				return problem
			}
			if high < low {
				r.at = at
				return "the range " + strconv.Quote(string(low)+"-"+string(high)) + " runs backwards"
			}
		}
		r.members(low, high)
		if r.peek() < 0 {
			r.at = begin
			return "this [ is never closed"
		}
	}
	r.out.WriteRune(r.take())
	return ""
}

// member reads one character of a class.
func (r *patternReader) member(first bool) (rune, string) {
	switch c := r.peek(); {
	case c < 0:
		return 0, "a [ is never closed"
	case c == '[' && strings.ContainsAny(r.in[r.at+1:min(r.at+2, len(r.in))], ":.="):
		return 0, "[: [. and [= are not taken inside []"
	case c == ']' && first:
		// POSIX and RE2 take it as a literal, at the head only.
	case c == '\\':
		r.at++
		if problem := r.escaped(); problem != "" {
			r.at--
			return 0, problem
		}
	}
	return r.take(), ""
}

func (r *patternReader) members(low, high rune) {
	r.span(low, high)
	if !r.fold {
		return
	}
	if l, h := max(low, 'a'), min(high, 'z'); l <= h {
		r.span(l&^0x20, h&^0x20)
	}
	if l, h := max(low, 'A'), min(high, 'Z'); l <= h {
		r.span(l|0x20, h|0x20)
	}
}

func (r *patternReader) span(low, high rune) {
	write := func(c rune) {
		if strings.ContainsRune(`\]^-[`, c) {
			r.out.WriteByte('\\')
		}
		r.out.WriteRune(c)
	}
	write(low)
	if high > low {
		r.out.WriteByte('-')
		write(high)
	}
}
