package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

// acknowledge writes down that no more will come of the sources that were
// named.
func (c *adminAudit) acknowledge(ctx context.Context, r *reindexing) error {
	if len(c.Acknowledge) == 0 {
		return nil
	}
	store, err := traffic.Open(ctx, c.Database)
	if err != nil {
		return service.Hint(err, databaseHint)
	}
	defer store.Close()
	if _, err := store.Migrate(ctx); err != nil {
		return service.Hint(err, databaseHint)
	}
	all, err := r.reader.Audit(ctx, time.Time{})
	if err != nil {
		return err
	}
	chosen := make([]traffic.Account, len(c.Acknowledge))
	for i, name := range c.Acknowledge {
		if chosen[i], err = lostSource(all, name, time.Now()); err != nil {
			return err
		}
	}
	return store.Acknowledge(ctx, chosen)
}

// lostSource is the account of a source, if it may be lost.
func lostSource(all []traffic.Account, name string, now time.Time) (traffic.Account, error) {
	id, err := events.ParseID(name)
	i := slices.IndexFunc(all, func(a traffic.Account) bool { return a.Source == id })
	if err != nil || i < 0 {
		return traffic.Account{}, exit(2, service.Hint(fmt.Errorf("--acknowledge %s: there is no such source", name), "tapedeck admin audit prints the ids of sources"))
	}
	a := all[i]
	if !a.Ended && now.Sub(a.LastTape) <= unheard {
		return a, exit(2, service.Hint(fmt.Errorf("--acknowledge %s: it was heard of %s ago", name, shortDuration(now.Sub(a.LastTape))), "wait for what is still to come"))
	}
	return a, nil
}

// isAcknowledged says that someone knows that the source will not come back. It
// did if it has closed a tape since.
func isAcknowledged(a *traffic.Account) bool { return a.LastTape.Before(a.Acknowledged) }
