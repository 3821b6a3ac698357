package traffic

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	sq "github.com/Masterminds/squirrel"
	"github.com/jackc/pgx/v5"

	"tapedeck/events/selector"
)

// bounds completes a range with the oldest and the newest exchange; ok is
// false when there is nothing.
func bounds(ctx context.Context, tx pgx.Tx, q *Query) (from, to time.Time, ok bool, err error) {
	from, to = q.From, q.To
	if from.IsZero() {
		if from, ok, err = endOf(ctx, tx, "exchanges", q, true); err != nil || !ok {
			return from, to, false, err
		}
	}
	if to.IsZero() {
		if to, ok, err = endOf(ctx, tx, "exchanges", q, false); err != nil || !ok {
			return from, to, false, err
		}
		to = to.Add(time.Microsecond) // the bound is outside
	}
	return from, to, from.Before(to), nil
}

// cellQuery asks for the cells of endpoints by group. They come from the
// rollups when these can tell, else from the rows; both give the same sums.
type cellQuery struct {
	window
	whole      bool           // one cell a group, its bucket is the window's start
	histograms bool           // fill them
	rest       *selector.Expr // what the dictionary of endpoints can't answer
	endpoints  []int64
	groups     []int32 // of the endpoints, by index
}

// raw says that only the rows can answer.
func (q *cellQuery) raw() bool { return !q.rest.All() || q.step%Levels[0].Bucket != 0 }

// bound keeps a query of raw rows from going back for days.
func (q *cellQuery) bound(r *Range) {
	if from := floorTime(q.to.Add(-MaxRawRange), q.step); q.raw() && from.After(q.from) {
		q.from = from
		r.note(fmt.Sprintf("only the last %s were read: rollups can't answer this selector or step", MaxRawRange))
	}
}

// coarsest is the coarsest level whose buckets lie within the steps.
func (q *cellQuery) coarsest() int {
	n := 0
	for i, l := range Levels {
		if q.step%l.Bucket == 0 {
			n = i
		}
	}
	return n
}

// reach makes the step coarser while retention has dropped of its level what
// the next coarser level still has.
func (q *cellQuery) reach(ctx context.Context, tx pgx.Tx, r *Range) error {
	for n := q.coarsest(); !q.raw() && n+1 < len(Levels); n++ {
		fine, ok, err := firstBucket(ctx, tx, Levels[n], q)
		if err != nil {
			return err
		}
		coarser, reachesBack, err := firstBucket(ctx, tx, Levels[n+1], q)
		if err != nil {
			return err
		}
		if !reachesBack || ok && coarser.Add(Levels[n+1].Bucket).After(fine) {
			return nil
		}
		q.step = roundUp(q.step, Levels[n+1].Bucket)
		q.from, q.to = floorTime(q.from, q.step), ceilTime(q.to, q.step)
		r.note(fmt.Sprintf("the step is %s: finer rollups of that time are not kept any more", q.step))
	}
	return nil
}

func firstBucket(ctx context.Context, tx pgx.Tx, l Level, q *cellQuery) (t time.Time, ok bool, err error) {
	statement := dollar.Select("bucket").From(l.Table).Where(inRange("bucket", q.from, q.to)).OrderBy("bucket").Limit(1)
	err = query(ctx, tx, statement, func(row pgx.CollectableRow) error { ok = true; return row.Scan(&t) })
	return t, ok, err
}

// fetch adds the cells to c and says which table they came from.
func (q *cellQuery) fetch(ctx context.Context, tx pgx.Tx, c cells) (source string, err error) {
	source = "exchanges"
	if !q.raw() {
		source = Levels[q.coarsest()].Table
	}
	if len(q.endpoints) == 0 {
		return source, nil
	}
	statement := q.fromRows()
	if !q.raw() {
		statement = q.fromRollup(source)
	}
	err = query(ctx, tx, statement, func(row pgx.CollectableRow) error { return q.add(c, row) })
	if err != nil {
		return source, fmt.Errorf("read %s: %w", source, err)
	}
	return source, nil
}

