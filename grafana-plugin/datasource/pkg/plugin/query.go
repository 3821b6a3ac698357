package plugin

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

// query is what a query type asks; the names are those of the editor's
// TrafficQuery. Each type reads those that it needs.
type query struct {
	Selector  string   `json:"selector"`
	Direction string   `json:"direction"` // empty: both
	Filters   []filter `json:"filters"`   // ad-hoc filters of the dashboard

	Measure     string    `json:"measure"` // throughput, errors, pipeline
	GroupBy     []string  `json:"groupBy"` // throughput, errors, latency, top
	Percentiles []float64 `json:"percentiles"`
	OrderBy     string    `json:"orderBy"` // top
	Limit       int       `json:"limit"`

	Exchange string `json:"exchange"` // exchange, sequence: an id
	Trace    string `json:"trace"`    // sequence
	Session  string `json:"session"`  // sequence
	Key      string `json:"key"`      // values
	Scenario string `json:"scenario"` // scenarios, replays: a name
}

// texts are what template variables may stand in.
func (q *query) texts() []string {
	list := append([]string{q.Selector, q.Direction, q.Measure, q.OrderBy, q.Exchange, q.Trace, q.Session, q.Key, q.Scenario}, q.GroupBy...)
	for _, f := range q.Filters {
		list = append(list, f.Key, f.Value)
		list = append(list, f.Values...)
	}
	return list
}

// question is a query with all that is asked of it.
type question struct {
	query
	backend.DataQuery
	expr  *selector.Expr
	links links
}

// badQuery is a mistake in the query: nothing has failed.
type badQuery struct{ error }

func badf(format string, args ...any) error { return badQuery{fmt.Errorf(format, args...)} }

func readQuery(q backend.DataQuery) (*question, error) {
	asked := &question{DataQuery: q}
	if err := json.Unmarshal(q.JSON, &asked.query); err != nil {
		return nil, badf("read query: %w", err)
	}
	var err error
	if asked.expr, err = asked.query.expr(); err != nil {
		return nil, badQuery{err}
	}
	if !q.TimeRange.From.Before(q.TimeRange.To) {
		return nil, badQuery{errors.New("the time range is empty")}
	}
	return asked, nil
}

// expr is the selector narrowed to the direction and the ad-hoc filters.
func (q *query) expr() (*selector.Expr, error) {
	expr, err := selector.Parse(q.Selector)
	if err != nil {
		return nil, err
	}
	all := []*selector.Expr{expr}
	if q.Direction != "" {
		if _, err := events.ParseDirection(q.Direction); err != nil {
			return nil, err
		}
		if all[0], err = narrowed(expr, selector.Direction, q.Direction); err != nil {
			return nil, err
		}
	}
	for _, f := range q.Filters {
		condition, err := f.expr()
		if err != nil {
			return nil, fmt.Errorf("filter %s: %w", f.Key, err)
		}
		all = append(all, condition)
	}
	return selector.Join(all...), nil
}

// chosen is what the index is asked for.
func (q *question) chosen() traffic.Query {
	return traffic.Query{Selector: q.expr, From: q.TimeRange.From, To: q.TimeRange.To}
}

// by are the keys of Group by, those of standard when there are none.
func (q *question) by(standard ...selector.Key) []selector.Key {
	if len(q.GroupBy) == 0 {
		return standard
	}
	keys := make([]selector.Key, len(q.GroupBy))
	for i, name := range q.GroupBy {
		keys[i] = selector.Key(name)
	}
	return keys
}

// series are one for each group, in the steps of the panel.
func (q *question) series(by []selector.Key) traffic.SeriesQuery {
	limit := maxSeries
	if q.Limit > 0 {
		limit = min(q.Limit, maxSeries)
	}
	return traffic.SeriesQuery{Query: q.chosen(), Step: max(q.Interval, minStep), By: by, Limit: limit}
}
