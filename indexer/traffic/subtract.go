package traffic

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

// subtractFrom takes gone out of a level. Sums and bins subtract; a greatest
// duration that may have been one of those is looked for in the next finer
// table, which is right already. Whoever does this holds mergeLock.
func subtractFrom(ctx context.Context, tx pgx.Tx, l, finer Level, gone rollup) error {
	have, err := levelRows(ctx, tx, l, gone.keys())
	if err != nil {
		return err
	}
	left, unsure := rollup{}, rollup{}
	var empty []rollupKey
	for k, t := range have {
		g := gone[k]
		t.subtract(g)
		switch {
		case t.requests <= 0:
			empty = append(empty, k)
			continue
		case g.maxMicros >= t.maxMicros:
			unsure[k] = t
		}
		left[k] = t
	}
	if err := findGreatest(ctx, tx, l, finer, unsure); err != nil {
		return err
	}
	if err := deleteKeys(ctx, tx, l, empty); err != nil || len(left) == 0 {
		return err
	}
	return upsertLevel(ctx, tx, l, left.keys(), left)
}

func (t *totals) subtract(o *totals) {
	t.requests -= o.requests
	t.ok -= o.ok
	t.client -= o.client
	t.server -= o.server
	t.failed -= o.failed
	t.requestBytes = difference(t.requestBytes, o.requestBytes)
	t.responseBytes = difference(t.responseBytes, o.responseBytes)
	t.durationMicros = difference(t.durationMicros, o.durationMicros)
	t.histogram.Subtract(&o.histogram)
}

// difference leaves a sum that has stayed at the greatest int64 there: what it
// is without a part nobody knows.
func difference(a, b int64) int64 {
	if a == math.MaxInt64 {
		return a
	}
	return max(a-b, 0)
}

// findGreatest sets the greatest durations by what the finer table has. Where
// retention has dropped a part of that, they stay as they are.
func findGreatest(ctx context.Context, tx pgx.Tx, l, finer Level, unsure rollup) error {
	keys := unsure.keys()
	if len(keys) == 0 {
		return nil
	}
	buckets, endpoints := columnsOf(keys)
	column, requests, greatest := "bucket", "sum(f.requests)::int8", "max(f.duration_max_us)"
	if finer.Table == "exchanges" {
		column, requests, greatest = "time", "count(*)", "max(f.duration_us)"
	}
	rows, err := tx.Query(ctx, `
		select k.bucket, k.endpoint, `+requests+`, `+greatest+`
		from unnest($1::timestamptz[], $2::int8[]) k (bucket, endpoint)
		join `+finer.Table+` f on f.endpoint_id = k.endpoint and f.`+column+` >= k.bucket and f.`+column+` < k.bucket + $3::interval
		where f.`+column+` >= $4 and f.`+column+` < $5
		group by k.bucket, k.endpoint`, buckets, endpoints, l.Bucket, buckets[0], buckets[len(buckets)-1].Add(l.Bucket))
	if err != nil {
		return err
	}
	var bucket time.Time
	var endpoint, found, micros int64
	_, err = pgx.ForEachRow(rows, []any{&bucket, &endpoint, &found, &micros}, func() error {
		if t := unsure[rollupKey{bucket.UnixMicro(), endpoint}]; found == t.requests {
			t.maxMicros = micros
		}
		return nil
	})
	return err
}

func deleteKeys(ctx context.Context, tx pgx.Tx, l Level, keys []rollupKey) error {
	buckets, endpoints := columnsOf(keys)
	_, err := tx.Exec(ctx, `delete from `+l.Table+` where (bucket, endpoint_id) in (select * from unnest($1::timestamptz[], $2::int8[]))`, buckets, endpoints)
	return err
}

// columnsOf are keys as unnest takes them.
func columnsOf(keys []rollupKey) (buckets []time.Time, endpoints []int64) {
	buckets, endpoints = make([]time.Time, len(keys)), make([]int64, len(keys))
	for i, k := range keys {
		buckets[i], endpoints[i] = time.UnixMicro(k.bucket).UTC(), k.endpoint
	}
	return buckets, endpoints
}