func (q *cellQuery) add(c cells, row pgx.CollectableRow) error {
	var bucket time.Time
	var group, bin int32
	var t totals
	var packed []byte
	err := row.Scan(&bucket, &group, &t.requests, &t.ok, &t.client, &t.server, &t.failed,
		&t.requestBytes, &t.responseBytes, &t.durationMicros, &t.maxMicros, &packed, &bin)
	if err != nil {
		return err
	}
	if err := t.histogram.MergeBinary(packed); err != nil {
		return err
	}
	if bin >= 0 {
		t.histogram.add(uint8(bin), uint64(t.requests))
	}
	c.at(cellKey{bucket.UnixMicro(), int(group)}).add(&t)
	return nil
}

// bucketOf is the bucket of a time column.
func (q *cellQuery) bucketOf(column string) sq.Sqlizer {
	if q.whole {
		return sq.Expr("?::timestamptz", q.from)
	}
	return sq.Expr("time_bucket(?::interval, "+column+", 'epoch'::timestamptz)", q.step)
}

var (
	counted = []string{"requests", "ok", "client", "server", "failed"}
	summed  = []string{"request_bytes", "response_bytes", "duration_us"}
)

// capped is a sum that stays at the greatest int8, as sum does.
func capped(column string) string {
	return "least(sum(" + column + "), 9223372036854775807)::int8"
}

// fromRollup reads a level and the queue before it in one statement, so in one
// snapshot. Histograms are added up by the caller: the server can't.
func (q *cellQuery) fromRollup(table string) sq.Sqlizer {
	b := dollar.Select().Column(sq.Alias(q.bucketOf("p.bucket"), "start")).Column("g.n")
	if q.histograms {
		for _, c := range slices.Concat(counted, summed) {
			b = b.Column("p." + c)
		}
		b = b.Columns("p.duration_max_us", "p.histogram", "-1")
	} else {
		for _, c := range counted {
			b = b.Column("sum(p." + c + ")::int8")
		}
		for _, c := range summed {
			b = b.Column(capped("p." + c))
		}
		b = b.Columns("max(p.duration_max_us)", "''::bytea", "-1").GroupBy("start", "g.n")
	}
	part := func(table string) sq.SelectBuilder {
		return sq.Select(rollupColumns).From(table).Where(inRange("bucket", q.from, q.to))
	}
	both := part(table).SuffixExpr(sq.ConcatExpr("union all ", part("rollup_part")))
	return b.FromSelect(both, "p").JoinClause(q.join("p"))
}

// fromRows counts rows, by bin of the histogram when that is wanted.
func (q *cellQuery) fromRows() sq.Sqlizer {
	b := dollar.Select().Column(sq.Alias(q.bucketOf("x.time"), "start")).Columns("g.n", "count(*)")
	for class := 1; class <= 4; class++ {
		b = b.Column(fmt.Sprintf("count(*) filter (where x.class = %d)", class))
	}
	for _, c := range summed {
		b = b.Column(capped("x." + c))
	}
	b = b.Columns("max(x.duration_us)", "''::bytea")
	if q.histograms {
		b = b.Column(sq.Alias(sq.Expr("width_bucket(x.duration_us, ?::int8[])", binEdges()), "bin")).GroupBy("start", "g.n", "bin")
	} else {
		b = b.Column("-1").GroupBy("start", "g.n")
	}
	b = b.From("exchanges x").JoinClause(q.join("x"))
	if !q.rest.All() { // its conditions may need them
		b = b.Join(endpointSource + " e on e.id = x.endpoint_id").Join("workloads w on w.id = x.workload_id")
	}
	return b.Where(inRange("x.time", q.from, q.to)).Where(where(q.rest))
}

func (q *cellQuery) join(table string) sq.Sqlizer {
	return sq.Expr("join unnest(?::int8[], ?::int4[]) g(id, n) on g.id = "+table+".endpoint_id", q.endpoints, q.groups)
}

// binEdges are the least whole µs of the bins 1, 2, …: width_bucket with them
// is binOf.
var binEdges = sync.OnceValue(func() []int64 {
	edges := make([]int64, 0, 252)
	for number := 1; number <= 252; number++ {
		edges = append(edges, leastOf(uint8(number)))
	}
	return edges
})

// leastOf is the least whole µs of a bin, or of the next one that has any.
func leastOf(number uint8) int64 {
	low, high := int64(1), int64(math.MaxInt64)
	for low < high {
		middle := low + (high-low)/2
		if binOf(middle) >= number {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}
