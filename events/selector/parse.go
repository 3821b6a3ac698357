package selector

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// SyntaxError says where a text is no selector, and what would be one.
type SyntaxError struct {
	Selector string
	Column   int // of the character, from 1
	Problem  string
	Hint     string
}

func (e *SyntaxError) Error() string {
	s := fmt.Sprintf("selector column %d: %s", e.Column, e.Problem)
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// Pointer is the selector with a caret below the column, for terminals.
func (e *SyntaxError) Pointer() string {
	line := strings.Map(func(c rune) rune {
		if c < ' ' {
			return ' '
		}
		return c
	}, e.Selector)
	return line + "\n" + strings.Repeat(" ", e.Column-1) + "^"
}

// Parse reads a selector. The error is a *SyntaxError.
func Parse(s string) (*Expr, error) {
	e, err := parse(s)
	if err != nil {
		return nil, err
	}
	// The canonical form is read back elsewhere: the same bound.
	if n := len(e.String()); n > MaxLength {
		return nil, tooLong(n)
	}
	return e, nil
}

func tooLong(n int) *SyntaxError {
	return &SyntaxError{Column: 1, Problem: fmt.Sprintf("%d bytes are too long", n), Hint: fmt.Sprintf("at most %d", MaxLength)}
}

func parse(s string) (*Expr, *SyntaxError) {
	p := &parser{lexer: lexer{in: s}}
	if len(s) > MaxLength {
		return nil, tooLong(len(s))
	}
	if !utf8.ValidString(s) {
		return nil, &SyntaxError{Column: 1, Problem: "not valid UTF-8"}
	}
	if i := strings.IndexByte(s, 0); i >= 0 {
		return nil, p.fail(i, "a zero byte is never part of a value", "")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return p.selector()
}

type parser struct {
	lexer
	tok        token
	depth      int
	conditions int
}

func (p *parser) advance() (err *SyntaxError) {
	p.tok, err = p.next()
	return err
}

func (p *parser) is(m string) bool { return p.tok.kind == mark && p.tok.text == m }

// selector is [ "{" ] [ or ] [ "}" ].
func (p *parser) selector() (*Expr, *SyntaxError) {
	braces := p.is("{")
	if braces {
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	e := &Expr{}
	if p.tok.kind != end && !p.is("}") {
		var err *SyntaxError
		if e, err = p.or(); err != nil {
			return nil, err
		}
	}
	if braces {
		if !p.is("}") {
			return nil, p.fail(p.tok.at, "expected && or || or }, found "+p.tok.String(), "")
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	if p.tok.kind != end {
		return nil, p.fail(p.tok.at, "expected && or || or the end, found "+p.tok.String(), p.trailingHint())
	}
	return e, nil
}

func (p *parser) trailingHint() string {
	switch {
	case p.is("{") || p.is("}"):
		return "quote values that hold braces; one pair of braces may stand around the whole"
	case p.is(")"):
		return "there is no ( for it"
	case p.tok.kind == word && slices.Contains([]string{"and", "or", "AND", "OR"}, p.tok.text):
		return "conditions are joined with && or ||"
	}
	return ""
}

func (p *parser) or() (*Expr, *SyntaxError)  { return p.chain(Or, "||", p.and) }
func (p *parser) and() (*Expr, *SyntaxError) { return p.chain(And, "&&", p.unary) }

func (p *parser) chain(kind Kind, between string, operand func() (*Expr, *SyntaxError)) (*Expr, *SyntaxError) {
	first, err := operand()
	if err != nil {
		return nil, err
	}
	args := []*Expr{first}
	for p.is(between) {
		if err := p.advance(); err != nil {
			return nil, err
		}
		next, err := operand()
		if err != nil {
			return nil, err
		}
		args = append(args, next)
	}
	return join(kind, args), nil
}

func (p *parser) unary() (*Expr, *SyntaxError) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > MaxDepth {
		return nil, p.fail(p.tok.at, "too deep", fmt.Sprintf("at most %d levels of ! and parentheses", MaxDepth))
	}
	switch {
	case p.is("!"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		e, err := p.unary()
		if err != nil {
			return nil, err
		}
		return &Expr{Kind: Not, Args: []*Expr{e}}, nil
	case p.is("("):
		return p.group()
	}
	return p.condition()
}

func (p *parser) group() (*Expr, *SyntaxError) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if !p.is(")") {
		return nil, p.fail(p.tok.at, "expected && or || or ), found "+p.tok.String(), "")
	}
	return e, p.advance()
}

func (p *parser) condition() (*Expr, *SyntaxError) {
	if p.conditions++; p.conditions > MaxConditions {
		return nil, p.fail(p.tok.at, "too many conditions", fmt.Sprintf("at most %d", MaxConditions))
	}
	c, err := p.key()
	if err != nil {
		return nil, err
	}
	if p.tok.kind != operator {
		if c.Key == Error { // the key alone
			c.Op, c.Number = Equal, 1
			return &Expr{Kind: Is, Condition: c}, nil
		}
		return nil, p.fail(p.tok.at, "expected an operator after "+c.name()+", found "+p.tok.String(), "operators are "+opList(c.Key.Type().allows()))
	}
	c.Op = Op(p.tok.text)
	if allowed := c.Key.Type().allows(); !slices.Contains(allowed, c.Op) {
		return nil, p.fail(p.tok.at, fmt.Sprintf("operator %s does not fit %s", c.Op, c.name()), "operators are "+opList(allowed))
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind != word && p.tok.kind != text {
		return nil, p.fail(p.tok.at, "expected a value after "+c.name()+string(c.Op)+", found "+p.tok.String(), "")
	}
	if err := p.value(c); err != nil {
		return nil, err
	}
	return &Expr{Kind: Is, Condition: c}, p.advance()
}

func (p *parser) key() (*Condition, *SyntaxError) {
	if p.tok.kind != word {
		return nil, p.fail(p.tok.at, "expected a key, found "+p.tok.String(), "keys are "+strings.Join(Keys(), ", "))
	}
	key := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	name, isTag := strings.CutPrefix(key.text, "tag.")
	switch {
	case isKey(key.text):
		return &Condition{Key: Key(key.text)}, nil
	case isTag && name != "":
		return &Condition{Key: Tag, Tag: name}, nil
	case isTag && p.tok.kind == text && p.tok.text != "":
		c := &Condition{Key: Tag, Tag: p.tok.text}
		return c, p.advance()
	case isTag || key.text == "tag":
		return nil, p.fail(key.at, "a tag needs a name", `write tag.NAME or tag."NAME"`)
	}
	return nil, p.fail(key.at, "unknown key "+strconv.Quote(key.text), "keys are "+strings.Join(Keys(), ", "))
}

func (p *parser) value(c *Condition) *SyntaxError {
	s := p.tok.text
	if c.Op.Pattern() {
		c.Text = s
		return p.pattern(c)
	}
	var problem string
	switch kind := c.Key.Type(); {
	case kind == Microseconds:
		c.Number, problem = parseMicroseconds(s)
	case kind == Bytes:
		c.Number, problem = parseBytes(s)
	case kind == Bool:
		c.Number, problem = parseBool(s)
	case c.Op.Ordered():
		c.Number, problem = parseStatusNumber(s)
	case kind == Enumeration && !slices.Contains(words[c.Key], s):
		problem = fmt.Sprintf("%s is never %q: it is %s", c.Key, s, strings.Join(words[c.Key], ", "))
	case kind == ID:
		c.Text = normalID(s)
	default:
		c.Text = s
	}
	if problem != "" {
		return p.fail(p.tok.at, problem, "")
	}
	return nil
}
