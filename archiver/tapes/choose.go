package tapes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tapedeck/events"
)

// Chooser finds the exchanges that a purge is about, and every tape that may
// hold something of them: parts and segments lie in other tapes than their
// exchange, and what has not ended is named in many.
type Chooser struct {
	Rows    func(*events.Front) ([]events.Row, error) // of a tape
	Chosen  func(*events.Row) bool
	Damaged func(error) error // tells of an object that can't be read; what it returns ends the search

	archive *Archive
	found   map[events.ID]*Tombstone
	open    map[events.ID]*openExchange
	ended   map[events.ID]bool        // exchanges that may have open entries and are not chosen
	tapes   map[events.ID][]events.ID // by source
}

// openExchange is what is known of an exchange that may not have ended.
type openExchange struct {
	row    events.Row // the newest
	source events.ID
	tapes  []events.ID
}

const (
	// openAfter is less than what an exchange lasts before it is named as open.
	openAfter = 500 * time.Millisecond
	// beforeEntry is how long before its first byte the tape was begun that
	// holds the first of an exchange.
	beforeEntry = time.Minute
)

// Choose looks through all tapes that fit, every copy, purged exchanges
// included: a purge that was stopped may have left some.
func (a *Archive) Choose(ctx context.Context, o ScanOptions, c Chooser) ([]Tombstone, error) {
	c.archive = a
	c.found, c.open, c.ended, c.tapes = map[events.ID]*Tombstone{}, map[events.ID]*openExchange{}, map[events.ID]bool{}, map[events.ID][]events.ID{}
	for hour, err := range a.eachHour(ctx, o) {
		if err != nil {
			return nil, err
		}
		for _, found := range hour {
			err := found.err
			if err == nil {
				err = c.look(ctx, found)
			}
			if err = c.damaged(err); err != nil {
				return nil, err
			}
		}
	}
	return c.tombstones(), nil
}

func (c *Chooser) damaged(err error) error {
	if errors.Is(err, events.ErrTape) {
		return c.Damaged(err)
	}
	return err
}

func (c *Chooser) look(ctx context.Context, found candidate) error {
	f, err := c.archive.wholeFront(ctx, found.place, found.front)
	if errors.Is(err, ErrNotFound) { // rewritten or expired meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	source := events.ID(f.Header.SourceId)
	c.tapes[source] = append(c.tapes[source], f.TapeID())
	rows, err := c.Rows(f)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", found.place, events.ErrTape, err)
	}
	hit := false
	for i := range rows {
		r := &rows[i]
		switch {
		case r.Open:
			c.opened(r, source)
		case c.Chosen(r):
			c.tombstone(r, r.Tape)
			hit = true
		case r.Duration > openAfter:
			c.ended[r.ID] = true
		}
	}
	if !hit {
		return nil
	}
	return c.follow(ctx, found.place)
}

func (c *Chooser) opened(r *events.Row, source events.ID) {
	o := c.open[r.ID]
	if o == nil {
		o = &openExchange{row: *r, source: source}
		c.open[r.ID] = o
	}
	if slices.Compare(r.Tape[:], o.row.Tape[:]) > 0 {
		o.row = *r
	}
	o.tapes = append(o.tapes, r.Tape)
}

func (c *Chooser) tombstone(r *events.Row, tapes ...events.ID) {
	t := c.found[r.ID]
	if t == nil {
		t = &Tombstone{Exchange: r.ID, Time: r.Time}
		c.found[r.ID] = t
	}
	t.Tapes = append(t.Tapes, tapes...)
}

// follow adds the tapes that the chosen exchanges of a tape point at.
func (c *Chooser) follow(ctx context.Context, p Place) error {
	t, err := c.archive.wholeTape(ctx, p)
	if err != nil {
		return err
	}
	for record, err := range t.Records() {
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		x := record.GetExchange()
		s := c.found[idOf(x.GetId())]
		if x == nil || s == nil {
			continue
		}
		for _, refs := range [][]*events.RecordRef{x.Segments, x.GetRequest().GetBody().GetParts(), x.GetResponse().GetBody().GetParts()} {
			for _, ref := range refs {
				s.Tapes = append(s.Tapes, idOf(ref.TapeId))
			}
		}
	}
	return nil
}

func idOf(b []byte) (id events.ID) {
	copy(id[:], b)
	return id
}

// tombstones are those of all that was chosen, sorted. What has not ended may
// have parts that nothing points at: in any tape of its source since it began.
func (c *Chooser) tombstones() []Tombstone {
	for id, o := range c.open {
		switch {
		case c.found[id] != nil:
			c.tombstone(&o.row, o.tapes...)
		case !c.ended[id] && c.Chosen(&o.row):
			c.tombstone(&o.row)
			for _, tape := range c.tapes[o.source] {
				if tape.Time().After(o.row.Time.Add(-beforeEntry)) {
					c.tombstone(&o.row, tape)
				}
			}
		}
	}
	all := make([]Tombstone, 0, len(c.found))
	for _, t := range c.found {
		slices.SortFunc(t.Tapes, compareIDs)
		t.Tapes = slices.Compact(t.Tapes)
		all = append(all, *t)
	}
	slices.SortFunc(all, func(x, y Tombstone) int { return compareIDs(x.Exchange, y.Exchange) })
	return all
}

func compareIDs(x, y events.ID) int { return slices.Compare(x[:], y[:]) }
