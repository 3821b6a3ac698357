package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"tapedeck/internal/benchtest"
)

// side is one way from the loader to the origin, or past a recorder.
type side struct {
	name  string
	start func(context.Context, *lab) (*turn, error)
	vary  func(*load) // the part's load; nil: it is as it is
	ours  bool        // all of its errors are our failures
}

// turn is a side that runs, in a process of its own.
type turn struct {
	process  *benchtest.Process                                    // nil: none
	address  string                                                // for the loader; "": the origin's
	debug    string                                                // address of pprof, if it has one
	change   func(*load)                                           // how the loader reaches it
	recorded func(ctx context.Context, sent int64) (counts, error) // after its end; nil: it records nothing
}

// sample is one measurement of a side.
type sample struct {
	answers
	cpu      time.Duration // of the side's process, to its end
	most     int64         // bytes of memory
	sent     int64         // with the warm-up
	records  bool
	recorded counts
}

// errMissing is the error of a side whose program is not installed.
type errMissing struct{ what string }

func (e errMissing) Error() string { return e.what }

const warmUp = 500 * time.Millisecond

// measure takes one turn with a side.
func measure(ctx context.Context, l *lab, s side, w load) (*sample, error) {
	t, err := s.start(ctx, l)
	if err != nil {
		return nil, err
	}
	ended := t.process == nil
	defer func() {
		if !ended {
			t.process.Kill()
		}
	}()
	w = s.adjust(w, t)
	warm := w
	warm.Duration, warm.Requests, warm.Rate = warmUp, 0, 0
	before, err := runLoad(ctx, warm)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, t.said())
	}
	var m sample
	var used time.Duration
	if t.process != nil {
		used = t.process.CPU()
	}
	profiled := l.profile(ctx, s.name, t.debug, w.Duration)
	a, err := runLoad(ctx, w)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, t.said())
	}
	<-profiled
	m.answers, m.sent = *a, a.Answered+before.Answered
	if s.ours && a.Failed+before.Failed > 0 {
		return nil, fmt.Errorf("%d requests failed: %s%s%s", a.Failed+before.Failed, before.First, a.First, t.said())
	}
	if t.process != nil {
		m.most, _ = t.process.Memory()
		ended = true
		cpu, err := t.process.Stop()
		if err != nil && s.ours { // others may call being told to end a failure
			return nil, err
		}
		m.cpu = cpu - used
	}
	if m.records = t.recorded != nil; m.records {
		m.recorded, err = t.recorded(ctx, m.sent)
	}
	return &m, err
}

// adjust is the load as this turn needs it.
func (s *side) adjust(w load, t *turn) load {
	if s.vary != nil {
		s.vary(&w)
	}
	w.Address, w.Host = t.address, t.address
	if t.change != nil {
		t.change(&w)
	}
	return w
}

func (t *turn) said() string {
	if t.process == nil {
		return ""
	}
	return ": " + t.process.Output()
}

// rounds measures all sides in turns. A side that is not installed has no
// sample.
func rounds(ctx context.Context, l *lab, sides []side, w load) (map[string][]*sample, map[string]string, error) {
	// A peer that is not installed, or fails, is a row that says so.
	samples, missing := map[string][]*sample{}, map[string]string{}
	for round := range l.rounds {
		for _, s := range sides {
			if missing[s.name] != "" {
				continue
			}
			m, err := measure(ctx, l, s, w)
			if gone, ok := err.(errMissing); ok {
				missing[s.name] = gone.what
				continue
			}
			if err != nil && !s.ours && ctx.Err() == nil {
				missing[s.name] = "failed, see above"
				fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, err)
				continue
			}
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", s.name, err)
			}
			samples[s.name] = append(samples[s.name], m)
			fmt.Fprintf(os.Stderr, "round %d, %s: %.0f/s\n", round+1, s.name, m.rate())
		}
	}
	return samples, missing, nil
}
