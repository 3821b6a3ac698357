package cause

import "sync"

const (
	// maxOpen bounds the inbound exchanges that are known: one that comes when
	// there are more takes the place of another.
	maxOpen = 1024
	// maxEnded is how many are remembered that have ended: a call may go on
	// without anyone waiting for it.
	maxEnded = 128
	// maxLate is how many of them are looked at that ended before the call began.
	maxLate = 16
	// grace is how long after an exchange's end a call may still be its effect.
	grace = int64(1e9)
)

// table holds the inbound exchanges that are open, and the last that ended.
type table struct {
	mu    sync.Mutex
	open  []*Inbound
	next  int // to lose its place
	ended [maxEnded]*Inbound
	n     int // ended so far
}

func (t *table) add(c *Inbound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) < maxOpen {
		c.place = len(t.open)
		t.open = append(t.open, c)
		return
	}
	c.place = t.next
	t.open[c.place] = c
	t.next = (t.next + 1) % maxOpen
}

func (t *table) end(c *Inbound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended[t.n%maxEnded] = c
	t.n++
	if c.place >= len(t.open) || t.open[c.place] != c {
		return // it has lost its place
	}
	last := len(t.open) - 1
	t.open[c.place] = t.open[last]
	t.open[c.place].place = c.place
	t.open[last] = nil
	t.open = t.open[:last]
}

// before appends those that a call which began at begun may be an effect of.
func (t *table) before(to []*Inbound, begun int64) []*Inbound {
	t.mu.Lock()
	to = append(to, t.open...)
	for i := t.n - 1; i >= max(0, t.n-maxEnded); i-- {
		to = append(to, t.ended[i%maxEnded])
	}
	t.mu.Unlock()
	could, late := to[:0], 0
	for _, c := range to {
		ended := c.ended.Load()
		if c.begun >= begun || ended != 0 && ended <= begun-grace {
			continue
		}
		if ended != 0 && ended < begun {
			if late++; late > maxLate {
				continue
			}
		}
		could = append(could, c)
	}
	return could
}
