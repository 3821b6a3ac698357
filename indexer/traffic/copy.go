package traffic

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

// copyBuffer encodes rows in PostgreSQL's binary COPY format
// (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format").
// It costs a third of pgx' CopyFrom, which goes through []any.
type copyBuffer struct{ b []byte }

func (c *copyBuffer) row(columns int)   { c.b = binary.BigEndian.AppendUint16(c.b, uint16(columns)) }
func (c *copyBuffer) length(n int)      { c.b = binary.BigEndian.AppendUint32(c.b, uint32(n)) }
func (c *copyBuffer) null()             { c.b = append(c.b, 0xff, 0xff, 0xff, 0xff) }
func (c *copyBuffer) bytes(v []byte)    { c.length(len(v)); c.b = append(c.b, v...) }
func (c *copyBuffer) text(v string)     { c.length(len(v)); c.b = append(c.b, v...) }
func (c *copyBuffer) int2(v int16)      { c.length(2); c.b = binary.BigEndian.AppendUint16(c.b, uint16(v)) }
func (c *copyBuffer) int4(v int32)      { c.length(4); c.b = binary.BigEndian.AppendUint32(c.b, uint32(v)) }
func (c *copyBuffer) int8(v int64)      { c.length(8); c.b = binary.BigEndian.AppendUint64(c.b, uint64(v)) }
func (c *copyBuffer) real(v float32)    { c.int4(int32(math.Float32bits(v))) }
func (c *copyBuffer) time(micros int64) { c.int8(micros - epochMicros) }

// epochMicros is 2000-01-01, where PostgreSQL counts from, in Unix µs.
const epochMicros = 946_684_800_000_000

// id writes an optional id of n bytes: absent, incomplete or zero is NULL.
func (c *copyBuffer) id(v []byte, n int) {
	if len(v) != n || !slices.ContainsFunc(v, func(b byte) bool { return b != 0 }) {
		c.null()
		return
	}
	c.bytes(v)
}

func (c *copyBuffer) optional(v string) {
	if v == "" {
		c.null()
		return
	}
	c.text(v)
}

// copyInto copies n rows into a table. They are encoded while the server takes
// those before them.
func copyInto(ctx context.Context, tx pgx.Tx, table, columns string, n int, encode func(c *copyBuffer, i int)) error {
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, newRowReader(n, encode), "copy "+table+" ("+columns+") from stdin binary"); err != nil {
		return fmt.Errorf("copy into %s: %w", table, err)
	}
	return nil
}

const copyChunk = 64 << 10

// rowReader reads as the encoded rows.
type rowReader struct {
	copyBuffer
	rows   int
	encode func(c *copyBuffer, i int)
	next   int // row
	read   int // bytes of b
	ended  bool
}

func newRowReader(rows int, encode func(c *copyBuffer, i int)) *rowReader {
	r := &rowReader{rows: rows, encode: encode}
	r.b = append(make([]byte, 0, copyChunk+copyChunk/8), "PGCOPY\n\xff\r\n\x00"+"\x00\x00\x00\x00"+"\x00\x00\x00\x00"...)
	return r
}

func (r *rowReader) Read(p []byte) (int, error) {
	if r.read == len(r.b) && r.read > 0 {
		r.b, r.read = r.b[:0], 0
	}
	for len(r.b) < copyChunk && r.next < r.rows {
		r.encode(&r.copyBuffer, r.next)
		r.next++
	}
	if r.next == r.rows && !r.ended {
		r.b, r.ended = append(r.b, 0xff, 0xff), true
	}
	if r.read == len(r.b) {
		return 0, io.EOF
	}
	n := copy(p, r.b[r.read:])
	r.read += n
	return n, nil
}

const (
	exchangeColumns = "time, workload_id, endpoint_id, duration_us, ttfb_us, request_bytes, response_bytes, " +
		"span, parent_span, id, tape, connection, session, trace, cause, " +
		"block, position, code, flags, cause_confidence, class, status, path, peer, replay_id, tags"
	exchangeColumnCount = 26
)

// exchange encodes a row of exchanges or open_exchanges.
func (c *copyBuffer) exchange(r *row) {
	e := r.entry
	c.row(exchangeColumnCount)
	c.time(r.time)
	c.int8(r.tape.workload)
	c.int8(r.endpoint)
	c.int8(max(e.DurationUs, 0))
	c.int8(max(e.TtfbUs, 0))
	c.int8(max(e.RequestBytes, 0))
	c.int8(max(e.ResponseBytes, 0))
	c.id(e.SpanId, 8)
	c.id(e.ParentSpanId, 8)
	c.bytes(e.Id)
	c.bytes(r.tape.id[:])
	c.id(e.Connection, 16)
	c.id(e.Session, 16)
	c.id(e.TraceId, 16)
	c.id(e.CauseId, 16)
	c.int4(int32(e.Block))
	c.int4(int32(e.Position))
	if n, ok := code(e.Status); ok {
		c.int4(n)
	} else {
		c.null()
	}
	c.int4(int32(r.flags))
	c.real(confidence(e.CauseConfidence))
	c.int2(int16(countedClass(e.Class)))
	c.text(text(e.Status, maxStatus))
	c.text(text(e.Path, maxPath))
	c.text(text(e.Peer, maxName))
	c.optional(text(e.ReplayId, maxName))
	c.tags(e.Tags)
}

// confidence keeps what is no number between 0 and 1 out of the index.
func confidence(v float32) float32 {
	if v >= 0 && v <= 1 {
		return v
	}
	return 0
}

// countedClass is the class that an entry counts as: without one it has no complete
// answer that anyone could vouch for.
func countedClass(c events.StatusClass) events.StatusClass {
	if c < events.StatusClass_OK || c > events.StatusClass_FAILED {
		return events.StatusClass_FAILED
	}
	return c
}

// tags writes a jsonb object: at most 8 tags, of equal keys the first.
func (c *copyBuffer) tags(tags []*events.Tag) {
	if len(tags) == 0 {
		c.null()
		return
	}
	at := len(c.b)
	c.length(0)
	c.b = append(c.b, 1) // version of jsonb's binary form: then it is text
	seen := make([]string, 0, maxTags)
	for _, t := range tags {
		key := text(t.Key, maxTagKey)
		if len(seen) == maxTags || slices.Contains(seen, key) {
			continue
		}
		c.b = append(c.b, "{,"[min(len(seen), 1)])
		c.json(key)
		c.b = append(c.b, ':')
		c.json(text(t.Value, maxTagValue))
		seen = append(seen, key)
	}
	c.b = append(c.b, '}')
	binary.BigEndian.PutUint32(c.b[at:], uint32(len(c.b)-at-4))
}

func (c *copyBuffer) json(s string) {
	b, _ := json.Marshal(s) // a string always can
	c.b = append(c.b, b...)
}
