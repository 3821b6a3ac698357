package ledger

import (
	"time"

	"tapedeck/events"
)

// Settle counts what a source that ended has not: tapes that it closed and did
// not count any more, and as killed what was in its memory. It may be called
// again after a kill in its middle.
func (s *Source) Settle(kept []*events.Tape) {
	c := s.Counts()
	if c.Reported {
		return
	}
	for _, t := range kept {
		// Tapes are kept first and counted then, one after another.
		if n := t.Header.Number; n > c.Number {
			c.Number, c.Taped = n, c.Taped+Exchanges(t.Front)
		}
	}
	if open := s.open(c); open > 0 {
		c.Dropped[Killed] += open
	}
	s.Save(c)
}

func (s *Source) open(c Counts) uint64 {
	n := s.file.begun.Load() - c.Taped
	for _, dropped := range c.Dropped {
		n -= dropped
	}
	return n
}

// Drop takes the exchanges of a tape that was counted as taped out of that
// count: it is stored nowhere any more. What was reported is true no more.
func (s *Source) Drop(exchanges uint64, reason string) {
	c := s.Counts()
	c.Taped -= exchanges
	c.Dropped[reason] += exchanges
	c.Reported = false
	s.Save(c)
}

// LastTape is a tape without exchanges that says what the source has counted.
func (s *Source) LastTape(now time.Time, spooled int) (events.ID, []byte, error) {
	c := s.Counts()
	c.Number++
	b := events.NewBuilder(now)
	raw, err := b.Close(&events.Header{
		SourceId: s.Header.SourceId, Workload: s.Header.Workload, Number: c.Number, ClosedAt: now.UnixNano(), Last: true,
		Counters: &events.Counters{Begun: s.file.begun.Load(), Taped: c.Taped, Dropped: c.Dropped, Open: s.open(c), SpooledTapes: uint64(spooled)},
	})
	return b.ID(), raw, err
}

// Report notes that the tape of LastTape is in a safe place.
func (s *Source) Report() {
	c := s.Counts()
	c.Number, c.Reported = c.Number+1, true
	s.Save(c)
}

// Exchanges is how many of them a tape holds.
func Exchanges(f *events.Front) uint64 {
	var n uint64
	for _, e := range f.Index.Entries {
		if e.Kind == events.Kind_EXCHANGE {
			n++
		}
	}
	return n
}
