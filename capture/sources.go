package capture

import (
	"errors"
	"io/fs"
	"time"

	"tapedeck/capture/ledger"
	"tapedeck/capture/spool"
	"tapedeck/events"
	"tapedeck/internal/service"
)

// openLedger settles what earlier processes left behind, and begins the
// counters of this one.
func (s *Service) openLedger() error {
	s.settleSources()
	r := s.recorder
	l, err := ledger.Create(s.sources, &events.Header{SourceId: r.source[:], Workload: r.workload})
	if err != nil {
		return service.Hint(err, "choose a folder that can be written with --data DIR")
	}
	r.openLedger(l)
	return nil
}

func (s *Service) closeLedger() {
	if err := s.recorder.closeLedger(s.publisher.spool.Tapes()); err != nil {
		s.log.Warn("close ledger", "error", err)
	}
}

// settleSources looks after all sources that have ended.
func (s *Service) settleSources() {
	ids, err := ledger.Sources(s.sources)
	if err != nil {
		s.log.Warn("settle earlier sources", "error", err)
		return
	}
	for _, id := range ids {
		source, err := ledger.Open(s.sources, id)
		if errors.Is(err, ledger.ErrInUse) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		switch {
		case err == nil:
			err = s.settle(source)
		case errors.Is(err, ledger.ErrDamaged):
			err = errors.Join(err, ledger.Discard(s.sources, id))
		}
		if err != nil {
			s.log.Warn("settle earlier source", "source", id, "error", err)
		}
	}
}

// settle brings the tapes of a source that ended, and its last header, into
// the spool, which publishes them. What it can't do now it does at the next
// start.
func (s *Service) settle(source *ledger.Source) error {
	store := s.publisher.spool
	if source.Counts().Reported && store.Tapes() == 0 {
		return source.Remove()
	}
	err := s.respool(source)
	if err == nil && !source.Counts().Reported {
		err = s.lastWord(source)
	}
	return errors.Join(err, source.Close())
}

func (s *Service) respool(source *ledger.Source) error {
	kept, err := source.Kept()
	if err != nil {
		return err
	}
	source.Settle(kept)
	for _, tape := range kept {
		err := s.publisher.spool.Put(tape.TapeID(), tape.Bytes())
		switch {
		case errors.Is(err, spool.ErrFull):
			source.Drop(ledger.Exchanges(tape.Front), dropSpool)
		case err != nil:
			return err
		}
		source.Forget(tape.TapeID())
	}
	return nil
}

func (s *Service) lastWord(source *ledger.Source) error {
	id, raw, err := source.LastTape(time.Now(), s.publisher.spool.Tapes())
	if err != nil {
		return err
	}
	if err := s.publisher.spool.Put(id, raw); err != nil {
		return err
	}
	source.Report()
	s.log.Info("an earlier process did not say its last", "source", events.ID(source.Header.SourceId), "dropped", source.Counts().Dropped)
	return nil
}

// evict drops the oldest tape of the spool that can be accounted for, and says
// whether there was one.
func (s *Service) evict(size int) bool {
	store := s.publisher.spool
	if !store.Fits(size) {
		return false
	}
	for _, id := range store.Oldest(store.Tapes()) {
		if store.Claim(id) {
			dropped := s.evictTape(id)
			store.Release(id)
			if dropped {
				return true
			}
		}
	}
	return false
}

func (s *Service) evictTape(id events.ID) bool {
	tape, err := s.publisher.spool.Get(id)
	if err != nil {
		return false
	}
	exchanges := ledger.Exchanges(tape.Front)
	if !s.account(events.ID(tape.Header.SourceId), exchanges) {
		return false
	}
	s.log.Warn("spool is full, its oldest tape is dropped", "tape", id, "exchanges", exchanges)
	if err := s.publisher.spool.Remove(id); err != nil {
		s.log.Error("drop tape", "error", err)
		return false
	}
	return true
}

// account counts exchanges of a source as dropped. It refuses for one that
// lives in another process, which counts for itself.
func (s *Service) account(id events.ID, exchanges uint64) bool {
	r := s.recorder
	if id == r.source {
		r.lost(&closedTape{exchanges: int(exchanges)}, dropSpool)
		return true
	}
	source, err := ledger.Open(s.sources, id)
	if errors.Is(err, ledger.ErrInUse) {
		return false
	}
	s.metrics.dropped.WithLabelValues(dropSpool).Add(float64(exchanges))
	if err != nil {
		s.log.Error("exchanges are dropped that no ledger counts", "source", id, "exchanges", exchanges, "error", err)
		return true
	}
	source.Drop(exchanges, dropSpool)
	return source.Close() == nil
}
