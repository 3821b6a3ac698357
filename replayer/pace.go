package replayer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"tapedeck/events"
)

// The modes of a Load.
const (
	modeRecorded = "recorded" // at the recorded times, divided by the speed
	modeRate     = "rate"     // in the recorded order, so many a second
	modeFast     = "fast"     // as soon as the session's last answer is there
)

// maxCopies bounds what one request can ask for.
const maxCopies = 10_000_000

// Plan says when each request of a replay is meant to start, counted from the
// replay's begin. It is a function of what was recorded and of the load alone.
type Plan struct {
	load   events.Load
	rounds int               // one behind the other
	beside int               // copies of each session in a round
	starts [][]time.Duration // of each session in the first round
	round  time.Duration     // from one round to the next
	total  int
}

// NewPlan plans sessions that were recorded at these times (Unix ns of each
// request's first byte, sessions in order of start).
func NewPlan(load events.Load, recorded [][]int64) (*Plan, error) {
	if err := checkLoad(&load); err != nil {
		return nil, err
	}
	requests := 0
	for _, session := range recorded {
		requests += len(session)
	}
	p := &Plan{load: load, rounds: max(load.Copies, 1), beside: 1}
	switch load.Mode {
	case modeRate:
		p.starts = atRate(load.Rate, recorded)
		p.round = atRequest(load.Rate, requests)
	case modeFast:
		p.starts = atOnce(recorded)
	default:
		p.starts = atRecorded(load.Speed, recorded)
		p.round = roundOf(p.starts, requests)
		p.rounds, p.beside = 1, p.rounds
	}
	if load.Duration > 0 && load.Copies <= 1 {
		p.rounds = p.fill()
	}
	if p.rounds*p.beside > maxCopies {
		return nil, fmt.Errorf("load asks for %d copies of each session, at most %d", p.rounds*p.beside, maxCopies)
	}
	p.total = p.count(requests)
	return p, nil
}

// fill is how many rounds fill the load's duration.
func (p *Plan) fill() int {
	if p.Closed() {
		return maxCopies // it ends by the clock
	}
	if p.round == 0 {
		return 1
	}
	return int((p.load.Duration + p.round - 1) / p.round)
}

// roundOf is how long the recording takes until it can begin again: up to its
// last request, and the mean distance between two beyond.
func roundOf(starts [][]time.Duration, requests int) time.Duration {
	last := time.Duration(0)
	for _, session := range starts {
		for _, s := range session {
			last = max(last, s)
		}
	}
	if requests < 2 {
		return 0
	}
	return last + last/time.Duration(requests-1)
}

func checkLoad(l *events.Load) error {
	l.Mode = cmp.Or(l.Mode, modeRecorded)
	if l.Speed == 0 {
		l.Speed = 1
	}
	switch {
	case l.Mode != modeRecorded && l.Mode != modeRate && l.Mode != modeFast:
		return fmt.Errorf("load mode %q is none of recorded, rate, fast", l.Mode)
	case l.Speed < 0 || math.IsInf(l.Speed, 0) || math.IsNaN(l.Speed):
		return fmt.Errorf("load speed %v is not above 0", l.Speed)
	case l.Mode == modeRate && !(l.Rate > 0 && l.Rate <= 10_000_000):
		return fmt.Errorf("load rate %v is not between 0 and 10,000,000 requests/s", l.Rate)
	case l.Mode != modeRate && l.Rate != 0:
		return fmt.Errorf("load has a rate, and mode %s uses none", l.Mode)
	case l.Copies < 0 || l.Duration < 0 || l.Connections < 0 || l.Timeout < 0:
		return fmt.Errorf("load has a number below 0")
	}
	return nil
}

// atRecorded keeps the recorded distances, divided by the speed.
func atRecorded(speed float64, recorded [][]int64) [][]time.Duration {
	first := int64(math.MaxInt64)
	for _, session := range recorded {
		for _, t := range session {
			first = min(first, t)
		}
	}
	return each(recorded, func(session, i int) time.Duration {
		return time.Duration(float64(recorded[session][i]-first) / speed)
	})
}

// atRate keeps the recorded order of all requests and sends them at even
// distances.
func atRate(rate float64, recorded [][]int64) [][]time.Duration {
	type place struct{ session, i int }
	var order []place
	for session := range recorded {
		for i := range recorded[session] {
			order = append(order, place{session, i})
		}
	}
	slices.SortStableFunc(order, func(a, b place) int {
		return cmp.Compare(recorded[a.session][a.i], recorded[b.session][b.i])
	})
	starts := atOnce(recorded)
	for n, p := range order {
		starts[p.session][p.i] = atRequest(rate, n)
	}
	return starts
}

func atRequest(rate float64, n int) time.Duration {
	return time.Duration(float64(n) / rate * float64(time.Second))
}

// atOnce begins every session at once.
func atOnce(recorded [][]int64) [][]time.Duration {
	return each(recorded, func(int, int) time.Duration { return 0 })
}

// each makes starts; a request never starts before the one before it.
func each(recorded [][]int64, at func(session, i int) time.Duration) [][]time.Duration {
	starts := make([][]time.Duration, len(recorded))
	for session := range recorded {
		starts[session] = make([]time.Duration, len(recorded[session]))
		last := time.Duration(0)
		for i := range recorded[session] {
			last = max(last, at(session, i))
			starts[session][i] = last
		}
	}
	return starts
}

// Rounds is how often the scenario is sent, one time after the other.
func (p *Plan) Rounds() int { return p.rounds }

// Beside is how many copies of each session a round has, side by side.
func (p *Plan) Beside() int { return p.beside }

// Total is the number of requests to send, 0 when the clock alone decides.
func (p *Plan) Total() int { return p.total }

// Closed says that a request starts as soon as the session's last answer is
// there: there is no intended start, and latency counts from the sending.
func (p *Plan) Closed() bool { return p.load.Mode == modeFast }

// Starts are the intended starts of the requests of a session in a round, up
// to the load's duration.
func (p *Plan) Starts(session, round int) []time.Duration {
	base := p.starts[session]
	offset := time.Duration(round) * p.round
	starts := make([]time.Duration, 0, len(base))
	for _, s := range base {
		if !p.within(s + offset) {
			break
		}
		starts = append(starts, s+offset)
	}
	return starts
}

func (p *Plan) within(start time.Duration) bool {
	return p.load.Duration == 0 || start < p.load.Duration
}

// count counts the requests that start within the duration.
func (p *Plan) count(requests int) int {
	switch {
	case p.load.Duration == 0:
		return requests * p.rounds * p.beside
	case p.Closed():
		return 0
	}
	n := 0
	for round := range p.rounds {
		for _, session := range p.starts {
			for _, s := range session {
				if !p.within(s + time.Duration(round)*p.round) {
					break
				}
				n += p.beside
			}
		}
	}
	return n
}
