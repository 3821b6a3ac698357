package selector

import (
	"math/big"
	"strconv"
	"strings"
	"time"
)

// maxNumber bounds sizes and durations, so that no sum or product of them
// wraps round.
const maxNumber = 1 << 53

// parseMicroseconds reads a duration as Go writes it.
func parseMicroseconds(s string) (n int64, problem string) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil && s == "":
		return 0, "the duration is missing: write 200ms, 1.5s or 1m30s"
	case err != nil && strings.Trim(s, "0123456789.") == "":
		return 0, "the duration " + strconv.Quote(s) + " has no unit: write " + s + "ms or " + s + "s"
	case err != nil:
		return 0, strconv.Quote(s) + " is not a duration: write 200ms, 1.5s or 1m30s"
	case d < 0:
		return 0, "a duration is never negative"
	case d%time.Microsecond != 0:
		return 0, "durations are whole microseconds"
	}
	return d.Microseconds(), ""
}

func printMicroseconds(n int64) string { return (time.Duration(n) * time.Microsecond).String() }

var units = []struct {
	name  string
	bytes int64
}{
	{"tib", 1 << 40}, {"gib", 1 << 30}, {"mib", 1 << 20}, {"kib", 1 << 10},
	{"tb", 1e12}, {"gb", 1e9}, {"mb", 1e6}, {"kb", 1e3}, {"b", 1}, {"", 1},
}

// parseBytes reads a size: a number and a unit, upper or lower case.
func parseBytes(s string) (n int64, problem string) {
	digits := strings.TrimRight(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz")
	unit := strings.ToLower(s)[len(digits):]
	for _, u := range units {
		if u.name != unit {
			continue
		}
		// The lengths are bounded before a Rat sees them: no blown-up exponents.
		if digits == "" || len(digits) > 20 || strings.Trim(digits, "0123456789.") != "" {
			break
		}
		r, ok := new(big.Rat).SetString(digits)
		if !ok {
			break
		}
		r.Mul(r, new(big.Rat).SetInt64(u.bytes))
		switch {
		case !r.IsInt():
			return 0, strconv.Quote(s) + " is not a whole number of bytes"
		case !r.Num().IsInt64() || r.Num().Int64() > maxNumber:
			return 0, strconv.Quote(s) + " is too big"
		}
		return r.Num().Int64(), ""
	}
	return 0, strconv.Quote(s) + " is not a size: write 512, 10KiB or 1.5MB"
}

func printBytes(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func parseStatusNumber(s string) (n int64, problem string) {
	n, ok := statusNumber(s)
	if !ok {
		return 0, strconv.Quote(s) + " is not a number of 1 to 9 digits: > >= < <= compare a status as a number"
	}
	return n, ""
}

func parseBool(s string) (n int64, problem string) {
	switch s {
	case "true":
		return 1, ""
	case "false":
		return 0, ""
	}
	return 0, strconv.Quote(s) + " is neither true nor false"
}

// normalID takes an id in upper case or with a UUID's dashes as the same id.
func normalID(s string) string {
	plain := strings.ToLower(s)
	if len(plain) == 36 {
		plain = strings.ReplaceAll(plain, "-", "")
	}
	if len(plain) != 32 || strings.Trim(plain, "0123456789abcdef") != "" {
		return s
	}
	return plain
}
