package traffic

import (
	"context"
	"fmt"
	"slices"

	sq "github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"

	"tapedeck/events/selector"
)

// Services lists every service that was ever recorded.
func (r *Reader) Services(ctx context.Context) (list []ServiceInfo, err error) {
	err = r.read(ctx, queryTimeout, func(tx pgx.Tx) error {
		endpoints, err := endpointsOf(ctx, tx, nil)
		if err != nil {
			return err
		}
		var workloads []workloadInfo
		statement := dollar.Select("distinct cluster, namespace, service, version, instance").From("workloads").Limit(maxEndpoints)
		err = query(ctx, tx, statement, func(row pgx.CollectableRow) error {
			var w workloadInfo
			err := row.Scan(&w.Cluster, &w.Namespace, &w.Service.Service, &w.version, &w.instance)
			workloads = append(workloads, w)
			return err
		})
		list = serviceList(workloads, endpoints)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	return list, nil
}

// Values lists the values of a key, sorted, without the empty one. Values that
// only rows have are those of the last 24 hours of the range.
func (r *Reader) Values(ctx context.Context, q ValuesQuery) (values []string, err error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if fixed := q.fixed(); fixed != nil {
		return fixed, nil
	}
	err = r.read(ctx, queryTimeout, func(tx pgx.Tx) (err error) {
		about, rest := split(selector.ExcludeReplays(q.Selector))
		if slices.Contains(endpointKeys, q.Key) {
			list, err := endpointsOf(ctx, tx, about)
			values = endpointValues(list, &q)
			return err
		}
		statement := versionValues(about)
		if q.Key != selector.Version {
			if statement, err = rowValues(ctx, tx, &q, selector.Join(about, rest)); err != nil || statement == nil {
				return err
			}
		}
		found := map[string]bool{}
		err = query(ctx, tx, statement, func(row pgx.CollectableRow) error {
			var v string
			err := row.Scan(&v)
			found[v] = true
			return err
		})
		values = sortedValues(found, q.Limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list values of %s: %w", q.Key, err)
	}
	if values == nil {
		values = []string{}
	}
	return values, nil
}

// versionValues are of the services of the endpoints.
func versionValues(about *selector.Expr) sq.Sqlizer {
	return dollar.Select("distinct w.version").From("workloads w").
		Join(endpointSource + " e on e.cluster = w.cluster and e.namespace = w.namespace and e.service = w.service").
		Where(where(about)).OrderBy("w.version").Limit(maxValues)
}

// rowValues is nil when there is nothing in the range.
func rowValues(ctx context.Context, tx pgx.Tx, q *ValuesQuery, e *selector.Expr) (sq.Sqlizer, error) {
	newest, ok, err := endOf(ctx, tx, "exchanges", &q.Query, false)
	if err != nil || !ok {
		return nil, err
	}
	from := q.From
	if bound := newest.Add(-MaxRawRange); bound.After(from) {
		from = bound
	}
	b := dollar.Select().Distinct()
	switch {
	case q.Key == selector.Tag && q.Tag == "":
		b = b.Column("jsonb_object_keys(x.tags) as value")
	case q.Key == selector.Tag:
		b = b.Column(sq.Alias(sq.Expr("coalesce(x.tags ->> ?::text, '')", q.Tag), "value"))
	case q.Key == selector.Replay:
		b = b.Column(sq.Alias(sq.Expr("case when e.replay then coalesce(x.replay_id, ?::text) else '' end", selector.UnknownReplay), "value"))
	default:
		b = b.Column(textColumns[q.Key] + " as value")
	}
	return b.From("exchanges x").
		Join(endpointSource + " e on e.id = x.endpoint_id").Join("workloads w on w.id = x.workload_id").
		Where(inRange("x.time", from, q.To)).Where(where(e)).OrderBy("value").Limit(maxValues), nil
}
