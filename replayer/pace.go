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
const maxCopies = 1_000_000

// Plan says when each request of a replay is meant to start, counted from the
// replay's begin. It is a function of what was recorded and of the load alone.
type Plan struct {
	load   events.Load
	copies int
	starts [][]time.Duration // of each session's first copy
	round  time.Duration     // from one copy to the next: rate only
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
	p := &Plan{load: load, copies: copiesOf(load, requests)}
	if p.copies > maxCopies {
		return nil, fmt.Errorf("load asks for %d copies of each session, at most %d", p.copies, maxCopies)
	}
	switch load.Mode {
	case modeRate:
		p.starts = atRate(load.Rate, recorded)
		p.round = atRequest(load.Rate, requests)
	case modeFast:
		p.starts = atOnce(recorded)
	default:
		p.starts = atRecorded(load.Speed, recorded)
	}
	p.total = p.count()
	return p, nil
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

// copiesOf is how often each session is sent. A rate with a duration and no
// number of copies needs as many as fill the duration.
func copiesOf(l events.Load, requests int) int {
	if l.Copies > 0 || l.Mode != modeRate || l.Duration == 0 || requests == 0 {
		return max(l.Copies, 1)
	}
	return int(math.Ceil(l.Rate * l.Duration.Seconds() / float64(requests)))
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

// Copies is how often each session is sent.
func (p *Plan) Copies() int { return p.copies }

// Total is the number of requests to send. In mode fast with a duration it is
// how many there are at most.
func (p *Plan) Total() int { return p.total }

// InTurn says that a copy begins behind the one before it, instead of beside it.
func (p *Plan) InTurn() bool { return p.load.Mode != modeRecorded }

// Closed says that a request starts as soon as the session's last answer is
// there: there is no intended start, and latency counts from the sending.
func (p *Plan) Closed() bool { return p.load.Mode == modeFast }

// Starts are the intended starts of the requests of a copy of a session, up to
// the load's duration.
func (p *Plan) Starts(session, copy int) []time.Duration {
	base := p.starts[session]
	offset := time.Duration(copy) * p.round
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

func (p *Plan) count() int {
	if p.load.Duration == 0 || p.Closed() {
		n := 0
		for _, s := range p.starts {
			n += len(s)
		}
		return n * p.copies
	}
	n := 0
	for copy := range p.copies {
		for _, session := range p.starts {
			for _, s := range session {
				if !p.within(s + time.Duration(copy)*p.round) {
					break
				}
				n++
			}
		}
	}
	return n
}
