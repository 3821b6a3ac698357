package traffic

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	mergeLock  = 0x7461706564656b02
	retainLock = 0x7461706564656b03
)

// Level is a table of rollups.
type Level struct {
	Table  string
	Bucket time.Duration
}

// Levels are the rollups, finest first.
var Levels = []Level{
	{"rollup_10s", 10 * time.Second},
	{"rollup_1m", time.Minute},
	{"rollup_10m", 10 * time.Minute},
	{"rollup_1h", time.Hour},
	{"rollup_1d", 24 * time.Hour},
}

// MergeParts bounds how much one Merge takes out of the queue, and with it
// memory (4 KiB a part at most) and how long the transaction runs.
const MergeParts = 20_000

// Merge takes parts out of the queue and adds them to every level, in one
// transaction: a part counts once in every level however late it comes, and
// between two statements nobody sees it missing or twice. It returns how many
// it took: MergeParts when there may be more. When another merger is at work it
// does nothing.
func (s *Store) Merge(ctx context.Context) (parts int, err error) {
	err = transaction(ctx, s.pool, func(tx pgx.Tx) error {
		if alone, err := lock(ctx, tx, mergeLock); err != nil || !alone {
			return err
		}
		parts, err = mergeParts(ctx, tx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("merge rollups: %w", err)
	}
	return parts, nil
}

// mergeParts is Merge for who holds mergeLock.
func mergeParts(ctx context.Context, tx pgx.Tx) (parts int, err error) {
	taken, parts, err := takeParts(ctx, tx)
	if err != nil || parts == 0 {
		return 0, err
	}
	for _, l := range Levels {
		// Each level is made of the one before it: fewer rows to add up.
		taken = taken.coarsen(l.Bucket)
		if err := addToLevel(ctx, tx, l, taken); err != nil {
			return 0, fmt.Errorf("add to %s: %w", l.Table, err)
		}
	}
	return parts, nil
}

// lock says whether this transaction is the only one with the key.
func lock(ctx context.Context, tx pgx.Tx, key int64) (alone bool, err error) {
	if err := tx.QueryRow(ctx, "select pg_try_advisory_xact_lock($1)", key).Scan(&alone); err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	return alone, nil
}

func takeParts(ctx context.Context, tx pgx.Tx) (rollup, int, error) {
	rows, err := tx.Query(ctx, `
		delete from rollup_part where ctid = any (array (select ctid from rollup_part limit $1))
		returning `+rollupColumns, MergeParts)
	if err != nil {
		return nil, 0, fmt.Errorf("take parts: %w", err)
	}
	taken, n := rollup{}, 0
	err = scanRollup(rows, func(k rollupKey, t *totals) {
		taken.at(k).add(t)
		n++
	})
	if err != nil {
		return nil, 0, fmt.Errorf("take parts: %w", err)
	}
	return taken, n, nil
}

func (r rollup) coarsen(bucket time.Duration) rollup {
	coarse := rollup{}
	for k, t := range r {
		k.bucket = bucketStart(k.bucket, int64(bucket/time.Second))
		coarse.at(k).add(t)
	}
	return coarse
}

// addToLevel reads what the level has of the keys, adds it and writes the sum.
// Only the one merger writes levels.
func addToLevel(ctx context.Context, tx pgx.Tx, l Level, r rollup) error {
	keys := r.keys()
	sums, err := levelRows(ctx, tx, l, keys)
	if err != nil {
		return err
	}
	for _, k := range keys {
		sums.at(k).add(r[k])
	}
	return upsertLevel(ctx, tx, l, keys, sums)
}

// levelRows are what the level has of the keys, which are sorted.
func levelRows(ctx context.Context, tx pgx.Tx, l Level, keys []rollupKey) (rollup, error) {
	buckets, endpoints := columnsOf(keys)
	rows, err := tx.Query(ctx, `
		select `+rollupColumns+` from `+l.Table+`
		where bucket >= $3 and bucket <= $4
		and (bucket, endpoint_id) in (select * from unnest($1::timestamptz[], $2::int8[]))`,
		buckets, endpoints, buckets[0], buckets[len(buckets)-1])
	if err != nil {
		return nil, err
	}
	found := rollup{}
	return found, scanRollup(rows, func(k rollupKey, t *totals) { found[k] = t })
}

func upsertLevel(ctx context.Context, tx pgx.Tx, l Level, keys []rollupKey, sums rollup) error {
	var numbers [10][]int64
	var buckets []time.Time
	var histograms [][]byte
	for _, k := range keys {
		t := sums[k]
		buckets = append(buckets, time.UnixMicro(k.bucket).UTC())
		for i, n := range []int64{k.endpoint, t.requests, t.ok, t.client, t.server, t.failed,
			t.requestBytes, t.responseBytes, t.durationMicros, t.maxMicros} {
			numbers[i] = append(numbers[i], n)
		}
		packed, _ := t.histogram.AppendBinary(nil) // never fails
		histograms = append(histograms, packed)
	}
	_, err := tx.Exec(ctx, `
		insert into `+l.Table+` (`+rollupColumns+`)
		select * from unnest($1::timestamptz[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[],
			$7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::bytea[])
		on conflict (bucket, endpoint_id) do update set
			requests = excluded.requests, ok = excluded.ok, client = excluded.client, server = excluded.server, failed = excluded.failed,
			request_bytes = excluded.request_bytes, response_bytes = excluded.response_bytes,
			duration_us = excluded.duration_us, duration_max_us = excluded.duration_max_us, histogram = excluded.histogram`,
		buckets, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5],
		numbers[6], numbers[7], numbers[8], numbers[9], histograms)
	return err
}

// scanRollup reads rows of rollupColumns.
func scanRollup(rows pgx.Rows, each func(rollupKey, *totals)) error {
	defer rows.Close()
	for rows.Next() {
		var bucket time.Time
		var k rollupKey
		var t totals
		var packed []byte
		err := rows.Scan(&bucket, &k.endpoint, &t.requests, &t.ok, &t.client, &t.server, &t.failed,
			&t.requestBytes, &t.responseBytes, &t.durationMicros, &t.maxMicros, &packed)
		if err != nil {
			return err
		}
		if err := t.histogram.MergeBinary(packed); err != nil {
			return fmt.Errorf("bucket %s of endpoint %d: %w", bucket, k.endpoint, err)
		}
		k.bucket = bucket.UnixMicro()
		each(k, &t)
	}
	return rows.Err()
}
