package traffic

import (
	"context"
	"fmt"
	"slices"
	"time"

	sq "github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// PipelineQuery asks how tapes came into the index. Its time is when a tape was
// closed; its selector is about workloads only. A zero From is an hour before
// To, a zero To is now.
type PipelineQuery struct {
	Query
	Step  time.Duration // as in SeriesQuery
	Limit int           // series: default 50, at most 500
}

// Pipeline is what the ledger says of tapes over time.
type Pipeline struct {
	SeriesRange
	Series []PipelineSeries `json:"series"` // by exchanges, most first
}

// PipelineSeries are the tapes of one service.
type PipelineSeries struct {
	events.Service
	Points []PipelinePoint `json:"points"` // one for every step with a tape
}

// PipelinePoint is one bucket.
type PipelinePoint struct {
	Time      time.Time `json:"time"` // start of the bucket
	Tapes     int64     `json:"tapes"`
	Bytes     int64     `json:"bytes"`
	Exchanges int64     `json:"exchanges"` // indexed
	Dead      int64     `json:"dead"`      // could not be indexed: in the DLQ
	Dropped   int64     `json:"dropped"`   // by capture
	// Lag is from the end of a tape to its place in the index; by the clocks
	// of two machines.
	MeanLag time.Duration `json:"mean_lag_ns"`
	MaxLag  time.Duration `json:"max_lag_ns"`
}

// workloadKeys are what a tape as a whole has.
var workloadKeys = []selector.Key{selector.Cluster, selector.Namespace, selector.Service, selector.Version}

func (q *PipelineQuery) check() error {
	var wrong error
	q.Selector.Walk(func(c *selector.Condition) {
		if !slices.Contains(workloadKeys, c.Key) {
			wrong = queryError("tapes can't be chosen by %q, but by %v", c.Key, workloadKeys)
		}
	})
	if q.To.IsZero() {
		q.To = time.Now()
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-time.Hour)
	}
	q.Limit = min(q.Limit, maxSeries)
	if q.Limit <= 0 {
		q.Limit = defaultSeries
	}
	return wrong
}

// Pipeline says how tapes came into the index.
func (r *Reader) Pipeline(ctx context.Context, q PipelineQuery) (*Pipeline, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	w, err := (&SeriesQuery{Step: q.Step}).window(q.From, q.To)
	if err != nil {
		return nil, err
	}
	p := &Pipeline{SeriesRange: SeriesRange{Range{From: w.from, To: w.to, Source: "tapes"}, w.step}, Series: []PipelineSeries{}}
	err = r.read(ctx, queryTimeout, func(tx pgx.Tx) error {
		return query(ctx, tx, pipelineStatement(w, q.Selector), p.scan)
	})
	if err != nil {
		return nil, fmt.Errorf("read pipeline: %w", err)
	}
	p.rank(q.Limit)
	return p, nil
}

// sourceBuckets add up the tapes of each source first: of those there are far
// fewer than tapes.
func sourceBuckets(w window) sq.SelectBuilder {
	return sq.Select("source, workload_id, min(number) as first, max(dropped) as dropped").
		Column(sq.Alias(sq.Expr("time_bucket(?::interval, closed_at, 'epoch'::timestamptz)", w.step), "start")).
		Columns("count(*) as tapes", "sum(bytes) as bytes", "sum(exchanges - dead) as exchanges", "sum(dead) as dead").
		Columns("sum("+tapeLag+") as lag", "max("+tapeLag+") as max_lag").
		From("tapes").Where(inRange("closed_at", w.from, w.to)).
		GroupBy("source", "workload_id", "start")
}

const tapeLag = "extract(epoch from greatest(indexed_at - closed_at, '0'))::float8"

// withLosses: a source counts what it dropped since it began. What a bucket
// adds is the difference to the tape before it, which may lie outside.
func withLosses(w window) sq.SelectBuilder {
	return sq.Select(`s.*, greatest(dropped - coalesce(lag(dropped) over (partition by source order by start),
		(select b.dropped from tapes b where b.source = s.source and b.number < s.first order by b.number desc limit 1), 0), 0) as lost`).
		FromSelect(sourceBuckets(w), "s")
}

// pipelineStatement names the workload e and w, as conditions want them.
func pipelineStatement(w window, e *selector.Expr) sq.Sqlizer {
	return dollar.Select("e.cluster, e.namespace, e.service, t.start").
		Columns(capped("t.tapes"), capped("t.bytes"), capped("t.exchanges"), capped("t.dead"), capped("t.lost")).
		Columns("sum(t.lag) / sum(t.tapes)::float8", "max(t.max_lag)").
		FromSelect(withLosses(w), "t").
		Join("workloads e on e.id = t.workload_id").Join("workloads w on w.id = t.workload_id").
		Where(where(e)).
		GroupBy("e.cluster", "e.namespace", "e.service", "t.start").
		OrderBy("e.cluster", "e.namespace", "e.service", "t.start").
		Limit(maxSeries * MaxPoints)
}

func (p *Pipeline) scan(row pgx.CollectableRow) error {
	var s events.Service
	var at PipelinePoint
	var mean, most float64
	err := row.Scan(&s.Cluster, &s.Namespace, &s.Service, &at.Time,
		&at.Tapes, &at.Bytes, &at.Exchanges, &at.Dead, &at.Dropped, &mean, &most)
	if err != nil {
		return err
	}
	at.Time, at.MeanLag, at.MaxLag = at.Time.UTC(), seconds(mean), seconds(most)
	if n := len(p.Series); n == 0 || p.Series[n-1].Service != s {
		p.Series = append(p.Series, PipelineSeries{Service: s})
	}
	last := &p.Series[len(p.Series)-1]
	last.Points = append(last.Points, at)
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (p *Pipeline) rank(limit int) {
	slices.SortStableFunc(p.Series, func(a, b PipelineSeries) int { return int(max(-1, min(1, b.exchanges()-a.exchanges()))) })
	if more := len(p.Series) - limit; more > 0 {
		p.leftOut(more)
		p.Series = p.Series[:limit]
	}
}

func (s *PipelineSeries) exchanges() (n int64) {
	for _, p := range s.Points {
		n += p.Exchanges
	}
	return n
}
