package tapes

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"tapedeck/events"
)

// bodyReads is how many tapes are read at a time for the parts of one body.
const bodyReads = 8

// Body returns what was kept of a body of x, which is an exchange of service
// s: the bytes in the exchange and its parts, which may lie in other tapes of
// the same service. An error wrapping ErrNotArchived means that a part is not
// there yet.
func (a *Archive) Body(ctx context.Context, s events.Service, x *events.Exchange, b *events.Body) ([]byte, error) {
	if b == nil || len(b.Parts) == 0 {
		return b.GetData(), nil
	}
	parts, err := a.parts(ctx, s, b.Parts)
	if err != nil {
		return nil, fmt.Errorf("read body of exchange %x: %w", x.Id, err)
	}
	side := events.Side_RESPONSE
	if b == x.GetRequest().GetBody() {
		side = events.Side_REQUEST
	}
	data := append(make([]byte, 0, size(b.Data, parts)), b.Data...)
	for _, p := range parts {
		if string(p.ExchangeId) != string(x.Id) || p.Side != side || p.Offset != int64(len(data)) {
			return nil, fmt.Errorf("read body of exchange %x: %w: part of %x %s at %d, want %s at %d",
				x.Id, events.ErrTape, p.ExchangeId, p.Side, p.Offset, side, len(data))
		}
		data = append(data, p.Data...)
	}
	return data, nil
}

func size(data []byte, parts []*events.Part) int {
	n := len(data)
	for _, p := range parts {
		n += len(p.Data)
	}
	return n
}

// Complete puts the whole of both bodies of x into their Data. It does nothing
// to bodies that are whole already. The segments of an event stream are its
// body: they become it.
func (a *Archive) Complete(ctx context.Context, s events.Service, x *events.Exchange) error {
	if eventStream(x) {
		if err := a.joinEvents(ctx, s, x); err != nil {
			return err
		}
	}
	for _, b := range []*events.Body{x.GetRequest().GetBody(), x.GetResponse().GetBody()} {
		if b == nil {
			continue
		}
		data, err := a.Body(ctx, s, x, b)
		if err != nil {
			return err
		}
		b.Data, b.Parts = data, nil
	}
	return nil
}

// parts reads parts in their order, several tapes at a time.
func (a *Archive) parts(ctx context.Context, s events.Service, refs []*events.RecordRef) ([]*events.Part, error) {
	parts := make([]*events.Part, len(refs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(bodyReads)
	for start := 0; start < len(refs); {
		end := start + 1 // parts of one tape follow each other
		for end < len(refs) && string(refs[end].TapeId) == string(refs[start].TapeId) {
			end++
		}
		some, into := refs[start:end], parts[start:end]
		group.Go(func() error { return a.partsOfTape(ctx, s, some, into) })
		start = end
	}
	return parts, group.Wait()
}

func (a *Archive) partsOfTape(ctx context.Context, s events.Service, refs []*events.RecordRef, parts []*events.Part) error {
	tape, err := events.IDFrom(refs[0].TapeId)
	if err != nil {
		return fmt.Errorf("%w: part: %w", events.ErrTape, err)
	}
	p, err := a.Find(ctx, s, tape)
	if err != nil {
		return err
	}
	for i, ref := range refs {
		r, err := a.record(ctx, p, tape, ref.Block, ref.Position)
		if err != nil {
			return err
		}
		if parts[i] = r.GetPart(); parts[i] == nil {
			return fmt.Errorf("%w: at %s block %d position %d is no part", events.ErrTape, p, ref.Block, ref.Position)
		}
	}
	return nil
}
