// Package selector is tapedeck's one filter language: viewer, command line,
// scenarios, standing rules, goals and chaos all choose exchanges with it.
//
//	{service="cart" && direction=inbound && status>=500 && duration>200ms && path=~"/orders/.*"}
//
// # The language
//
// A selector is a condition on one exchange. Conditions are joined with &&
// and ||, turned round with !, and grouped with parentheses; && binds tighter
// than ||. The braces around the whole are optional. The empty selector, "" or
// "{}", chooses everything.
//
// A condition is KEY OPERATOR VALUE:
//
//	key        is                                       operators
//	cluster    the workload's cluster                   = != =~ !~
//	namespace  … its namespace                          = != =~ !~
//	service    … its service                            = != =~ !~
//	version    … its version                            = != =~ !~
//	direction  inbound or outbound                      = != =~ !~
//	protocol   "http", "postgres", …                    = != =~ !~
//	host       as the caller named it, lower case       = != =~ !~
//	method     "GET", a gRPC method, a command          = != =~ !~
//	path       redacted, without the query              = != =~ !~
//	endpoint   the path's template, "/users/{id}"       = != =~ !~
//	status     as the protocol writes it                = != =~ !~ and, as a number, > >= < <=
//	class      ok, client, server or failed             = != =~ !~
//	error      true when the class is server or failed  = != or the key alone
//	duration   first to last byte: 200ms, 1.5s, 1m30s   = != > >= < <=
//	size       bodies of request and response together:
//	           512, 10KiB, 1.5MB                        = != > >= < <=
//	session    the client's session, 32 hex digits      = != =~ !~
//	trace      the trace id, 32 hex digits              = != =~ !~
//	replay     the id of the replay that sent or
//	           caused it, "" for recorded life          = != =~ !~
//	tag.NAME   a tag: baggage or a named header         = != =~ !~
//
// A value is a word (letters, digits and _ - . / : @ + %) or a quoted text.
// In "double quotes" \" \\ \n \r \t and \uXXXX are escapes and any other
// backslash stands for itself; 'single quotes' and `backquotes` have no
// escapes. A tag's name may be quoted as well: tag."x y"=1.
//
// # What exactly a condition says
//
// The same selector gives the same answer in memory (Match) and in SQL
// (package traffic), by these rules:
//
//   - Every condition is true or false, there is no third value. What an
//     exchange does not have is the empty text: version="" finds exchanges
//     without a version, tag.x!="a" is true where there is no tag x.
//   - Texts are compared byte by byte, case matters. A tag that occurs twice
//     counts with its first value.
//   - > >= < <= on status are true only where the status is a number of 1 to
//     9 digits: status>=500 never finds "OUT_OF_RANGE". = and != compare text.
//   - Durations are whole microseconds, sizes whole bytes.
//   - A session or trace may be written in upper case or with dashes.
//   - An exchange of a replay whose id is unknown has the replay "unknown".
//
// =~ matches the whole value, as if it stood between ^ and $. It takes what
// RE2 and PostgreSQL read alike: literals, . (any character, newline too),
// [a-z] and [^a-z], ^ $ * + ? {m,n} | ( ), a backslash before a punctuation
// mark, and (?i) at the head, which ignores the case of the letters a to z.
// A { that begins no {m,n} is a literal. With every {m,n} written out it has at
// most 500 characters.
//
// # Replays
//
// A selector by itself says nothing about replays. Views, alerts and rules
// leave them out by ExcludeReplays unless the selector mentions the key
// replay: {replay=~".*"} asks for everything, {replay!=""} for replays only.
package selector

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of a selector. A text beyond them is refused.
const (
	MaxLength     = 8 << 10 // bytes of text
	MaxDepth      = 32      // of ! and parentheses
	MaxConditions = 256
)

// Kind says what an Expr is.
type Kind uint8

// The kinds. The zero Expr is an And of nothing: everything.
const (
	And Kind = iota // all of Args, at least two; none: everything
	Or              // one of Args, at least two
	Not             // not Args[0]
	Is              // Condition
)

// Expr is a parsed selector. The zero value and nil choose everything. An
// Expr is not changed once made and may be shared.
type Expr struct {
	Kind      Kind
	Args      []*Expr
	Condition *Condition // of kind Is
}

// All chooses every exchange.
func (e *Expr) All() bool { return e == nil || e.Kind == And && len(e.Args) == 0 }

// Join is the && of all exprs.
func Join(exprs ...*Expr) *Expr { return join(And, exprs) }

// join flattens: equal kinds are one level, so that a text and its canonical
// form parse to the same Expr.
func join(kind Kind, exprs []*Expr) *Expr {
	var args []*Expr
	for _, e := range exprs {
		switch {
		case kind == And && e.All():
		case e.Kind == kind:
			args = append(args, e.Args...)
		default:
			args = append(args, e)
		}
	}
	if len(args) == 1 {
		return args[0]
	}
	return &Expr{Kind: kind, Args: args}
}

// Equals is the condition key="value", for texts that come from elsewhere.
// The key is any text key, "tag.NAME" included.
func Equals(key, value string) (*Expr, error) {
	return Compare(key, Equal, value)
}

// Compare is the condition key op "value", for all three from elsewhere: none
// of them can become more than that. The key may be "tag.NAME" of any name.
func Compare(key string, op Op, value string) (*Expr, error) {
	if name, tag := strings.CutPrefix(key, "tag."); tag {
		key = "tag." + quote(name)
	} else if !isKey(key) {
		return nil, fmt.Errorf("selector has no key %q: keys are %s", key, strings.Join(Keys(), ", "))
	}
	if !slices.Contains(NumericText.allows(), op) {
		return nil, fmt.Errorf("selector has no operator %q", op)
	}
	return Parse(key + string(op) + quote(value))
}

// Walk calls visit for every condition, from left to right.
func (e *Expr) Walk(visit func(*Condition)) {
	if e == nil {
		return
	}
	if e.Kind == Is {
		visit(e.Condition)
	}
	for _, a := range e.Args {
		a.Walk(visit)
	}
}

// Mentions says whether a condition on one of the keys is in e.
func (e *Expr) Mentions(keys ...Key) bool {
	found := false
	e.Walk(func(c *Condition) { found = found || slices.Contains(keys, c.Key) })
	return found
}

// ExcludeReplays is what views, alerts and rules apply to a user's selector:
// replays are left out unless the selector mentions the key replay.
func ExcludeReplays(e *Expr) *Expr {
	if e.Mentions(Replay) {
		return e
	}
	return Join(e, &Expr{Kind: Is, Condition: &Condition{Key: Replay, Op: Equal}})
}

// Matching is the condition key=~"pattern", for patterns that are made
// elsewhere. The key is any text key.
func Matching(key Key, pattern string) (*Expr, error) {
	return Parse(string(key) + "=~" + quote(pattern))
}
