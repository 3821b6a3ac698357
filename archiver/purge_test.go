package archiver

import (
	"testing"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// A tape that arrives after its exchange was purged is archived without it,
// also when it was archived whole before: delivered again, it is no clash.
func TestPurgedIsNotArchived(t *testing.T) {
	onArchives(t, func(t *testing.T, a *tapes.Archive, cfg Config) {
		_, js := natstest.New(t)
		before, late := newTape(t, orders, 1), newTape(t, orders, 2)
		if _, err := a.PutTape(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		var list []tapes.Tombstone
		for _, tape := range []*events.Tape{before, late} {
			list = append(list, tapes.Tombstone{Exchange: events.ID(tape.Index.Entries[0].Id), Tapes: []events.ID{tape.TapeID()}})
		}
		p, err := a.Bury(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, js, before)
		publish(t, js, late)
		_, stop := run(t, js, tapes.New(a.Bucket), cfg)
		eventually(t, "all is archived", drained(t, js))
		stop()
		for id, place := range announced(t, js) {
			if err := a.Delete(t.Context(), "tombstones/"+p.ID.String()); err != nil { // a reader then sees what lies there
				t.Fatal(err)
			}
			tape, err := tapes.New(a.Bucket).Tape(t.Context(), place)
			if err != nil || len(tape.Index.Entries) != 0 || tape.Header.Purged != 1 {
				t.Errorf("tape %s at %s: %v, %v, want it without its exchange", id, place, tape, err)
			}
		}
		stream, err := js.Stream(t.Context(), events.StreamDead)
		if err != nil || stream.CachedInfo().State.Msgs != 0 {
			t.Errorf("dead letters: %v, %v", stream.CachedInfo().State.Msgs, err)
		}
	})
}
