package scenariogen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

// reader hands the chosen exchanges, whole, to add.
type reader struct {
	deps     Deps
	chosen   *selector.Expr
	from, to time.Time // first byte in [from, to); zero: no bound
	add      func(*events.Row, *events.Exchange) error

	damaged int // tapes that can't be read
	missing int // exchanges whose body is not in the archive
}

// early is how long before its first exchange a tape may have been begun.
const early = time.Minute

func (r *reader) read(ctx context.Context) error {
	if r.indexCovers(ctx) {
		return r.fromIndex(ctx)
	}
	return r.fromTapes(ctx)
}

func (r *reader) warnings() []string {
	var out []string
	if r.damaged > 0 {
		out = append(out, fmt.Sprintf("%d tapes can't be read: their exchanges are missing", r.damaged))
	}
	if r.missing > 0 {
		out = append(out, fmt.Sprintf("%d exchanges were left out because parts of their bodies are not in the archive", r.missing))
	}
	return out
}

// indexCovers says that the index goes back to before the time asked for: its
// rows are dropped before the tapes are. An index that does not answer is
// none.
func (r *reader) indexCovers(ctx context.Context) bool {
	if r.deps.Index == nil || r.from.IsZero() {
		return false
	}
	page, err := r.deps.Index.List(ctx, traffic.ListQuery{Query: traffic.Query{To: r.from}, Oldest: true, Limit: 1})
	if err != nil {
		r.deps.Log.Warn("the index does not answer, reading tapes", "error", err)
		return false
	}
	return len(page.Exchanges) > 0
}

// fromIndex finds rows in the index and reads their tapes.
func (r *reader) fromIndex(ctx context.Context) error {
	q := traffic.ListQuery{Query: traffic.Query{Selector: r.chosen, From: r.from, To: r.to}, Oldest: true, Limit: traffic.MaxPage}
	for {
		page, err := r.deps.Index.List(ctx, q)
		if err != nil {
			return err
		}
		if err := r.readRows(ctx, page.Exchanges); err != nil {
			return err
		}
		if page.Next.IsZero() {
			return nil
		}
		q.Cursor = page.Next
	}
}

// readRows reads each tape once for all its rows.
func (r *reader) readRows(ctx context.Context, rows []events.Row) error {
	byTape := map[events.ID][]events.Row{}
	var order []events.ID
	for _, row := range rows {
		if row.Open {
			continue
		}
		if byTape[row.Tape] == nil {
			order = append(order, row.Tape)
		}
		byTape[row.Tape] = append(byTape[row.Tape], row)
	}
	for _, tape := range order {
		some := byTape[tape]
		place, err := r.deps.Archive.Find(ctx, serviceOf(&some[0]), tape)
		if errors.Is(err, tapes.ErrNotArchived) {
			r.missing += len(some)
			continue
		}
		if err == nil {
			err = r.readTape(ctx, place, some)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fromTapes looks through the fronts of all tapes since the time asked for. A
// tape may hold exchanges that began long before it (long ones, imports), so
// there is no last tape to look at.
func (r *reader) fromTapes(ctx context.Context) error {
	o := tapes.ScanOptions{Service: onlyService(r.chosen)}
	if !r.from.IsZero() {
		o.From = r.from.Add(-early)
	}
	for located, err := range r.deps.Archive.Scan(ctx, o) {
		if errors.Is(err, events.ErrTape) {
			r.deps.Log.Warn("unreadable tape", "error", err)
			r.damaged++
			continue
		}
		if err != nil {
			return err
		}
		if rows := r.choose(located.Front); len(rows) > 0 {
			if err := r.readTape(ctx, located.Place, rows); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (r *reader) choose(f *events.Front) []events.Row {
	var rows []events.Row
	for _, e := range f.Index.Entries {
		if e.Kind != events.Kind_EXCHANGE {
			continue
		}
		row := f.Row(e)
		if r.includes(row.Time) && r.chosen.Match(&row) {
			rows = append(rows, row)
		}
	}
	return rows
}

func (r *reader) includes(t time.Time) bool {
	return (r.from.IsZero() || !t.Before(r.from)) && (r.to.IsZero() || t.Before(r.to))
}

// readTape adds the exchanges of rows, which lie in the tape at place. Rows of
// the same block come one after the other and share its unpacking.
func (r *reader) readTape(ctx context.Context, place tapes.Place, rows []events.Row) error {
	tape, err := r.deps.Archive.Tape(ctx, place)
	if errors.Is(err, events.ErrTape) {
		r.deps.Log.Warn("unreadable tape", "error", err)
		r.damaged++
		return nil
	}
	if err != nil {
		return err
	}
	blocks := map[uint32][]byte{}
	for i := range rows {
		row := &rows[i]
		x, err := exchangeOf(tape, blocks, row)
		if err == nil {
			err = r.deps.Archive.Complete(ctx, serviceOf(row), x)
		}
		switch {
		case errors.Is(err, events.ErrTape):
			r.deps.Log.Warn("unreadable exchange", "exchange", row.ID, "error", err)
			r.damaged++
			return nil
		case errors.Is(err, tapes.ErrNotArchived):
			r.missing++
		case err != nil:
			return err
		default:
			if err := r.add(row, x); err != nil {
				return err
			}
		}
	}
	return nil
}

func exchangeOf(tape *events.Tape, blocks map[uint32][]byte, row *events.Row) (*events.Exchange, error) {
	block, ok := blocks[row.Block]
	if !ok {
		var err error
		if block, err = tape.Block(row.Block); err != nil {
			return nil, err
		}
		clear(blocks) // one at a time
		blocks[row.Block] = block
	}
	record, err := events.RecordAt(block, row.Position)
	if err != nil {
		return nil, err
	}
	if x := record.GetExchange(); x != nil {
		return x, nil
	}
	return nil, fmt.Errorf("%w: the record of %s is no exchange", events.ErrTape, row.ID)
}

func serviceOf(row *events.Row) events.Service {
	return events.Service{Cluster: row.Cluster, Namespace: row.Namespace, Service: row.Service}
}

// onlyService is the service that every chosen exchange has, as far as the
// selector says so in an && at its top.
func onlyService(e *selector.Expr) events.Service {
	var s events.Service
	conditions := e.Args
	if e.Kind == selector.Is {
		conditions = []*selector.Expr{e}
	} else if e.Kind != selector.And {
		return s
	}
	for _, a := range conditions {
		if a.Kind != selector.Is || a.Condition.Op != selector.Equal {
			continue
		}
		switch a.Condition.Key {
		case selector.Cluster:
			s.Cluster = a.Condition.Text
		case selector.Namespace:
			s.Namespace = a.Condition.Text
		case selector.Service:
			s.Service = a.Condition.Text
		}
	}
	return s
}
