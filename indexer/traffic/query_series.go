package traffic

import (
	"context"
	"fmt"
	"time"

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

// HeatMap counts exchanges by time and duration.
func (r *Reader) HeatMap(ctx context.Context, q SeriesQuery) (*HeatMap, error) {
	q.By = nil
	d, err := r.series(ctx, q, true)
	if err != nil {
		return nil, fmt.Errorf("read heat map: %w", err)
	}
	return d.heatMap(), nil
}

// Top ranks groups of exchanges.
func (r *Reader) Top(ctx context.Context, q TopQuery) (*Top, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	d, err := r.cells(ctx, &q.Query, q.By, cellQuery{whole: true, histograms: true}, wholeCut)
	if err != nil {
		return nil, fmt.Errorf("read top: %w", err)
	}
	return d.top(&q), nil
}

func (r *Reader) series(ctx context.Context, q SeriesQuery, histograms bool) (*seriesData, error) {
	return r.cells(ctx, &q.Query, q.By, cellQuery{histograms: histograms}, q.window)
}

// cells reads the cells of the groups that by makes, in the window that cut
// makes of the range.
func (r *Reader) cells(ctx context.Context, q *Query, by []selector.Key, c cellQuery, cut func(from, to time.Time) (window, error)) (*seriesData, error) {
	if err := checkSplit(by); err != nil {
		return nil, err
	}
	d := newSeriesData(by)
	err := r.read(ctx, queryTimeout, func(tx pgx.Tx) error {
		from, to, ok, err := bounds(ctx, tx, q)
		if err != nil || !ok {
			return err
		}
		if c.window, err = cut(from, to); err != nil {
			return err
		}
		var about *selector.Expr
		about, c.rest = split(selector.ExcludeReplays(q.Selector))
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
