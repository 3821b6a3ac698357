package traffic

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"tapedeck/events/selector"
)

// Throughput counts exchanges over time.
func (r *Reader) Throughput(ctx context.Context, q SeriesQuery) (*Throughput, error) {
	d, err := r.series(ctx, q, false)
	if err != nil {
		return nil, fmt.Errorf("read throughput: %w", err)
	}
	return d.throughput(q.Limit), nil
}

// Latency says how long exchanges took over time.
func (r *Reader) Latency(ctx context.Context, q SeriesQuery) (*Latency, error) {
	d, err := r.series(ctx, q, true)
	if err != nil {
		return nil, fmt.Errorf("read latency: %w", err)
	}
	return d.latency(q.Limit), nil
}

func (r *Reader) series(ctx context.Context, q SeriesQuery, histograms bool) (*seriesData, error) {
	if err := checkSplit(q.By); err != nil {
		return nil, err
	}
	d := newSeriesData(q.By)
	err := r.read(ctx, queryTimeout, func(tx pgx.Tx) error {
		from, to, ok, err := bounds(ctx, tx, &q.Query)
		if err != nil || !ok {
			return err
		}
		w, err := q.window(from, to)
		if err != nil {
			return err
		}
		about, rest := split(selector.ExcludeReplays(q.Selector))
		c := cellQuery{window: w, histograms: histograms, rest: rest}
		if err := c.group(ctx, tx, about, d.groups); err != nil {
			return err
		}
		c.bound(&d.Range)
		if err := c.reach(ctx, tx, &d.Range); err != nil {
			return err
		}
		d.set(c.window)
		d.Source, err = c.fetch(ctx, tx, d.cells)
		return err
	})
	return d, err
}

// group asks the dictionary for the endpoints and groups them.
func (q *cellQuery) group(ctx context.Context, tx pgx.Tx, about *selector.Expr, g *groups) error {
	list, err := endpointsOf(ctx, tx, about)
	if err != nil {
		return err
	}
	q.endpoints = endpointIDs(list)
	for i := range list {
		q.groups = append(q.groups, int32(g.of(&list[i])))
	}
	return nil
}
