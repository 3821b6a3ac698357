package traffic

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

// Stored is what became of a tape.
type Stored struct {
	Tape events.ID
	// New is false when the ledger had the tape already: it is indexed, and
	// nothing was written.
	New       bool
	Exchanges int // written, if New
	Dead      int // exchanges that the database can't hold
}

// Dead is an exchange that the database can't hold.
type Dead struct {
	Row     events.Row
	Ordinal int // of the entry in its tape, from 0
	Reason  error
}

// Bury puts exchanges that can't be stored where they are found again. It is
// called before the commit and may be called again with the same ones.
type Bury func(context.Context, []Dead) error

// Write indexes tapes: for each one its ledger row, its rows and its part of
// the rollups, all in one transaction. It may be called any number of times
// with the same tapes, by any number of indexers at once: what the ledger has
// is left alone. The results are in the order of the tapes.
//
// After an error nothing or everything is written: an error of the commit says
// nothing about its outcome. Doing it again asks the ledger. See Unavailable
// for which errors pass; an error wrapping ErrRefused never does, and is given
// before anything is written (see Check).
func (s *Store) Write(ctx context.Context, tapes []Received, bury Bury) ([]Stored, error) {
	d := newDictionary()
	unique := make(map[events.ID]*prepared, len(tapes))
	var list []*prepared
	for _, t := range tapes {
		if unique[t.TapeID()] != nil {
			continue
		}
		p, err := prepare(t, d)
		if err != nil {
			return nil, err
		}
		unique[p.id] = p
		list = append(list, p)
	}
	// Sorted: two indexers with the same tapes then wait for each other
	// instead of locking each other out.
	slices.SortFunc(list, func(a, b *prepared) int { return slices.Compare(a.id[:], b.id[:]) })
	fresh, err := s.write(ctx, list, d, bury)
	if err != nil {
		s.known.forget()
		return nil, fmt.Errorf("index %d tapes: %w", len(list), err)
	}
	stored := make([]Stored, len(tapes))
	for i, t := range tapes {
		p := unique[t.TapeID()]
		stored[i] = Stored{Tape: p.id, New: fresh[p.id], Exchanges: len(p.rows) - p.dead, Dead: p.dead}
		delete(fresh, p.id) // the same tape again is not new
	}
	return stored, nil
}

func (s *Store) write(ctx context.Context, list []*prepared, d *dictionary, bury Bury) (map[events.ID]bool, error) {
	if err := s.define(ctx, d); err != nil {
		return nil, err
	}
	var fresh map[events.ID]bool
	attempt := func(rows copier) error {
		return transaction(ctx, s.pool, func(tx pgx.Tx) (err error) {
			if err := s.leaveOutPurged(ctx, tx, list); err != nil {
				return err
			}
			if fresh, err = insertLedger(ctx, tx, list); err != nil {
				return err
			}
			return writeRows(ctx, tx, list, fresh, rows, bury)
		})
	}
	err := attempt(copyAll)
	if spoiled(err) {
		// The failed transaction is gone; a second one finds the bad rows.
		err = attempt(copyGood)
	}
	return fresh, err
}

// copier copies rows into a table and returns those that it refused.
type copier func(ctx context.Context, tx pgx.Tx, table string, rows []row) ([]refused, error)

type refused struct {
	row
	reason error
}

func writeRows(ctx context.Context, tx pgx.Tx, list []*prepared, fresh map[events.ID]bool, copyRows copier, bury Bury) error {
	var rows, opens []row
	for _, p := range list {
		if fresh[p.id] {
			rows, opens = append(rows, p.rows...), append(opens, p.opens...)
		}
	}
	sortRows(rows)
	sortRows(opens)
	bad, err := copyRows(ctx, tx, "exchanges", rows)
	if err != nil {
		return err
	}
	badOpens, err := copyRows(ctx, tx, "open_exchanges", opens)
	if err != nil {
		return err
	}
	if err := settle(ctx, tx, list, bad, append(badOpens, bad...), bury); err != nil {
		return err
	}
	return rollUp(without(rows, bad)).copy(ctx, tx, "rollup_part")
}

// copyAll copies at once and fails at the first row that is refused.
func copyAll(ctx context.Context, tx pgx.Tx, table string, rows []row) ([]refused, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	return nil, copyInto(ctx, tx, table, exchangeColumns, len(rows), func(c *copyBuffer, i int) { c.exchange(&rows[i]) })
}

// copyGood copies what can be, halving at each refusal.
func copyGood(ctx context.Context, tx pgx.Tx, table string, rows []row) ([]refused, error) {
	err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
		_, err := copyAll(ctx, savepoint, table, rows)
		return err
	})
	switch {
	case !spoiled(err):
		return nil, err
	case len(rows) == 1:
		return []refused{{rows[0], err}}, nil
	}
	bad, err := copyGood(ctx, tx, table, rows[:len(rows)/2])
	if err != nil {
		return nil, err
	}
	more, err := copyGood(ctx, tx, table, rows[len(rows)/2:])
	return append(bad, more...), err
}

