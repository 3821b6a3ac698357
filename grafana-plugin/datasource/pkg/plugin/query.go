package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/experimental/concurrent"

	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

// query is what every query type asks; the names are those of the editor's
// TrafficQuery.
type query struct {
	Selector  string `json:"selector"`
	Direction string `json:"direction"` // empty: both

	// Throughput only.
	Measure string   `json:"measure"` // default requests
	GroupBy []string `json:"groupBy"`
}

// badQuery is a mistake in the query: nothing has failed.
type badQuery struct{ error }

func readQuery(q backend.DataQuery) (query, *selector.Expr, error) {
	var asked query
	if err := json.Unmarshal(q.JSON, &asked); err != nil {
		return query{}, nil, badQuery{fmt.Errorf("read query: %w", err)}
	}
	expr, err := asked.expr()
	if err != nil {
		return query{}, nil, badQuery{err}
	}
	if !q.TimeRange.From.Before(q.TimeRange.To) {
		return query{}, nil, badQuery{errors.New("the time range is empty")}
	}
	return asked, expr, nil
}

// expr is the selector narrowed to the direction, without replays unless it
// asks for them.
func (q query) expr() (*selector.Expr, error) {
	expr, err := selector.Parse(q.Selector)
	if err != nil {
		return nil, err
	}
	if q.Direction != "" {
		if _, err := events.ParseDirection(q.Direction); err != nil {
			return nil, err
		}
		direction, err := selector.Equals(string(selector.Direction), q.Direction)
		if err != nil {
			return nil, err
		}
		expr = selector.Join(expr, direction)
	}
	return selector.ExcludeReplays(expr), nil
}

// failed answers a query that gave an error. None of them is the plugin's
// fault: the query is wrong, or what the plugin asks does not answer.
func failed(err error) backend.DataResponse {
	status := backend.StatusBadGateway
	switch {
	case errors.As(err, new(badQuery)), errors.Is(err, traffic.ErrQuery):
		status = backend.StatusBadRequest
	case errors.Is(err, context.DeadlineExceeded):
		status = backend.StatusTimeout
	}
	return backend.ErrDataResponseWithSource(status, backend.ErrorSourceDownstream, err.Error())
}

func (d *DataSource) unknownType(_ context.Context, q concurrent.Query) backend.DataResponse {
	known := make([]string, 0, 2)
	for name := range d.handlers() {
		known = append(known, name)
	}
	slices.Sort(known)
	return failed(badQuery{fmt.Errorf("query type %q is none of %s", q.DataQuery.QueryType, strings.Join(known, ", "))})
}

// variable finds what Grafana's browser side would have replaced.
var variable = regexp.MustCompile(`\$(\w+|\{[^}]*\})`)

// withoutVariables refuses queries of an alert rule with a template variable
// in them: a rule has no values for it, so it would find nothing for ever and
// be silent.
func withoutVariables(answer concurrent.QueryDataFunc) concurrent.QueryDataFunc {
	return func(ctx context.Context, q concurrent.Query) backend.DataResponse {
		if name := leftOver(q.DataQuery); name != "" {
			return failed(badQuery{fmt.Errorf("alert rules have no template variables: write a value for %s, or [$] for the character", name)})
		}
		return answer(ctx, q)
	}
}

// leftOver is a template variable that nobody has replaced, empty for none.
func leftOver(q backend.DataQuery) string {
	var asked query
	if json.Unmarshal(q.JSON, &asked) != nil {
		return "" // said where it is read
	}
	for _, text := range append([]string{asked.Selector, asked.Direction}, asked.GroupBy...) {
		if found := variable.FindString(text); found != "" {
			return found
		}
	}
	return ""
}
