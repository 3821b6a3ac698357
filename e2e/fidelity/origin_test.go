package fidelity

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// retries is how often an origin is asked directly whether it also answers
// what we saw through capture, by a slower client every other time: when a
// server ends a connection with bytes unread, FIN or RST is a question of what
// has arrived.
const retries = 40

// comparison finds what a client sees through us that it never sees at the
// origin.
type comparison struct {
	cases, answered, timing atomic.Int32
}

// of compares one case.
func (n *comparison) of(k *talk, direct string, through ...string) error {
	var ways []dialer
	for _, address := range through {
		ways = append(ways, plainly(address))
	}
	return n.ways(k, plainly(direct), ways...)
}

func (n *comparison) ways(k *talk, direct dialer, through ...dialer) (faults error) {
	n.cases.Add(1)
	want := []outcome{k.by(direct)}
	if end := want[0].End; end != "EOF" && end != "reset" {
		return fmt.Errorf("%s: direct %v", k.name, want[0])
	}
	if want[0].Answer != "" {
		n.answered.Add(1)
	}
	for _, way := range through {
		got := k.by(way)
		for i := 0; i < retries && !slices.Contains(want, got); i++ {
			if i%2 == 0 {
				want = append(want, k.slowly().by(direct))
			} else {
				want = append(want, k.by(direct))
			}
		}
		if !slices.Contains(want, got) {
			faults = errors.Join(faults, fmt.Errorf("%s: through us %v; direct %v", k.name, got, unique(want)))
		}
	}
	if faults == nil && len(unique(want)) > 1 {
		n.timing.Add(1)
	}
	return faults
}

func unique(all []outcome) []outcome {
	slices.SortFunc(all, func(a, b outcome) int { return strings.Compare(a.End+a.Answer, b.End+b.Answer) })
	return slices.Compact(all)
}

// some calls f with those cases whose client reads to the end, a few at once.
func some(all []*talk, end ending, f func(*talk)) {
	next := make(chan *talk)
	var workers sync.WaitGroup
	for range 12 {
		workers.Go(func() {
			for k := range next {
				f(k)
			}
		})
	}
	for _, k := range all {
		if k.end == end {
			next <- k
		}
	}
	close(next)
	workers.Wait()
}

// TestOriginsAnswerTheSame: in every case the client sees through us the bytes
// and the end that it sees without us.
func TestOriginsAnswerTheSame(t *testing.T) {
	all := cases()
	if len(all) < 300 {
		t.Fatalf("%d cases, want 300 at least", len(all))
	}
	for _, o := range origins {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			var n comparison
			for end, patience := range map[ending]time.Duration{finish: time.Minute, listen: time.Second} {
				direct := o.start(t, patience)
				c := startCapture(t, direct)
				before := n.cases.Load()
				some(all, end, func(k *talk) {
					if err := n.of(k, direct, c.inbound(), c.outbound()); err != nil {
						t.Error(err)
					}
				})
				c.mustBeWhole(2 * int(n.cases.Load()-before))
			}
			t.Logf("%d cases, %d with an answer; in %d the origin alone gives several", n.cases.Load(), n.answered.Load(), n.timing.Load())
			if n.answered.Load() < n.cases.Load()/2 {
				t.Error("the origin answers nothing: nothing is compared")
			}
		})
	}
}
