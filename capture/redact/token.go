package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strconv"

	"tapedeck/wire"
)

// replace is what stands for a value: in a shape that a parser still accepts
// where the value was, and where no real value lies. What is redacted already
// stays, so does the empty value.
func (k *Key) replace(t treatment, value []byte) []byte {
	if len(value) == 0 || t.action == Keep || isRedacted(value) || k.isSealed(value) {
		return value
	}
	switch t.action {
	case Mask:
		return mask(value)
	case Drop:
		return nil
	case HashLength:
		return k.hashLength(t.class, value)
	}
	return k.shaped(t.class, value)
}

func isRedacted(value []byte) bool {
	return len(value) <= maxHeld && wire.TokenClass(string(value)) != ""
}

func (k *Key) shaped(c Class, value []byte) []byte {
	var out []byte
	switch c {
	case Credential:
		return k.credential(value)
	case CVV:
		return mask(value) // a hash of three digits says too much
	case Email:
		out = k.email(value)
	case Card:
		out = k.card(value)
	case IBAN:
		out = k.iban(value)
	case Phone:
		out = k.phone(value)
	case SSN:
		out = k.ssn(value)
	case Birthdate:
		out = k.date(value)
	}
	if out == nil {
		return k.token(c, value)
	}
	return out
}

// credential keeps a scheme before it ("Bearer …"), and the shape of a JWT and
// of a UUID.
func (k *Key) credential(value []byte) []byte {
	scheme, rest, ok := bytes.Cut(value, []byte(" "))
	if ok && len(rest) > 0 && (is(scheme, "Bearer") || is(scheme, "Basic") || is(scheme, "Token")) {
		return append(append(bytes.Clone(scheme), ' '), k.replace(treatment{Credential, Token}, rest)...)
	}
	if out := k.jwt(value); out != nil {
		return out
	}
	if len(value) == 36 && wire.Class(string(value)) == wire.ClassUUID {
		return k.uuid(value)
	}
	return k.Token(value)
}

// uuid is of version 8 (RFC 9562): 122 bits are free.
func (k *Key) uuid(value []byte) []byte {
	sum := k.hash(Credential, bytes.ToLower(value))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	out := make([]byte, 0, 36)
	for i, b := range sum[:16] {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			out = append(out, '-')
		}
		out = append(out, "0123456789abcdef"[b>>4], "0123456789abcdef"[b&15])
	}
	return out
}

func (k *Key) email(value []byte) []byte {
	if at := bytes.LastIndexByte(value, '@'); at < 1 || len(value) > 320 || bytes.ContainsAny(value, " \t\r\n<>") {
		return nil
	}
	return append(k.token(Email, bytes.ToLower(value)), wire.RedactedDomain...)
}

// digits are what is left of value, and whether it holds nothing else but the
// signs that group them.
func digits(value []byte) (d []byte, ok bool) {
	d = make([]byte, 0, len(value))
	for i, c := range value {
		switch {
		case c >= '0' && c <= '9':
			d = append(d, c)
		case c == '+' && i == 0, c == ' ', c == '-', c == '.', c == '(', c == ')', c == '/':
		default:
			return nil, false
		}
	}
	return d, len(d) > 0
}

// regroup puts digits where those of value stand.
func regroup(value, digits []byte) []byte {
	out := bytes.Clone(value)
	for i, n := 0, 0; i < len(out) && n < len(digits); i++ {
		if out[i] >= '0' && out[i] <= '9' {
			out[i] = digits[n]
			n++
		}
	}
	return out
}

// random are n digits of a hash.
func random(sum [32]byte, n int) []byte {
	out := make([]byte, 0, n)
	for i := 0; len(out) < n; i = (i + 8) % 32 { // 18 digits of 64 bits are near enough to even
		v := binary.BigEndian.Uint64(sum[i:]) % 1e18
		for range min(18, n-len(out)) {
			out = append(out, byte('0'+v%10))
			v /= 10
		}
	}
	return out
}

// card begins with 99, keeps length and grouping, and its check digit is right.
func (k *Key) card(value []byte) []byte {
	d, ok := digits(value)
	if !ok || len(d) < 12 || len(d) > 19 {
		return nil
	}
	out := random(k.hash(Card, d), len(d))
	out[0], out[1] = '9', '9'
	return regroup(value, withLuhn(out))
}

func withLuhn(d []byte) []byte {
	for c := byte('0'); c <= '9'; c++ {
		if d[len(d)-1] = c; wire.CheckLuhn(string(d)) {
			break
		}
	}
	return d
}

// iban is of the country ZZ, in the length and with the check digits of one.
func (k *Key) iban(value []byte) []byte {
	plain := bytes.ToUpper(bytes.ReplaceAll(value, []byte(" "), nil))
	if len(plain) < 15 || len(plain) > 34 || !isAlphanumeric(plain) {
		return nil
	}
	sum := k.hash(IBAN, plain)
	out := append([]byte(wire.RedactedIBAN+"00"), random(sum, len(plain)-4)...)
	for i := 4; i < len(out); i++ { // letters hold more than digits
		if b := sum[i%32]; b%36 >= 10 {
			out[i] = 'A' + b%36 - 10
		}
	}
	n, _ := wire.IBANRemainder(string(out))
	out[2], out[3] = byte('0'+(98-n)/10), byte('0'+(98-n)%10)
	grouped := make([]byte, 0, len(value))
	for _, c := range value {
		if c == ' ' {
			grouped = append(grouped, ' ')
			continue
		}
		grouped, out = append(grouped, out[0]), out[1:]
	}
	return grouped
}

