package selector

import (
	"regexp"
	"slices"

	"tapedeck/events"
)

// Condition is KEY OPERATOR VALUE.
type Condition struct {
	Key    Key
	Tag    string // name of the tag, when Key is Tag
	Op     Op
	Text   string // the value of text keys; of =~ and !~ as it was written
	Number int64  // the value of duration (µs), size (bytes), error (0, 1) and of an order on status

	pattern string // of =~ and !~, as both engines read it
	regexp  *regexp.Regexp
}

// Pattern is the regular expression of =~ and !~, anchored, in a form that
// RE2 and PostgreSQL's ARE (operator ~) read alike.
func (c *Condition) Pattern() string { return c.pattern }

// Match says whether the selector chooses the exchange.
func (e *Expr) Match(r *events.Row) bool {
	if e == nil {
		return true
	}
	switch e.Kind {
	case Is:
		return e.Condition.match(r)
	case Not:
		return !e.Args[0].Match(r)
	case Or:
		return slices.ContainsFunc(e.Args, func(a *Expr) bool { return a.Match(r) })
	}
	return !slices.ContainsFunc(e.Args, func(a *Expr) bool { return !a.Match(r) })
}

func (c *Condition) match(r *events.Row) bool {
	switch c.Key {
	case Duration:
		return ordered(c.Op, r.Duration.Microseconds(), c.Number)
	case Size:
		return ordered(c.Op, bodySize(r), c.Number)
	case Error:
		return ordered(c.Op, boolNumber(r.Failed()), c.Number)
	}
	text := c.textOf(r)
	if c.Op.Ordered() {
		n, isNumber := statusNumber(text)
		return isNumber && ordered(c.Op, n, c.Number)
	}
	return c.MatchText(text)
}

// MatchText compares one text with = != =~ or !~, as Match does with the
// key's value.
func (c *Condition) MatchText(text string) bool {
	switch c.Op {
	case Equal:
		return text == c.Text
	case NotEqual:
		return text != c.Text
	case Matches:
		return c.regexp.MatchString(text)
	case MatchesNot:
		return !c.regexp.MatchString(text)
	}
	return false
}

func ordered(op Op, a, b int64) bool {
	switch op {
	case Equal:
		return a == b
	case NotEqual:
		return a != b
	case Greater:
		return a > b
	case GreaterOrEqual:
		return a >= b
	case Less:
		return a < b
	case LessOrEqual:
		return a <= b
	}
	return false
}

func (c *Condition) textOf(r *events.Row) string {
	switch c.Key {
	case Cluster:
		return r.Cluster
	case Namespace:
		return r.Namespace
	case Service:
		return r.Service
	case Version:
		return r.Version
	case Direction:
		return wordOf(Direction, int(r.Direction))
	case Protocol:
		return r.Protocol
	case Host:
		return r.Host
	case Method:
		return r.Method
	case Path:
		return r.Path
	case Endpoint:
		return r.Template
	case Status:
		return r.Status
	case Class:
		return wordOf(Class, int(r.Class))
	case Session:
		return r.Session.String()
	case Trace:
		return r.Trace.String()
	case Replay:
		return replayOf(r)
	case Tag:
		return tagOf(r, c.Tag)
	}
	return ""
}

// ValueOf is the text that conditions on a text key see; tag is the name where
// the key is Tag.
func ValueOf(r *events.Row, k Key, tag string) string {
	return (&Condition{Key: k, Tag: tag}).textOf(r)
}

// Words are the words of an enumeration (direction, class); the word at i
// stands for the number i+1 in events.Direction and events.StatusClass. All
// other numbers have the empty text.
func Words(k Key) []string { return slices.Clone(words[k]) }

func wordOf(k Key, n int) string {
	if n < 1 || n > len(words[k]) {
		return ""
	}
	return words[k][n-1]
}

// UnknownReplay is the value of the key replay where an exchange is known to
// be a replay's and its id is not.
const UnknownReplay = "unknown"

func replayOf(r *events.Row) string {
	switch {
	case !r.Replay:
		return ""
	case r.ReplayID == "":
		return UnknownReplay
	}
	return r.ReplayID
}

func tagOf(r *events.Row, name string) string {
	for _, t := range r.Tags {
		if t.GetKey() == name {
			return t.GetValue()
		}
	}
	return ""
}

// bodySize adds without wrapping round; values in selectors are far below
// the bound.
func bodySize(r *events.Row) int64 {
	sum := r.RequestBytes + r.ResponseBytes
	if (sum < 0) != (r.RequestBytes < 0) && (r.RequestBytes < 0) == (r.ResponseBytes < 0) {
		return int64(^uint64(0)>>1) ^ (r.RequestBytes >> 63)
	}
	return sum
}

func boolNumber(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// statusNumber reads 1 to 9 digits.
func statusNumber(s string) (int64, bool) {
	if len(s) < 1 || len(s) > 9 {
		return 0, false
	}
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
