package plugin

import (
	"fmt"

	"tapedeck/events/selector"
)

// filter is an ad-hoc filter of a dashboard.
type filter struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Value    string   `json:"value"`
	Values   []string `json:"values"` // of "one of" and "none of"
}

// expr is the filter as a condition, for keys and values that anybody may have
// typed: neither can become more than that.
func (f *filter) expr() (*selector.Expr, error) {
	switch f.Operator {
	case "=|", "!=|":
		return f.oneOf()
	}
	return selector.Compare(f.Key, selector.Op(f.Operator), f.Value)
}

func (f *filter) oneOf() (*selector.Expr, error) {
	values := f.Values
	if len(values) == 0 {
		values = []string{f.Value}
	}
	if len(values) > selector.MaxConditions {
		return nil, fmt.Errorf("%d values, at most %d", len(values), selector.MaxConditions)
	}
	either := &selector.Expr{Kind: selector.Or}
	for _, value := range values {
		one, err := selector.Equals(f.Key, value)
		if err != nil {
			return nil, err
		}
		either.Args = append(either.Args, one)
	}
	if len(either.Args) == 1 {
		either = either.Args[0]
	}
	if f.Operator == "!=|" {
		return &selector.Expr{Kind: selector.Not, Args: []*selector.Expr{either}}, nil
	}
	return either, nil
}
