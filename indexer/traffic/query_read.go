package traffic

import (
	"context"
	"errors"
	"fmt"
	"time"

	sq "github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// queryTimeout bounds each statement of a view.
const queryTimeout = 20 * time.Second

// dollar builds statements with PostgreSQL's placeholders.
var dollar = sq.StatementBuilder.PlaceholderFormat(sq.Dollar)

// read runs statements in one read-only transaction, all on one snapshot:
// rollups and rows agree even when a merge ends between two statements, or
// makes a chunk between the planning of one and its execution. A statement that
// runs longer than the timeout is ended by the server, see timedOut.
func (r *Reader) read(ctx context.Context, timeout time.Duration, do func(pgx.Tx) error) error {
	begin := fmt.Sprintf("begin isolation level repeatable read read only; set local statement_timeout = %d", max(timeout.Milliseconds(), 1))
	tx, err := r.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // nothing was written
	return do(tx)
}

// timedOut says that the server ended a statement for its timeout.
func timedOut(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "57014"
}

// query runs a built statement and hands each row to scan.
func query(ctx context.Context, tx pgx.Tx, statement sq.Sqlizer, scan func(pgx.CollectableRow) error) error {
	sql, args, err := statement.ToSql()
	if err != nil {
		return fmt.Errorf("build query: %w", err)
	}
	keep(ctx, sql, args)
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); timedOut(err) {
		return fmt.Errorf("the query took too long, a shorter range or more conditions help: %w", err)
	} else if err != nil {
		return err
	}
	return nil
}

// maxEndpoints bounds what is read of the dictionary.
const maxEndpoints = 200_000

// endpoints are those of the dictionary that a selector about endpoints chooses.
func endpointsOf(ctx context.Context, tx pgx.Tx, e *selector.Expr) ([]endpointInfo, error) {
	statement := dollar.Select("e.id, e.replay, e.direction, e.cluster, e.namespace, e.service, e.protocol, e.host, e.method, e.template").
		From(endpointSource + " e").Where(where(e)).OrderBy("e.id").Limit(maxEndpoints)
	var list []endpointInfo
	err := query(ctx, tx, statement, func(row pgx.CollectableRow) error {
		var p endpointInfo
		var direction string
		if err := row.Scan(&p.id, &p.replay, &direction, &p.Cluster, &p.Namespace, &p.Service.Service, &p.protocol, &p.host, &p.method, &p.template); err != nil {
			return err
		}
		p.direction, _ = events.ParseDirection(direction) // the table's check holds it
		list = append(list, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read endpoints: %w", err)
	}
	return list, nil
}

func endpointIDs(list []endpointInfo) []int64 {
	ids := make([]int64, len(list))
	for i := range list {
		ids[i] = list[i].id
	}
	return ids
}

// inRange bounds a time column.
func inRange(column string, from, to time.Time) sq.And {
	var and sq.And
	if !from.IsZero() {
		and = append(and, sq.GtOrEq{column: from})
	}
	if !to.IsZero() {
		and = append(and, sq.Lt{column: to})
	}
	return and
}

// endOf is the time of the oldest or the newest exchange of a range; ok is
// false without one.
func endOf(ctx context.Context, tx pgx.Tx, table string, q *Query, oldest bool) (t time.Time, ok bool, err error) {
	order := "time desc, id desc"
	if oldest {
		order = "time, id"
	}
	statement := dollar.Select("time").From(table).Where(inRange("time", q.From, q.To)).OrderBy(order).Limit(1)
	err = query(ctx, tx, statement, func(row pgx.CollectableRow) error { ok = true; return row.Scan(&t) })
	return t.UTC(), ok, err
}
