package selector

import "strings"

// Key is what a condition looks at.
type Key string

// The keys.
const (
	Cluster   Key = "cluster"
	Namespace Key = "namespace"
	Service   Key = "service"
	Version   Key = "version"
	Direction Key = "direction"
	Protocol  Key = "protocol"
	Host      Key = "host"
	Method    Key = "method"
	Path      Key = "path"
	Endpoint  Key = "endpoint"
	Status    Key = "status"
	Class     Key = "class"
	Error     Key = "error"
	Duration  Key = "duration"
	Size      Key = "size"
	Session   Key = "session"
	Trace     Key = "trace"
	Replay    Key = "replay"
	Tag       Key = "tag" // with Condition.Tag
)

// Type says how a key's values are written and compared.
type Type uint8

// The types.
const (
	Text         Type = iota
	Enumeration       // text, one of a few words
	ID                // text, 32 hex digits
	NumericText       // text; ordered where it is a number
	Bool              // Condition.Number is 0 or 1
	Microseconds      // Condition.Number
	Bytes             // Condition.Number
)

var keys = []struct {
	key  Key
	kind Type
}{
	{Cluster, Text}, {Namespace, Text}, {Service, Text}, {Version, Text},
	{Direction, Enumeration}, {Protocol, Text}, {Host, Text}, {Method, Text},
	{Path, Text}, {Endpoint, Text}, {Status, NumericText}, {Class, Enumeration},
	{Error, Bool}, {Duration, Microseconds}, {Size, Bytes},
	{Session, ID}, {Trace, ID}, {Replay, Text}, {Tag, Text},
}

// words are the values that an enumeration's key can have.
var words = map[Key][]string{
	Direction: {"inbound", "outbound"},
	Class:     {"ok", "client", "server", "failed"},
}

// Type is how the key's values are written and compared.
func (k Key) Type() Type {
	for _, known := range keys {
		if known.key == k {
			return known.kind
		}
	}
	return Text
}

// Keys are all keys in the order of the manual; tags as "tag.*".
func Keys() []string {
	var names []string
	for _, k := range keys {
		names = append(names, string(k.key))
	}
	names[len(names)-1] = "tag.*"
	return names
}

func isKey(name string) bool {
	for _, k := range keys {
		if string(k.key) == name {
			return name != string(Tag)
		}
	}
	return false
}

// Op compares.
type Op string

// The operators.
const (
	Equal          Op = "="
	NotEqual       Op = "!="
	Matches        Op = "=~"
	MatchesNot     Op = "!~"
	Greater        Op = ">"
	GreaterOrEqual Op = ">="
	Less           Op = "<"
	LessOrEqual    Op = "<="
)

// Pattern says that the operator takes a regular expression.
func (o Op) Pattern() bool { return o == Matches || o == MatchesNot }

// Ordered says that the operator compares by order.
func (o Op) Ordered() bool { return o[0] == '>' || o[0] == '<' }

// Negative says that the operator is the opposite of = or =~.
func (o Op) Negative() bool { return o[0] == '!' }

// allows says which operators a type takes.
func (t Type) allows() []Op {
	ordered := []Op{Greater, GreaterOrEqual, Less, LessOrEqual}
	switch t {
	case Bool:
		return []Op{Equal, NotEqual}
	case Microseconds, Bytes:
		return append([]Op{Equal, NotEqual}, ordered...)
	case NumericText:
		return append([]Op{Equal, NotEqual, Matches, MatchesNot}, ordered...)
	}
	return []Op{Equal, NotEqual, Matches, MatchesNot}
}

func opList(ops []Op) string {
	var names []string
	for _, o := range ops {
		names = append(names, string(o))
	}
	return strings.Join(names, " ")
}
