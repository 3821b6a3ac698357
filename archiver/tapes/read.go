package tapes

import (
	"context"
	"errors"
	"fmt"

	"tapedeck/events"
)

// ErrOpen is wrapped when an exchange has not ended yet: only its entry exists.
var ErrOpen = errors.New("the exchange is still open")

// frontGuess is what is read of a tape when the length of its front is not
// known: enough for most, so that most fronts are one read.
const frontGuess = 64 << 10

// maxTape bounds what is read for a tape whose place does not tell its length.
const maxTape = 1 << 30

// Front reads the front of a tape by ranged reads. It is shared with other
// callers: not to be changed.
func (a *Archive) Front(ctx context.Context, p Place) (*events.Front, error) {
	f, err := a.front(ctx, p, 0)
	if errors.Is(err, ErrNotFound) {
		if moved, ok := a.moved(ctx, p, a.tapeAt(p)); ok {
			return a.front(ctx, moved, 0)
		}
	}
	return f, err
}

// front reads the front of a tape, of which it has length bytes if that is
// known, without what was purged.
func (a *Archive) front(ctx context.Context, p Place, length int64) (*events.Front, error) {
	f, err := a.wholeFront(ctx, p, length)
	if err != nil {
		return nil, err
	}
	gone, err := a.purged.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("read tape at %s: %w", p, err)
	}
	if len(gone) == 0 {
		return f, nil
	}
	return f.Without(gone.Has), nil
}

// wholeFront is the front as it lies there.
func (a *Archive) wholeFront(ctx context.Context, p Place, length int64) (*events.Front, error) {
	key := Place{Object: p.Object, Offset: p.Offset}
	if f, known := a.fronts.get(key); known {
		return f, nil
	}
	f, err := a.readFront(ctx, p, length)
	if err != nil {
		return nil, fmt.Errorf("read tape at %s: %w", p, err)
	}
	a.fronts.put(key, f)
	a.places.put(f.TapeID(), Place{p.Object, p.Offset, f.Total})
	return f, nil
}

func (a *Archive) readFront(ctx context.Context, p Place, length int64) (*events.Front, error) {
	if length == 0 {
		length = frontGuess
		if p.Length > 0 {
			length = min(length, p.Length)
		}
	}
	b, err := a.Get(ctx, p.Object, p.Offset, length)
	if err != nil {
		return nil, err
	}
	size, err := events.FrontSize(b)
	if err != nil {
		return nil, err
	}
	if have := int64(len(b)); have < size && have == length {
		rest, err := a.Get(ctx, p.Object, p.Offset+have, size-have)
		if err != nil {
			return nil, err
		}
		b = append(b, rest...)
	}
	f, err := events.ParseFront(b)
	if err != nil {
		return nil, err
	}
	return f, p.check(f)
}

// check holds a front against what its place says of it.
func (p Place) check(f *events.Front) error {
	if p.Length > 0 && p.Length != f.Total {
		return fmt.Errorf("%w: it has %d bytes, want %d", events.ErrTape, f.Total, p.Length)
	}
	if id, alone := parseTapeKey(p.Object); alone && id != f.TapeID() {
		return fmt.Errorf("%w: it is tape %s", events.ErrTape, f.TapeID())
	}
	return nil
}

func (p Place) String() string { return fmt.Sprintf("%s+%d", p.Object, p.Offset) }

// Tape reads a whole tape, without what was purged.
func (a *Archive) Tape(ctx context.Context, p Place) (*events.Tape, error) {
	t, err := a.wholeTape(ctx, p)
	if errors.Is(err, ErrNotFound) {
		if moved, ok := a.moved(ctx, p, a.tapeAt(p)); ok {
			t, err = a.wholeTape(ctx, moved)
		}
	}
	if err != nil {
		return nil, err
	}
	return a.Kept(ctx, t)
}

// wholeTape is the tape as it lies there.
func (a *Archive) wholeTape(ctx context.Context, p Place) (*events.Tape, error) {
	if p.Length <= 0 {
		f, err := a.wholeFront(ctx, p, 0)
		if err != nil {
			return nil, err
		}
		p.Length = f.Total
	}
	if p.Length > maxTape {
		return nil, fmt.Errorf("read tape at %s: %w: %d bytes are over the bound of %d", p, events.ErrTape, p.Length, int64(maxTape))
	}
	b, err := a.Get(ctx, p.Object, p.Offset, p.Length)
	if err != nil {
		return nil, fmt.Errorf("read tape at %s: %w", p, err)
	}
	t, err := events.ParseTape(b)
	if err == nil {
		err = p.check(t.Front)
	}
	if err != nil {
		return nil, fmt.Errorf("read tape at %s: %w", p, err)
	}
	return t, nil
}

// Exchange reads one exchange of the tape at p with one ranged read of its
// block, beside the front if that was not read lately. Bodies hold their first
// events.BodyInline bytes; Complete adds the rest.
func (a *Archive) Exchange(ctx context.Context, p Place, row events.Row) (*events.Exchange, error) {
	if row.Open {
		return nil, fmt.Errorf("read exchange %s: %w", row.ID, ErrOpen)
	}
	if err := a.purged.check(ctx, row.ID); err != nil {
		return nil, fmt.Errorf("read exchange %s: %w", row.ID, err)
	}
	r, err := a.record(ctx, p, row.Tape, row.Block, row.Position)
	if err != nil {
		return nil, fmt.Errorf("read exchange %s: %w", row.ID, err)
	}
	x := r.GetExchange()
	if x == nil || string(x.Id) != string(row.ID[:]) {
		return nil, fmt.Errorf("read exchange %s: %w: at %s block %d position %d is something else", row.ID, events.ErrTape, p, row.Block, row.Position)
	}
	return x, nil
}

// record reads one record of a tape that should lie at p, or where a purge has
// put it.
func (a *Archive) record(ctx context.Context, p Place, tape events.ID, block, position uint32) (*events.Record, error) {
	r, err := a.recordAt(ctx, p, tape, block, position)
	if errors.Is(err, ErrNotFound) {
		if moved, ok := a.moved(ctx, p, tape); ok {
			return a.recordAt(ctx, moved, tape, block, position)
		}
	}
	return r, err
}

func (a *Archive) recordAt(ctx context.Context, p Place, tape events.ID, block, position uint32) (*events.Record, error) {
	f, err := a.wholeFront(ctx, p, 0)
	if err != nil {
		return nil, err
	}
	if f.TapeID() != tape {
		return nil, fmt.Errorf("%w: at %s lies tape %s, want %s", events.ErrTape, p, f.TapeID(), tape)
	}
	offset, length, err := f.BlockRange(block)
	if err != nil {
		return nil, err
	}
	frame, err := a.Get(ctx, p.Object, p.Offset+offset, length)
	if err != nil {
		return nil, err
	}
	raw, err := f.UnpackBlock(block, frame)
	if err != nil {
		return nil, fmt.Errorf("tape at %s: %w", p, err)
	}
	return events.RecordAt(raw, position)
}
