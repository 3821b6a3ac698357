package traffic

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	sq "github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

// OutcomeQuery asks for scenarios or replays, newest first: those that were
// made, or began, in [From, To). A zero time is no bound.
type OutcomeQuery struct {
	From, To time.Time
	Scenario string // by name; empty: all
	Limit    int    // default 100, at most 1000
}

func (q *OutcomeQuery) from(table, at string) sq.SelectBuilder {
	limit := q.Limit
	if limit <= 0 {
		limit = DefaultPage
	}
	return dollar.Select("data").From(table).Where(inRange(at, q.From, q.To)).
		OrderBy(at + " desc").Limit(uint64(min(limit, MaxPage)))
}

// Scenarios are those that scenariogen said were ready, or why not.
func (r *Reader) Scenarios(ctx context.Context, q OutcomeQuery) ([]events.ScenarioReady, error) {
	statement := q.from("scenarios", "created_at")
	if q.Scenario != "" {
		statement = statement.Where("name = ?", q.Scenario)
	}
	list, err := outcomes[events.ScenarioReady](ctx, r, statement)
	if err != nil {
		return nil, fmt.Errorf("list scenarios: %w", err)
	}
	return list, nil
}

// Replays are the results of replays.
func (r *Reader) Replays(ctx context.Context, q OutcomeQuery) ([]events.ReplayResult, error) {
	// One that could not begin has no time but that.
	statement := q.from("replays", "coalesce(started_at, stored_at)")
	if q.Scenario != "" {
		statement = statement.Where("scenario = ?", q.Scenario)
	}
	list, err := outcomes[events.ReplayResult](ctx, r, statement)
	if err != nil {
		return nil, fmt.Errorf("list replays: %w", err)
	}
	return list, nil
}

func outcomes[T any](ctx context.Context, r *Reader, statement sq.Sqlizer) ([]T, error) {
	list := []T{}
	err := r.read(ctx, queryTimeout, func(tx pgx.Tx) error {
		return query(ctx, tx, statement, func(row pgx.CollectableRow) error {
			var data []byte
			if err := row.Scan(&data); err != nil {
				return err
			}
			var v T
			err := json.Unmarshal(data, &v)
			list = append(list, v)
			return err
		})
	})
	return list, err
}
