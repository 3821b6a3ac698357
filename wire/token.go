package wire

import "strings"

// TokenPrefix begins each redaction token: td1_<key id>_<32 hex>.
const TokenPrefix = "td1_"

// The shapes of tokens that stand where a parser wants more than any text.
// None is a value that can be real.
const (
	RedactedDomain = "@redacted.invalid" // of e-mail tokens (RFC 2606)
	RedactedPhone  = "+999"              // a country code that is reserved (E.164)
	RedactedIBAN   = "ZZ"                // a country that is none (ISO 3166, user-assigned)
	RedactedCard   = "99"                // no issuer's numbers begin so
	RedactedJWT    = ".dGQxX"            // begins a signature: "td1_" in base64
)

// IsToken says that s is a redaction token.
func IsToken(s string) bool {
	rest, ok := strings.CutPrefix(s, TokenPrefix)
	if !ok {
		return false
	}
	key, sum, ok := strings.Cut(rest, "_")
	return ok && key != "" && len(key) <= 16 && isHex(key) && len(sum) == 32 && isHex(sum)
}

// TokenClass is the class of the value that a redaction token of any shape
// stands for, "" when s is none. A scheme before it is no matter.
func TokenClass(s string) string {
	if scheme, rest, ok := strings.Cut(s, " "); ok && len(scheme) <= 16 && isLetters(scheme) && rest != "" {
		s = rest
	}
	switch {
	case IsToken(s):
		return "credential"
	case len(s) < 10 || len(s) > 16<<10:
		return ""
	case strings.HasSuffix(s, RedactedDomain) && IsToken(strings.TrimSuffix(s, RedactedDomain)):
		return "email"
	case strings.HasPrefix(s, "eyJ") && strings.Contains(s, RedactedJWT):
		return "credential"
	case strings.HasPrefix(s, RedactedPhone) && isGrouped(s[1:]) && len(s) <= 24:
		return "phone"
	case strings.HasPrefix(s, RedactedIBAN) && len(s) >= 15 && len(s) <= 42 && CheckIBAN(s):
		return "iban"
	case isTokenSSN(s):
		return "ssn"
	case strings.HasPrefix(s, RedactedCard) && len(s) <= 38 && isGrouped(s) && CheckLuhn(s):
		return "card"
	case len(s) == 36 && s[14] == '8' && isUUID(s):
		return "credential"
	case isTokenDate(s):
		return "birthdate"
	case s[0] == '[' && s[len(s)-1] == ']' && isHashLength(s[1:len(s)-1]):
		return "credential"
	}
	return ""
}

func isLetters(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return s != ""
}

// isGrouped says that s is of digits with single blanks, dots, hyphens or
// brackets between them.
func isGrouped(s string) bool {
	digits := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case i == 0 || c != ' ' && c != '-' && c != '.' && c != '(' && c != ')':
			return false
		}
	}
	return digits >= 7
}

// isTokenSSN: an area from 900 on was never given out; groups 00 to 49 of it
// are no tax number of the IRS either.
func isTokenSSN(s string) bool {
	return len(s) == 11 && s[0] == '9' && s[3] == '-' && s[6] == '-' && s[4] < '5' && isDigits(s[:3]+s[4:6]+s[7:])
}

// isTokenDate: the years 9000 to 9899.
func isTokenDate(s string) bool {
	if s[0] == '9' && s[1] < '9' && s[4] == '-' && isDate(s[:10]) {
		return true
	}
	return len(s) == 10 && (s[2] == '.' || s[2] == '/') && s[5] == s[2] && s[6] == '9' && s[7] < '9' && isDigits(s[:2]+s[3:5]+s[6:])
}

// isHashLength: "812 bytes td1_…".
func isHashLength(s string) bool {
	n, token, ok := strings.Cut(s, " bytes ")
	return ok && isDigits(n) && IsToken(token)
}

// CheckLuhn is the check digit of payment cards; what is no digit is passed over.
func CheckLuhn(s string) bool {
	sum, n := 0, 0
	for i := len(s) - 1; i >= 0; i-- {
		d := int(s[i]) - '0'
		if d < 0 || d > 9 {
			continue
		}
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		n++
	}
	return n > 0 && sum%10 == 0
}

// CheckIBAN is the check of ISO 13616 (mod 97); blanks are passed over.
func CheckIBAN(s string) bool {
	n, ok := IBANRemainder(s)
	return ok && n == 1
}

// IBANRemainder is the number of ISO 13616 modulo 97.
func IBANRemainder(s string) (int, bool) {
	n, first := 0, 0
	s = strings.ReplaceAll(s, " ", "")
	if len(s) < 5 {
		return 0, false
	}
	s = s[4:] + s[:4]
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			n = (n*10 + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			n = (n*100 + int(c-'A') + 10) % 97
		default:
			return 0, false
		}
		first++
	}
	return n, first > 0
}