func isAlphanumeric(b []byte) bool {
	for _, c := range b {
		if !isWord(c) {
			return false
		}
	}
	return true
}

// phone begins with +999. A number with a plus keeps its grouping.
func (k *Key) phone(value []byte) []byte {
	d, ok := digits(value)
	if !ok || len(d) < 5 || len(d) > 20 {
		return nil
	}
	sum := k.hash(Phone, d)
	if value[0] != '+' || len(d) < 8 {
		return append([]byte(wire.RedactedPhone), random(sum, 12)...)
	}
	out := random(sum, len(d))
	copy(out, "999")
	if grouped := regroup(value, out); bytes.HasPrefix(grouped, []byte(wire.RedactedPhone)) {
		return grouped
	}
	return append([]byte(wire.RedactedPhone), out[3:]...)
}

// ssn lies in an area that nobody has, and in a group that no tax number has.
func (k *Key) ssn(value []byte) []byte {
	d, ok := digits(value)
	if !ok || len(d) != 9 {
		return nil
	}
	r := random(k.hash(SSN, d), 9)
	r[0], r[3] = '9', '0'+(r[3]-'0')%5
	return []byte(string(r[:3]) + "-" + string(r[3:5]) + "-" + string(r[5:]))
}

// date is in the years 9000 to 9899, in the layout of the value.
func (k *Key) date(value []byte) []byte {
	sum := k.hash(Birthdate, value)
	r := binary.BigEndian.Uint32(sum[:])
	year, month, day := strconv.Itoa(9000+int(r%900)), two(1+r/900%12), two(1+r/10800%28)
	switch s := string(value); {
	case wire.Class(s) == wire.ClassDate:
		return append([]byte(year+"-"+month+"-"+day), value[10:]...)
	case len(s) == 10 && (s[2] == '.' || s[2] == '/') && s[5] == s[2]:
		sep := s[2:3]
		return []byte(month + sep + two(1+r/10800%12) + sep + year) // a day and month in either order
	}
	return nil
}

func two(n uint32) string { return string([]byte{byte('0' + n/10), byte('0' + n%10)}) }

// number replaces a JSON number or one of protobuf: as many digits, the sign,
// the point and the exponent stay. Only the exchange's marks say that it is a
// token.
func (k *Key) number(t treatment, value []byte) []byte {
	if t.action == Keep {
		return value
	}
	if d, ok := digits(value); t.class == Card && ok && len(d) >= 12 && len(d) <= 19 {
		if isRedacted(value) {
			return value
		}
		return k.card(value)
	}
	out, sum := bytes.Clone(value), k.hash(t.class, value)
	r := random(sum, len(value))
	for i, c := range out {
		switch {
		case c == 'e' || c == 'E':
			return out
		case c < '0' || c > '9':
		case t.class == CVV || t.action != Token:
			out[i] = '9'
		case i == 0 || out[i-1] == '-':
			out[i] = '1' + r[i]%8 // no leading zero, and 19 digits fit into 64 bits
		default:
			out[i] = r[i]
		}
	}
	return out
}

func mask(value []byte) []byte {
	out := make([]byte, 0, len(value))
	for _, c := range value {
		switch {
		case c >= '0' && c <= '9':
			c = '9'
		case isWord(c) || c >= 0x80:
			c = '*'
		}
		out = append(out, c)
	}
	return out
}

// hashLength is the length of a value and a token.
func (k *Key) hashLength(c Class, value []byte) []byte {
	out := strconv.AppendInt([]byte{'['}, int64(len(value)), 10)
	return append(append(append(out, " bytes "...), k.token(c, value)...), ']')
}

// binary is the token of gRPC's binary metadata, in base64 as that is.
func (k *Key) binary(value []byte) []byte {
	if bytes.HasPrefix(value, []byte(wire.RedactedJWT[1:])) {
		return value
	}
	token := k.token(Credential, value)
	return base64.RawStdEncoding.AppendEncode(nil, token)
}

// sameLength stands for a value among bytes that can't grow: letters of a hash,
// 4 bits each, in which no detector sees anything. Its last letters are a hash
// of the others, so that a second pass knows it; what is too short for that
// becomes the same whatever it was.
func (k *Key) sameLength(c Class, value []byte) []byte {
	n := len(value) - sealLength
	if n < 1 {
		return bytes.Repeat([]byte{'x'}, len(value))
	}
	sum := k.hash(c, value)
	out := make([]byte, 0, len(value))
	for len(out) < n {
		out = appendLetters(out, sum[:min(len(sum), (n-len(out)+1)/2)])
	}
	return append(out[:n], k.seal(out[:n])...)
}

// isSealed says that value comes from sameLength.
func (k *Key) isSealed(value []byte) bool {
	n := len(value) - sealLength
	if n < 1 {
		return false
	}
	for _, c := range value {
		if c < 'a' || c > 'p' {
			return false
		}
	}
	return bytes.Equal(value[n:], k.seal(value[:n]))
}

// sealLength is how many letters tell a value of sameLength from others.
const sealLength = 8

func (k *Key) seal(letters []byte) []byte {
	sum := k.hash(Credential, append([]byte("seal "), letters...))
	return appendLetters(nil, sum[:sealLength/2])
}

func appendLetters(out, sum []byte) []byte {
	for _, b := range sum {
		out = append(out, 'a'+b>>4, 'a'+b&15)
	}
	return out
}
