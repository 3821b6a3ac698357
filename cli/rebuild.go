package cli

import (
	"context"
	"errors"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

// rebuild makes the index anew of all tapes, and takes the place of the one in
// use. Stopped, the next one goes on with what was made.
func (r *reindexing) rebuild(ctx context.Context) error {
	if err := r.bury(ctx); err != nil {
		return err
	}
	fresh, err := r.store.Rebuild(ctx)
	if errors.Is(err, traffic.ErrRebuilding) {
		return service.Hint(err, "another admin reindex --all is at work: let it end")
	}
	if err != nil {
		return service.Hint(err, "it takes a user who may make schemas in this database and owns its tables")
	}
	defer fresh.Close()
	store, reader := r.store, r.reader
	r.store, r.reader, r.fresh = fresh.Store, fresh.Reader, fresh
	err = r.run(ctx, tapes.ScanOptions{})
	r.store, r.reader, r.fresh = store, reader, nil
	if err != nil {
		return err
	}
	r.line.draw("  taking the place of the index in use")
	defer r.line.clear()
	swapped, err := fresh.Swap(ctx)
	r.done.Swapped = &swapped
	return err
}

// remember gives tapes the time at which the index in use got them, so that a
// wrong clock is corrected as it was.
func (r *reindexing) remember(ctx context.Context, list []traffic.Received) error {
	if r.fresh == nil {
		return nil
	}
	ids := make([]events.ID, len(list))
	for i, t := range list {
		ids[i] = t.TapeID()
	}
	at, err := r.fresh.ReceivedAt(ctx, ids)
	for i := range list {
		if known, ok := at[ids[i]]; ok {
			list[i].At = known
		}
	}
	return err
}
