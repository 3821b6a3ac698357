package tapes

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"tapedeck/events"
)

// segmentReads is how many tapes are read at a time, and ahead, for the
// segments of one exchange.
const segmentReads = 8

// maxSegments bounds how far back the segments of an open exchange are read.
const maxSegments = 16384

// Segments reads the segments of an exchange of service s in their order. It
// ends with the first error; one wrapping ErrNotArchived means that a segment
// is not there yet.
func (a *Archive) Segments(ctx context.Context, s events.Service, x *events.Exchange) iter.Seq2[*events.Segment, error] {
	return func(yield func(*events.Segment, error) bool) {
		for refs := range slices.Chunk(x.GetSegments(), segmentReads) {
			found, err := a.segments(ctx, s, refs)
			if err == nil {
				err = belong(found, x.Id)
			}
			if err != nil {
				yield(nil, fmt.Errorf("read segments of exchange %x: %w", x.Id, err))
				return
			}
			for _, g := range found {
				if !yield(g, nil) {
					return
				}
			}
		}
	}
}

func belong(found []*events.Segment, exchange []byte) error {
	for _, g := range found {
		if string(g.ExchangeId) != string(exchange) {
			return fmt.Errorf("%w: segment of %x", events.ErrTape, g.ExchangeId)
		}
	}
	return nil
}

func (a *Archive) segments(ctx context.Context, s events.Service, refs []*events.RecordRef) ([]*events.Segment, error) {
	found := make([]*events.Segment, len(refs))
	group, ctx := errgroup.WithContext(ctx)
	for i, ref := range refs {
		group.Go(func() (err error) {
			found[i], err = a.segment(ctx, s, ref)
			return err
		})
	}
	return found, group.Wait()
}

func (a *Archive) segment(ctx context.Context, s events.Service, ref *events.RecordRef) (*events.Segment, error) {
	tape, err := events.IDFrom(ref.TapeId)
	if err != nil {
		return nil, fmt.Errorf("%w: segment: %w", events.ErrTape, err)
	}
	p, err := a.Find(ctx, s, tape)
	if err != nil {
		return nil, err
	}
	r, err := a.record(ctx, p, tape, ref.Block, ref.Position)
	if err != nil {
		return nil, err
	}
	g := r.GetSegment()
	if g == nil {
		return nil, fmt.Errorf("%w: at %s block %d position %d is no segment", events.ErrTape, p, ref.Block, ref.Position)
	}
	return g, nil
}

// OpenSegments reads what is known of an exchange that has not ended: the
// segments up to the one that its row, the entry of the tape at p, points at.
// They are found backwards and returned in their order. There is none before
// the first message was written.
func (a *Archive) OpenSegments(ctx context.Context, s events.Service, p Place, row events.Row) ([]*events.Segment, error) {
	if err := a.purged.check(ctx, row.ID); err != nil {
		return nil, fmt.Errorf("read segments of exchange %s: %w", row.ID, err)
	}
	f, err := a.Front(ctx, p)
	if err == nil && int(row.Block) >= len(f.Index.Blocks) {
		return nil, nil // the tape has nothing but entries
	}
	var found []*events.Segment
	if err == nil {
		found, err = a.backwards(ctx, s, p, row)
	}
	if err != nil {
		return nil, fmt.Errorf("read segments of exchange %s: %w", row.ID, err)
	}
	slices.Reverse(found)
	return found, nil
}

func (a *Archive) backwards(ctx context.Context, s events.Service, p Place, row events.Row) ([]*events.Segment, error) {
	r, err := a.record(ctx, p, row.Tape, row.Block, row.Position)
	if err != nil {
		return nil, err
	}
	g := r.GetSegment()
	if g == nil || string(g.ExchangeId) != string(row.ID[:]) {
		return nil, nil // another's record: an entry without a segment points at the first
	}
	found := []*events.Segment{}
	for len(found) < maxSegments {
		if len(g.Messages) > 0 {
			found = append(found, g)
		}
		if g.Previous == nil {
			return found, nil
		}
		before, err := a.segment(ctx, s, g.Previous)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrNotArchived):
			return found, nil // expired: a stream may live longer than its tapes
		case err != nil:
			return nil, err
		}
		if err := belong([]*events.Segment{before}, row.ID[:]); err != nil {
			return nil, err
		}
		g = before
	}
	return found, nil
}

// eventStream says that the body of an answer lies in messages.
func eventStream(x *events.Exchange) bool {
	b := x.GetResponse().GetBody()
	return len(x.GetSegments()) > 0 && b != nil && len(b.Data) == 0 && len(b.Parts) == 0 &&
		strings.HasPrefix(strings.ToLower(events.HeaderValue(x.Response.Headers, "Content-Type")), "text/event-stream")
}

// joinEvents makes the body of an event stream of its messages.
func (a *Archive) joinEvents(ctx context.Context, s events.Service, x *events.Exchange) error {
	var body []byte
	for g, err := range a.Segments(ctx, s, x) {
		if err != nil {
			return err
		}
		for _, m := range g.Messages {
			if m.Side == events.Side_RESPONSE {
				body = append(body, m.Data...)
			}
		}
	}
	x.Response.Body.Data, x.Segments = body, nil
	return nil
}
