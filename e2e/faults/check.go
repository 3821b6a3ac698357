package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
)

// inMemory is how old an answer may be that a killed capture had not stored
// anywhere: a tape's age, and the time that publishing may take before the
// spool gets it.
const inMemory = 10 * time.Second

// oracle is what must be true of the stores.
type oracle struct {
	answered map[int]answer
	reached  map[int]int
	killed   map[string]time.Time // lives of captures, and when
	wrong    []string
	poisons  []bool // sent, and whether the broker said that it has it
}

func (s *stack) oracle(l *load) oracle {
	o := oracle{answered: l.answered, reached: l.reached, killed: map[string]time.Time{}, wrong: l.wrong, poisons: s.poisons.acked}
	for _, c := range s.captures {
		for _, one := range c.lives {
			if sig, at := one.ending(); sig == syscall.SIGKILL {
				o.killed[one.name] = at
			}
		}
	}
	return o
}

// check names everything that is not as promised.
func check(o oracle, e *evidence) []string {
	found := slices.Clone(o.wrong)
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	found = append(found, e.corrupt...)
	for _, letter := range e.dead {
		say("a dead letter: %s", letter)
	}
	found = append(found, poisoned(o.poisons, e.letters)...)
	if e.spooled > 0 || e.waiting > 0 {
		say("%d tapes are still spooled, %d messages still in the streams", e.spooled, e.waiting)
	}
	for n, times := range o.reached {
		if times > 1 {
			say("the origin saw request %d %d times", n, times)
		}
	}
	found = append(found, once(o, e)...)
	found = append(found, losses(o, e)...)
	for _, a := range e.accounts {
		found = append(found, uneven(a, o.killed)...)
	}
	return found
}

// once compares archive and index, exchange by exchange.
func once(o oracle, e *evidence) (found []string) {
	for n, ids := range e.archived {
		if len(ids) > 1 {
			found = append(found, fmt.Sprintf("request %d is in the archive as %d exchanges", n, len(ids)))
		}
		for _, id := range ids {
			if !slices.Contains(e.indexed[n], id) {
				found = append(found, fmt.Sprintf("request %d, exchange %s is in the archive and not in the index", n, id))
			}
		}
	}
	for n, rows := range e.indexed {
		if len(rows) > 1 {
			found = append(found, fmt.Sprintf("request %d has %d rows", n, len(rows)))
		}
		for _, id := range rows {
			if !slices.Contains(e.archived[n], id) {
				found = append(found, fmt.Sprintf("request %d, exchange %s is in the index and not in the archive", n, id))
			}
		}
	}
	return found
}

// lost are the answered requests that are in neither store, by capture.
func lost(o oracle, e *evidence) map[string][]int {
	by := map[string][]int{}
	for n, a := range o.answered {
		if len(e.archived[n]) == 0 && len(e.indexed[n]) == 0 {
			by[a.life] = append(by[a.life], n)
		}
	}
	return by
}

// losses holds what is lost against the reasons there may be: counted by the
// capture, or in the memory of one that was killed.
func losses(o oracle, e *evidence) (found []string) {
	dropped := map[string]int{}
	for _, a := range e.accounts {
		dropped[a.Instance] += int(a.Dropped)
	}
	for life, numbers := range lost(o, e) {
		killed, wasKilled := o.killed[life]
		unexcused := 0
		for _, n := range numbers {
			if !wasKilled || o.answered[n].at.Before(killed.Add(-inMemory)) {
				unexcused++
			}
		}
		if unexcused > dropped[life] {
			found = append(found, fmt.Sprintf("%s lost %d answered exchanges and counted %d as dropped: %v", life, unexcused, dropped[life], numbers[:min(5, len(numbers))]))
		}
	}
	for life, n := range e.partial {
		if dropped[life] == 0 && o.killed[life].IsZero() {
			found = append(found, fmt.Sprintf("%s: %d bodies have pieces missing", life, n))
		}
	}
	return found
}

// uneven says why an account does not add up.
func uneven(a traffic.Account, killed map[string]time.Time) (found []string) {
	say := func(what string, n int64) {
		if n != 0 {
			found = append(found, fmt.Sprintf("account of %s: %s %d (%+v)", a.Instance, what, n, a))
		}
	}
	say("unaccounted", a.Unaccounted())
	say("dead", a.Dead)
	say("not archived", a.Unarchived)
	say("fewer taped than indexed:", min(a.Missing, 0))
	if _, ok := killed[a.Instance]; ok {
		return found // what it had in memory is missing
	}
	say("missing", max(a.Missing, 0))
	if a.Ended {
		say("open at its end", a.Open)
	}
	return found
}

// summary says what came of the load.
func summary(o oracle, l *load, e *evidence) string {
	count := func(m map[int][]events.ID) (n int) {
		for _, ids := range m {
			n += len(ids)
		}
		return n
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d answered, %d exchanges archived, %d rows; clients: %d dials refused, broken %v\n",
		len(l.answered), count(e.archived), count(e.indexed), l.refused, l.broken)
	total, missing, drops := 0, int64(0), map[string]int64{}
	for life, numbers := range lost(o, e) {
		total += len(numbers)
		fmt.Fprintf(&b, "%s: %d answered exchanges are lost", life, len(numbers))
		if killed, ok := o.killed[life]; ok {
			fmt.Fprintf(&b, "; killed %.1f s after the oldest of them", killed.Sub(oldest(o, numbers)).Seconds())
		}
		b.WriteString("\n")
	}
	for _, a := range e.accounts {
		missing += a.Missing
		for reason, n := range a.Drops {
			drops[reason] += n
		}
	}
	var reasons []string
	for _, reason := range slices.Sorted(maps.Keys(drops)) {
		reasons = append(reasons, fmt.Sprintf("%s %d", reason, drops[reason]))
	}
	fmt.Fprintf(&b, "lost %d in all; %d accounts: missing %d, dropped %v; bodies with pieces missing %v\n", total, len(e.accounts), missing, reasons, e.partial)
	return b.String()
}

func oldest(o oracle, numbers []int) time.Time {
	first := o.answered[numbers[0]].at
	for _, n := range numbers {
		if at := o.answered[n].at; at.Before(first) {
			first = at
		}
	}
	return first
}
