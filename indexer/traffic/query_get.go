package traffic

import (
	"context"
	"fmt"
	"time"

	sq "github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

// Get finds one exchange by its id. It is ErrNotFound when there is none.
func (r *Reader) Get(ctx context.Context, id events.ID) (*Located, error) {
	var found *Located
	err := r.read(ctx, queryTimeout, func(tx pgx.Tx) (err error) {
		// The id holds its time; with a corrected clock the row lies elsewhere.
		for _, reach := range []time.Duration{time.Second, 24 * time.Hour, 0} {
			q := Query{}
			if reach > 0 {
				q = Query{From: id.Time().Add(-reach), To: id.Time().Add(reach)}
			}
			if found, err = get(ctx, tx, id, &q); err != nil || found != nil {
				return err
			}
		}
		return ErrNotFound
	})
	if err != nil {
		return nil, fmt.Errorf("get exchange %s: %w", id, err)
	}
	return found, nil
}

func get(ctx context.Context, tx pgx.Tx, id events.ID, q *Query) (found *Located, err error) {
	for i, source := range []sq.SelectBuilder{rowsFrom("exchanges"), openRows()} {
		statement := source.Columns("p.object, p.start, p.length").LeftJoin("places p on p.tape = x.tape").
			Where(inRange("x.time", q.From, q.To)).Where("x.id = ?::uuid", id.String()).Limit(1)
		err := query(ctx, tx, statement, func(row pgx.CollectableRow) error {
			found = &Located{}
			return scanLocated(row, found, i == 1)
		})
		if err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil
}

func scanLocated(row pgx.CollectableRow, l *Located, open bool) error {
	var object *string
	var start, length *int64
	if err := scanRow(row, &l.Row, &object, &start, &length); err != nil {
		return err
	}
	if object != nil {
		l.Place = &Place{*object, *start, *length}
	}
	if open {
		l.Kind, l.Open = events.Kind_OPEN, true
	}
	return nil
}

// Trace returns the exchanges of a trace in the order of their causes: at most
// 2000, the oldest ones.
func (r *Reader) Trace(ctx context.Context, id events.TraceID) ([]Step, error) {
	if id == (events.TraceID{}) {
		return []Step{}, nil
	}
	rows, err := r.rowsWhere(ctx, Query{}, sq.Expr("x.trace = ?::uuid", id.String()))
	if err != nil {
		return nil, fmt.Errorf("read trace %s: %w", id, err)
	}
	return sequence(rows), nil
}

// Session returns the exchanges of a session in the order of their causes: at
// most 2000, the oldest ones within 12 hours of the time.
func (r *Reader) Session(ctx context.Context, q SessionQuery) ([]Step, error) {
	if q.Session == (events.SessionID{}) {
		return []Step{}, nil
	}
	condition := sq.Expr("x.session = ?::uuid", q.Session.String())
	if q.At.IsZero() {
		var err error
		if q.At, err = r.newestWhere(ctx, condition); err != nil {
			return nil, fmt.Errorf("find session %s: %w", q.Session, err)
		}
	}
	around := Query{From: q.At.Add(-sessionReach), To: q.At.Add(sessionReach)}
	rows, err := r.rowsWhere(ctx, around, condition)
	if err != nil {
		return nil, fmt.Errorf("read session %s: %w", q.Session, err)
	}
	return sequence(rows), nil
}

func (r *Reader) newestWhere(ctx context.Context, condition sq.Sqlizer) (t time.Time, err error) {
	err = r.read(ctx, queryTimeout, func(tx pgx.Tx) error {
		statement := dollar.Select("x.time").From("exchanges x").Where(condition).OrderBy("x.time desc, x.id desc").Limit(1)
		return query(ctx, tx, statement, func(row pgx.CollectableRow) error { return row.Scan(&t) })
	})
	return t, err
}

// rowsWhere are ended exchanges, oldest first.
func (r *Reader) rowsWhere(ctx context.Context, q Query, condition sq.Sqlizer) ([]events.Row, error) {
	var rows []events.Row
	err := r.read(ctx, queryTimeout, func(tx pgx.Tx) error {
		statement := rowsFrom("exchanges").Where(inRange("x.time", q.From, q.To)).Where(condition).
			OrderBy("x.time, x.id").Limit(maxSequence)
		return query(ctx, tx, statement, func(row pgx.CollectableRow) error {
			var x events.Row
			err := scanRow(row, &x)
			rows = append(rows, x)
			return err
		})
	})
	return rows, err
}
