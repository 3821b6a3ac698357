package redact

import (
	"bytes"

	"tapedeck/wire"
)

// A match is a value that was found by its looks.
type match struct {
	from, to int
	class    Class
}

// What a byte may be the sign of.
const (
	signNone = iota
	signDigit
	signPlus  // a phone number
	signAt    // an e-mail
	signKey   // a letter that known keys have at a known place
	signColon // a URL, or a name before a value
	signEqual // a name before a value
	signQuote // the same in SQL
	signPercent
)

var sign = func() (sign [256]uint8) {
	for c := '0'; c <= '9'; c++ {
		sign[c] = signDigit
	}
	for _, c := range []byte("JI_-~") {
		sign[c] = signKey
	}
	sign['+'], sign['@'], sign[':'], sign['='], sign['%'], sign['\''] = signPlus, signAt, signColon, signEqual, signPercent, signQuote
	return sign
}()

const shortest = 6 // of what detectors find: "a@b.cd"

// detector finds values in a text, from left to right.
type detector struct {
	view    *view
	text    []byte
	done    int  // what is before it belongs to a match
	percent bool // a sign of percent-encoding was passed
	binary  bool // among bytes that are no text: chance makes short addresses
}

// next finds the first match from i on; ok is false when there is none.
func (d *detector) next(i int) (m match, ok bool) {
	s := d.text
	for i < len(s) {
		kind := sign[s[i]]
		if kind == signNone {
			i++
			continue
		}
		to := i + 1
		switch kind {
		case signDigit:
			m, to = d.number(i)
		case signPlus:
			m = d.phone(i)
		case signAt:
			m = d.email(i)
		case signKey:
			m, to = d.key(i)
		case signColon:
			m = d.colon(i)
		case signEqual:
			m = d.named(i)
		case signQuote:
			m = d.quoted(i)
		case signPercent:
			d.percent = true
		}
		if m.class != None && d.at(m.to) == '@' { // the beginning of an address
			if e := d.email(m.to); e.class != None && d.view.detects(Email) {
				m = match{min(m.from, e.from), e.to, Email}
			}
		}
		if m.class != None && m.from >= d.done && d.view.detects(m.class) {
			d.done = m.to
			return m, true
		}
		i = to
	}
	return match{}, false
}

