package traffic

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

const partSeconds = 10

// rollupKey is a bucket (its start, Unix µs) of an endpoint.
type rollupKey struct {
	bucket   int64
	endpoint int64
}

func compareKeys(a, b rollupKey) int {
	return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.endpoint, b.endpoint))
}

// totals add up.
type totals struct {
	requests, ok, client, server, failed int64
	requestBytes, responseBytes          int64
	durationMicros, maxMicros            int64
	histogram                            Histogram
}

type rollup map[rollupKey]*totals

func (r rollup) at(k rollupKey) *totals {
	t := r[k]
	if t == nil {
		t = &totals{}
		r[k] = t
	}
	return t
}

func (r rollup) keys() []rollupKey {
	return slices.SortedFunc(maps.Keys(r), compareKeys)
}

// rollUp counts rows in buckets of 10 s.
func rollUp(rows []row) rollup {
	parts := rollup{}
	for i := range rows {
		r := &rows[i]
		parts.at(rollupKey{bucketStart(r.time, partSeconds), r.endpoint}).count(r.entry)
	}
	return parts
}

func bucketStart(micros, seconds int64) int64 {
	return floorDiv(micros, seconds*1e6) * seconds * 1e6
}

func (t *totals) count(e *events.Entry) {
	t.requests++
	switch countedClass(e.Class) {
	case events.StatusClass_OK:
		t.ok++
	case events.StatusClass_CLIENT:
		t.client++
	case events.StatusClass_SERVER:
		t.server++
	default:
		t.failed++
	}
	t.requestBytes = sum(t.requestBytes, max(e.RequestBytes, 0))
	t.responseBytes = sum(t.responseBytes, max(e.ResponseBytes, 0))
	micros := max(e.DurationUs, 0)
	t.durationMicros = sum(t.durationMicros, micros)
	t.maxMicros = max(t.maxMicros, micros)
	t.histogram.add(binOf(micros), 1)
}

func (t *totals) add(o *totals) {
	t.requests += o.requests
	t.ok += o.ok
	t.client += o.client
	t.server += o.server
	t.failed += o.failed
	t.requestBytes = sum(t.requestBytes, o.requestBytes)
	t.responseBytes = sum(t.responseBytes, o.responseBytes)
	t.durationMicros = sum(t.durationMicros, o.durationMicros)
	t.maxMicros = max(t.maxMicros, o.maxMicros)
	t.histogram.Merge(&o.histogram)
}

// sum stays at the greatest int64: a size that only a bad tape can claim must
// not turn a total negative.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

const (
	rollupColumns = "bucket, endpoint_id, requests, ok, client, server, failed, " +
		"request_bytes, response_bytes, duration_us, duration_max_us, histogram"
	rollupColumnCount = 12
)

// copy copies parts into a table, sorted: it then lies in the order of time.
func (r rollup) copy(ctx context.Context, tx pgx.Tx, table string) error {
	if len(r) == 0 {
		return nil
	}
	keys := r.keys()
	return copyInto(ctx, tx, table, rollupColumns, len(keys), func(c *copyBuffer, i int) { c.rollup(keys[i], r[keys[i]]) })
}

func (c *copyBuffer) rollup(k rollupKey, t *totals) {
	c.row(rollupColumnCount)
	c.time(k.bucket)
	for _, n := range []int64{k.endpoint, t.requests, t.ok, t.client, t.server, t.failed,
		t.requestBytes, t.responseBytes, t.durationMicros, t.maxMicros} {
		c.int8(n)
	}
	packed, _ := t.histogram.AppendBinary(nil) // never fails
	c.bytes(packed)
}
