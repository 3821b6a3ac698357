package traffic

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

// LedgerTape is a tape that is indexed.
type LedgerTape struct {
	ID events.ID
	events.Service
	ClosedAt time.Time
	Archived bool // the archiver has said where it lies
}

// Ledger hands each tape that was closed at or after a time (zero: all) to
// visit, in no order.
func (r *Reader) Ledger(ctx context.Context, since time.Time, visit func(LedgerTape)) error {
	rows, err := r.pool.Query(ctx, `
		select t.id, w.cluster, w.namespace, w.service, t.closed_at, p.tape is not null
		from tapes t join workloads w on w.id = t.workload_id left join places p on p.tape = t.id
		where t.closed_at >= $1`, since)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	var t LedgerTape
	var id [16]byte
	_, err = pgx.ForEachRow(rows, []any{&id, &t.Cluster, &t.Namespace, &t.Service.Service, &t.ClosedAt, &t.Archived}, func() error {
		t.ID = id
		visit(t)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	return nil
}

// Known is what the index has of a tape.
type Known struct {
	Indexed  bool // its rows, by the ledger
	Archived bool // where it lies
}

// Known says what the index has of tapes; unknown ones are not in the result.
func (r *Reader) Known(ctx context.Context, tapes []events.ID) (map[events.ID]Known, error) {
	ids := make([][16]byte, len(tapes))
	for i, id := range tapes {
		ids[i] = id
	}
	rows, err := r.pool.Query(ctx, `
		select id, bool_or(indexed), bool_or(not indexed) from (
			select id, true as indexed from tapes where id = any ($1::uuid[])
			union all select tape, false from places where tape = any ($1::uuid[])
		) x group by id`, ids)
	if err != nil {
		return nil, fmt.Errorf("ask the ledger for %d tapes: %w", len(ids), err)
	}
	known := make(map[events.ID]Known, len(ids))
	var id [16]byte
	var k Known
	_, err = pgx.ForEachRow(rows, []any{&id, &k.Indexed, &k.Archived}, func() error {
		known[id] = k
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask the ledger for %d tapes: %w", len(ids), err)
	}
	return known, nil
}
