package selector

import (
	"strconv"
	"strings"
)

// String is the selector in canonical form: Parse reads it back to an equal
// Expr.
func (e *Expr) String() string {
	if e.All() {
		return "{}"
	}
	var b strings.Builder
	b.WriteByte('{')
	e.write(&b)
	b.WriteByte('}')
	return b.String()
}

func (e *Expr) write(b *strings.Builder) {
	switch e.Kind {
	case Is:
		b.WriteString(e.Condition.String())
	case Not:
		b.WriteByte('!')
		if a := e.Args[0]; a.Kind == Not || a.Kind == Is {
			a.write(b) // never deeper than what was read
			return
		}
		e.Args[0].group(b)
	case Or:
		for i, a := range e.Args {
			if i > 0 {
				b.WriteString(" || ")
			}
			a.write(b) // && binds tighter
		}
	case And:
		for i, a := range e.Args {
			if i > 0 {
				b.WriteString(" && ")
			}
			if a.Kind == Or {
				a.group(b)
				continue
			}
			a.write(b)
		}
	}
}

func (e *Expr) group(b *strings.Builder) {
	b.WriteByte('(')
	e.write(b)
	b.WriteByte(')')
}

// MarshalText writes the selector as String does.
func (e *Expr) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a selector as Parse does.
func (e *Expr) UnmarshalText(b []byte) error {
	parsed, err := Parse(string(b))
	if err != nil {
		return err
	}
	*e = *parsed
	return nil
}

func (c *Condition) String() string { return c.name() + string(c.Op) + c.value() }

func (c *Condition) name() string {
	if c.Key != Tag {
		return string(c.Key)
	}
	if isPlain(c.Tag) {
		return "tag." + c.Tag
	}
	return "tag." + quote(c.Tag)
}

func (c *Condition) value() string {
	switch kind := c.Key.Type(); {
	case kind == Microseconds:
		return printMicroseconds(c.Number)
	case kind == Bytes:
		return printBytes(c.Number)
	case kind == Bool:
		return strconv.FormatBool(c.Number == 1)
	case c.Op.Ordered():
		return strconv.FormatInt(c.Number, 10)
	case (kind == Enumeration || kind == NumericText) && isPlain(c.Text):
		return c.Text
	}
	return quote(c.Text)
}

// isPlain says that a text can stand without quotes.
func isPlain(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return !isWord(c) }) < 0
}