// settle buries what was refused and counts the dead exchanges in the ledger.
func settle(ctx context.Context, tx pgx.Tx, list []*prepared, bad, all []refused, bury Bury) error {
	for _, p := range list {
		p.dead = 0
	}
	if len(all) == 0 {
		return nil
	}
	dead := make([]Dead, len(all))
	for i, r := range all {
		dead[i] = Dead{Row: r.tape.Row(r.entry), Ordinal: slices.Index(r.tape.Index.Entries, r.entry), Reason: r.reason}
	}
	if err := bury(ctx, dead); err != nil {
		return err
	}
	for _, r := range bad {
		r.tape.dead++
	}
	for _, p := range list {
		if p.dead == 0 {
			continue
		}
		if _, err := tx.Exec(ctx, "update tapes set dead = $2 where id = $1", [16]byte(p.id), p.dead); err != nil {
			return fmt.Errorf("count dead exchanges of tape %s: %w", p.id, err)
		}
	}
	return nil
}

func without(rows []row, bad []refused) []row {
	if len(bad) == 0 {
		return rows
	}
	dead := make(map[*events.Entry]bool, len(bad))
	for _, r := range bad {
		dead[r.entry] = true
	}
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return dead[r.entry] })
}

// insertLedger writes the ledger rows and returns which tapes were not there.
func insertLedger(ctx context.Context, tx pgx.Tx, list []*prepared) (map[events.ID]bool, error) {
	var l ledgerRows
	for _, p := range list {
		l.add(p)
	}
	rows, err := tx.Query(ctx, `
		insert into tapes (id, source, number, workload_id, closed_at, received_at, first_time, last_time,
			begun, taped, dropped, open, spooled_tapes, bytes, exchanges, opens, dead, purged, last, redaction_key, drops)
		select id, source, number, workload_id, closed_at, received_at, first_time, last_time,
			begun, taped, dropped, open, spooled_tapes, bytes, exchanges, opens, 0, purged, last, redaction_key, drops::jsonb
		from unnest($1::uuid[], $2::uuid[], $3::int8[], $4::int8[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],
			$9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::int8[], $14::int8[], $15::int4[], $16::int4[], $17::bool[], $18::text[], $19::text[], $20::int4[])
			as t (id, source, number, workload_id, closed_at, received_at, first_time, last_time,
			begun, taped, dropped, open, spooled_tapes, bytes, exchanges, opens, last, redaction_key, drops, purged)
		on conflict do nothing
		returning id`,
		l.id, l.source, l.number, l.workload, l.closedAt, l.receivedAt, l.first, l.last,
		l.begun, l.taped, l.dropped, l.open, l.spooled, l.bytes, l.exchanges, l.opens, l.final, l.key, l.drops, l.purged)
	if err != nil {
		return nil, fmt.Errorf("write ledger: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	if err != nil {
		return nil, fmt.Errorf("write ledger: %w", err)
	}
	fresh := make(map[events.ID]bool, len(ids))
	for _, id := range ids {
		fresh[id] = true
	}
	return fresh, nil
}

// ledgerRows are columns, as unnest takes them.
type ledgerRows struct {
	id, source                                             [][16]byte
	number, workload, begun, taped, dropped, open, spooled []int64
	bytes                                                  []int64
	exchanges, opens, purged                               []int32
	closedAt, receivedAt                                   []time.Time
	first, last                                            []*time.Time
	final                                                  []bool
	key, drops                                             []string
}

func (l *ledgerRows) add(p *prepared) {
	h, n := p.Header, p.Header.Counters
	l.id = append(l.id, p.id)
	l.source = append(l.source, [16]byte(h.SourceId))
	l.number = append(l.number, clamp(h.Number))
	l.workload = append(l.workload, p.workload)
	l.closedAt = append(l.closedAt, time.Unix(0, h.ClosedAt))
	l.receivedAt = append(l.receivedAt, p.At)
	l.begun = append(l.begun, clamp(n.Begun))
	l.taped = append(l.taped, clamp(n.Taped))
	dropped, drops := countDrops(n.Dropped)
	l.dropped = append(l.dropped, dropped)
	l.drops = append(l.drops, drops)
	l.open = append(l.open, clamp(n.Open))
	l.spooled = append(l.spooled, clamp(n.SpooledTapes))
	l.bytes = append(l.bytes, p.Total)
	l.exchanges = append(l.exchanges, int32(len(p.rows)+p.purged))
	l.purged = append(l.purged, int32(p.purged))
	l.opens = append(l.opens, int32(len(p.opens)))
	l.final = append(l.final, h.Last)
	l.key = append(l.key, text(h.RedactionKeyId, maxName))
	var first, last *time.Time
	if a, b, ok := p.timeRange(); ok {
		from, to := time.UnixMicro(a), time.UnixMicro(b)
		first, last = &from, &to
	}
	l.first = append(l.first, first)
	l.last = append(l.last, last)
}

func countDrops(dropped map[string]uint64) (total int64, packed string) {
	reasons := make(map[string]int64, len(dropped))
	for reason, n := range dropped {
		name := text(reason, maxName)
		reasons[name] = sum(reasons[name], clamp(n))
		total = sum(total, clamp(n))
	}
	b, _ := json.Marshal(reasons) // always can
	return total, string(b)
}

func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