// mayHold says that a name is long enough to hold a secret, or has signs of one:
// most are neither, and need no look.
func mayHold[T ~string | ~[]byte](name T) bool {
	digits, run := 0, 0
	for i := range len(name) {
		switch c := name[i]; {
		case isDigit(c):
			digits++
			run++
		case isWord(c) || c == '_' || c == '-':
			run++
		case c == '@' || c == '=' || c == '+':
			return true
		default:
			run = 0
		}
		if run == 20 || digits == 8 {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func isWord(c byte) bool { return c-'0' <= 9 || (c|0x20)-'a' <= 25 }

func (d *detector) at(i int) byte {
	if i < 0 || i >= len(d.text) {
		return 0
	}
	return d.text[i]
}

// number looks at a group of digits: a card, an SSN, an IBAN behind two
// letters. Digits within a word are none of them.
func (d *detector) number(i int) (m match, to int) {
	to = i + 1
	for to < len(d.text) && isDigit(d.text[to]) {
		to++
	}
	before := d.at(i - 1)
	if before == '.' && isDigit(d.at(i-2)) {
		return m, to
	}
	if before >= 'A' && before <= 'Z' && to >= i+2 {
		return d.iban(i), to
	}
	if isWord(before) {
		return m, to
	}
	switch {
	case to-i == 3 && d.at(to) == '-':
		if m = d.ssn(i); m.class != None {
			return m, to
		}
		return d.card(i), to
	case d.endOfCard(i) > to: // redacted already, in groups that may look like another
		return m, d.endOfCard(i)
	case to-i >= 12 && to-i <= 19, to-i == 4 && (d.at(to) == '-' || d.at(to) == ' '):
		return d.card(i), to
	}
	return m, to
}

func (d *detector) ssn(i int) (m match) {
	s := d.text[i:]
	if len(s) < 11 || s[6] != '-' || !isDigit(s[4]) || !isDigit(s[5]) || len(s) > 11 && (isWord(s[11]) || s[11] == '-') || d.at(i-1) == '-' {
		return m
	}
	area := string(s[:3])
	for _, c := range s[7:11] {
		if !isDigit(c) {
			return m
		}
	}
	if area == "000" || area == "666" || string(s[4:6]) == "00" && area[0] != '9' || string(s[7:11]) == "0000" {
		return m
	}
	if wire.TokenClass(string(s[:11])) != "" {
		return m
	}
	return match{i, i + 11, SSN}
}

// card takes groups of digits with single blanks or hyphens between them as
// long as it takes to be a card's number.
func (d *detector) card(i int) (m match) {
	var number [19]byte
	n := 0
	s := d.text
	for j := i; j < len(s) && n < len(number); j++ {
		switch c := s[j]; {
		case isDigit(c):
			number[n] = c
			n++
		case (c == ' ' || c == '-') && isDigit(s[j-1]) && isDigit(d.at(j+1)):
			continue
		default:
			return m
		}
		if next := d.at(j + 1); n >= 12 && !isWord(next) && isCard(number[:n]) && !d.reachesToken(i, j+1) {
			return match{i, j + 1, Card}
		}
	}
	return m
}

// reachesToken says that digits from to to go into a number that stands for a
// card: it and the group before it look like one by chance.
func (d *detector) reachesToken(from, to int) bool {
	for i := from + 1; i < to; i++ {
		if !isDigit(d.text[i-1]) && d.endOfCard(i) > 0 {
			return true
		}
	}
	return false
}

// endOfCard is the end of a number at i that stands for a card, 0 for none.
func (d *detector) endOfCard(i int) int {
	if d.at(i) != '9' || d.at(i+1) != '9' {
		return 0
	}
	for end := min(len(d.text), i+19+5); end >= i+12; end-- {
		if isDigit(d.text[end-1]) && !isDigit(d.at(end)) && wire.TokenClass(string(d.text[i:end])) == Card.String() {
			return end
		}
	}
	return 0
}

// isCard says that digits are the number of a payment card: of a known issuer,
// in its length, with the right check digit.
func isCard(n []byte) bool {
	two, four := int(n[0]-'0')*10+int(n[1]-'0'), 0
	for _, c := range n[:4] {
		four = four*10 + int(c-'0')
	}
	fits := false
	switch l := len(n); {
	case n[0] == '4':
		fits = l == 13 || l == 16 || l == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720, four >= 2200 && four <= 2204:
		fits = l == 16 || l == 19 && four >= 2200 && four <= 2204
	case two == 34 || two == 37:
		fits = l == 15
	case two == 36 || two == 38 || two == 39 || four >= 3000 && four <= 3059:
		fits = l >= 14 && l <= 19
	case four >= 3528 && four <= 3589, two == 62, two == 60, two == 64, two == 65, two == 81, four == 9792:
		fits = l >= 16 && l <= 19
	case two == 50 || two >= 56 && two <= 58 || two == 63 || two == 67 || two == 61 || two == 66 || two == 68 || two == 69:
		fits = l >= 12 && l <= 19
	}
	return fits && wire.CheckLuhn(string(n))
}

// iban begins with the two letters before i.
func (d *detector) iban(i int) (m match) {
	from := i - 2
	if from < 0 || d.text[from] < 'A' || d.text[from] > 'Z' || isWord(d.at(from-1)) || string(d.text[from:i]) == wire.RedactedIBAN {
		return m
	}
	n, to := 0, from
	for j := from; j < len(d.text) && n < 34; j++ {
		c := d.text[j]
		if c == ' ' && (j-from)%5 == 4 && isWord(d.at(j+1)) {
			continue
		}
		if !isDigit(c) && (c < 'A' || c > 'Z') {
			break
		}
		n++
		if next := d.at(j + 1); n >= 15 && !isWord(next) && wire.CheckIBAN(string(d.text[from:j+1])) {
			to = j + 1
		}
	}
	if to == from {
		return m
	}
	return match{from, to, IBAN}
}

// phone is a number of 8 to 15 digits behind a plus (E.164).
func (d *detector) phone(i int) (m match) {
	if first := d.at(i + 1); !isDigit(first) || first == '0' || isWord(d.at(i-1)) {
		return m
	}
	n, to := 0, i
	for j := i + 1; j < len(d.text) && n < 15; j++ {
		c := d.text[j]
		switch {
		case isDigit(c):
			n++
			to = j + 1
			continue
		case c == ' ' || c == '-' || c == '.' || c == '(' || c == ')':
			if next := d.at(j + 1); isDigit(next) || next == '(' || (c == ')' && next == ' ') {
				continue
			}
		}
		break
	}
	if n < 8 || isWord(d.at(to)) || bytes.HasPrefix(d.text[i:], []byte(wire.RedactedPhone)) {
		return m
	}
	return match{i, to, Phone}
}

func isLocal(c byte) bool {
	return isWord(c) || c == '.' || c == '_' || c == '-' || c == '+' || c >= 0x80
}

// email looks both ways from the at sign.
func (d *detector) email(i int) (m match) {
	from := i
	for from > d.done && i-from < 64 && isLocal(d.text[from-1]) {
		from--
	}
	to, dot := i+1, 0
	for to < len(d.text) {
		c := d.text[to]
		if c == '.' {
			if !isWord(d.at(to-1)) && d.at(to-1) < 0x80 {
				break
			}
			dot = to
		} else if !isWord(c) && c != '-' && c < 0x80 {
			break
		}
		to++
	}
	for to > i+1 && (d.text[to-1] == '.' || d.text[to-1] == '-') { // the end of a sentence
		if to--; to == dot {
			dot = bytes.LastIndexByte(d.text[i+1:to], '.') + i + 1
		}
	}
	if from == i || dot <= i+1 || to-dot < 3 || isDigit(d.text[to-1]) {
		return m
	}
	if bytes.HasSuffix(d.text[:to], []byte(wire.RedactedDomain)) && to-i == len(wire.RedactedDomain) {
		return m
	}
	if d.view.key.isSealed(d.text[from:i]) {
		return m // the same among bytes that can't grow
	}
	if from > 0 && d.text[from-1] == '@' && string(d.text[from-1:i]) == wire.RedactedDomain {
		return m // what stood behind an address that was replaced
	}
	if d.binary && !isSureEmail(d.text[from:i], d.text[i+1:to]) {
		return m
	}
	return match{from, to, Email}
}

// isSureEmail says that an address is hardly made by chance: of ASCII, and not
// as short as one can be.
func isSureEmail(local, domain []byte) bool {
	for _, part := range [][]byte{local, domain} {
		for _, c := range part {
			if c >= 0x80 {
				return false
			}
		}
	}
	return len(local) >= 3 && len(domain) >= 6
}
