package traffic

import (
	"fmt"
	"slices"
	"strings"

	sq "github.com/Masterminds/squirrel"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// The selector in SQL. It agrees with selector.Expr.Match on every row: each
// condition is true or false and never NULL, what is missing is the empty
// text. The columns are those of x (exchanges), e (endpointSource) and w
// (workloads). A generated test holds the two equal.

// endpointSource is the dictionary with learnt templates applied.
const endpointSource = `(select p.id, p.replay, p.direction, p.cluster, p.namespace, p.service, p.protocol, p.host, p.method,
	coalesce(a.template, p.template) as template
	from endpoints p left join endpoints a on a.id = p.alias_of)`

var textColumns = map[selector.Key]string{
	selector.Cluster:   "e.cluster",
	selector.Namespace: "e.namespace",
	selector.Service:   "e.service",
	selector.Version:   "w.version",
	selector.Direction: "e.direction",
	selector.Protocol:  "e.protocol",
	selector.Host:      "e.host",
	selector.Method:    "e.method",
	selector.Path:      "x.path",
	selector.Endpoint:  "e.template",
	selector.Status:    "x.status",
}

// where is the condition of a selector.
func where(e *selector.Expr) sq.Sqlizer {
	if e.All() {
		return sq.Expr("true")
	}
	switch e.Kind {
	case selector.Not:
		return sq.Expr("not (?)", where(e.Args[0]))
	case selector.Or:
		return sq.Or(whereAll(e.Args))
	case selector.And:
		return sq.And(whereAll(e.Args))
	}
	return condition(e.Condition)
}

func whereAll(args []*selector.Expr) []sq.Sqlizer {
	list := make([]sq.Sqlizer, len(args))
	for i, a := range args {
		list[i] = where(a)
	}
	return list
}

func condition(c *selector.Condition) sq.Sqlizer {
	switch c.Key {
	case selector.Duration:
		return sq.Expr("x.duration_us "+string(c.Op)+" ?", c.Number)
	case selector.Size: // numeric: two bodies of a bad tape must not overflow
		return sq.Expr("x.request_bytes::numeric + x.response_bytes "+string(c.Op)+" ?", c.Number)
	case selector.Error:
		if (c.Op == selector.Equal) == (c.Number == 1) {
			return sq.Expr("x.class >= 3") // a partial index has it
		}
		return sq.Expr("x.class < 3")
	case selector.Class:
		return classCondition(c)
	case selector.Session:
		return idCondition(c, "x.session")
	case selector.Trace:
		return idCondition(c, "x.trace")
	case selector.Replay:
		return replayCondition(c)
	case selector.Tag:
		return textCondition(c, "coalesce(x.tags ->> ?::text, '')", c.Tag)
	}
	if c.Op.Ordered() { // status as a number
		return sq.Expr("coalesce(x.code "+string(c.Op)+" ?, false)", c.Number)
	}
	return textCondition(c, textColumns[c.Key])
}

var textOperators = map[selector.Op]string{
	selector.Equal: " = ?", selector.NotEqual: " <> ?", selector.Matches: " ~ ?", selector.MatchesNot: " !~ ?",
}

// textCondition compares a column or expression that is never NULL.
func textCondition(c *selector.Condition, column string, args ...any) sq.Sqlizer {
	value := c.Text
	if c.Op.Pattern() {
		value = c.Pattern()
	}
	return sq.Expr(column+textOperators[c.Op], append(args, value)...)
}

// classCondition asks the selector about each class there is.
func classCondition(c *selector.Condition) sq.Sqlizer {
	var in, out []string
	for i, word := range selector.Words(selector.Class) {
		if number := fmt.Sprint(i + 1); c.MatchText(word) {
			in = append(in, number)
		} else {
			out = append(out, number)
		}
	}
	list, operator := in, " in "
	if c.MatchText("") { // any other number has the empty text
		list, operator = out, " not in "
	}
	if len(list) == 0 {
		return sq.Expr(fmt.Sprint(operator == " not in "))
	}
	return sq.Expr("x.class" + operator + "(" + strings.Join(list, ", ") + ")")
}

// idCondition compares a uuid that may be NULL. = keeps to the form that an
// index answers.
func idCondition(c *selector.Condition, column string) sq.Sqlizer {
	if c.Op.Pattern() {
		return textCondition(c, "coalesce(replace("+column+"::text, '-', ''), '')")
	}
	equal := sq.Expr("false") // no id looks like this
	switch {
	case c.Text == "":
		equal = sq.Expr(column + " is null")
	case len(c.Text) == 32 && strings.Trim(c.Text, "0123456789abcdef") == "":
		equal = sq.Expr("("+column+" is not null and "+column+" = ?::uuid)", c.Text)
	}
	return negateIf(c.Op.Negative(), equal)
}

func negateIf(negative bool, condition sq.Sqlizer) sq.Sqlizer {
	if negative {
		return sq.Expr("not (?)", condition)
	}
	return condition
}

func replayCondition(c *selector.Condition) sq.Sqlizer {
	switch {
	case aboutEndpoint(c):
		return sq.Expr([]string{"not e.replay", "e.replay", "true", "false"}[replaySet(c)])
	case !c.Op.Pattern() && c.Text != selector.UnknownReplay:
		return negateIf(c.Op.Negative(), sq.Expr("(e.replay and x.replay_id is not null and x.replay_id = ?)", c.Text))
	}
	return textCondition(c, "case when e.replay then coalesce(x.replay_id, ?::text) else '' end", selector.UnknownReplay)
}

// replaySet says which exchanges a condition on replay finds that only asks
// whether there is one: 0 none, 1 any, 2 both, 3 neither. Others are -1.
func replaySet(c *selector.Condition) int {
	switch {
	case c.Text == "" && (c.Op == selector.Equal || c.Op == selector.Matches):
		return 0
	case c.Text == "" && (c.Op == selector.NotEqual || c.Op == selector.MatchesNot):
		return 1
	case c.Text == ".+" && c.Op == selector.Matches:
		return 1
	case c.Text == ".+" && c.Op == selector.MatchesNot:
		return 0
	case c.Text == ".*" && c.Op == selector.Matches:
		return 2
	case c.Text == ".*" && c.Op == selector.MatchesNot:
		return 3
	}
	return -1
}

// endpointKeys are answered by the dictionary of endpoints alone.
var endpointKeys = []selector.Key{
	selector.Cluster, selector.Namespace, selector.Service, selector.Direction, selector.Protocol,
	selector.Host, selector.Method, selector.Endpoint,
}

func aboutEndpoint(c *selector.Condition) bool {
	return slices.Contains(endpointKeys, c.Key) || c.Key == selector.Replay && replaySet(c) >= 0
}

// split divides a selector into what the dictionary of endpoints answers and
// the rest: a row is chosen when both choose it.
func split(e *selector.Expr) (endpoints, rest *selector.Expr) {
	conditions := []*selector.Expr{e}
	if !e.All() && e.Kind == selector.And {
		conditions = e.Args
	}
	var first, second []*selector.Expr
	for _, c := range conditions {
		only := true
		c.Walk(func(c *selector.Condition) { only = only && aboutEndpoint(c) })
		if only {
			first = append(first, c)
		} else {
			second = append(second, c)
		}
	}
	return selector.Join(first...), selector.Join(second...)
}

// matches is Match for a selector that split says is about endpoints.
func (e *endpointInfo) matches(s *selector.Expr) bool {
	return s.Match(&events.Row{
		Cluster: e.Cluster, Namespace: e.Namespace, Service: e.Service.Service, Direction: e.direction,
		Protocol: e.protocol, Host: e.host, Method: e.method, Template: e.template, Replay: e.replay,
	})
}
