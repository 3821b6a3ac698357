package main

import (
	"strings"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
)

// even is a run in which nothing is wrong: one request that was answered and
// recorded, and the account of its capture.
func even() (oracle, *evidence) {
	id := events.NewID(time.Unix(1, 0))
	o := oracle{
		answered: map[int]answer{1: {"shop-1", time.Unix(1, 0)}},
		reached:  map[int]int{1: 1},
		killed:   map[string]time.Time{},
	}
	account := traffic.Account{Instance: "shop-1", Ended: true, Begun: 1, Indexed: 1, Tapes: 1}
	return o, &evidence{
		archived: map[int][]events.ID{1: {id}}, indexed: map[int][]events.ID{1: {id}},
		partial: map[string]int{}, accounts: []traffic.Account{account},
	}
}

func TestCheckIsContent(t *testing.T) {
	if found := check(even()); len(found) > 0 {
		t.Errorf("found %v", found)
	}
}

// Each of these is one thing that faults must never do.
func TestCheckNotices(t *testing.T) {
	other := events.NewID(time.Unix(2, 0))
	for _, test := range []struct {
		name, want string
		harm       func(*oracle, *evidence)
	}{
		{"lost", "lost 1 answered", func(_ *oracle, e *evidence) { clear(e.archived); clear(e.indexed) }},
		{"not indexed", "not in the index", func(_ *oracle, e *evidence) { clear(e.indexed) }},
		{"not archived", "not in the archive", func(_ *oracle, e *evidence) { clear(e.archived) }},
		{"two rows", "has 2 rows", func(_ *oracle, e *evidence) { e.indexed[1] = append(e.indexed[1], e.indexed[1][0]) }},
		{"two exchanges", "as 2 exchanges", func(_ *oracle, e *evidence) {
			e.archived[1] = append(e.archived[1], other)
			e.indexed[1] = append(e.indexed[1], other)
		}},
		{"relayed twice", "saw request 1 2 times", func(o *oracle, _ *evidence) { o.reached[1] = 2 }},
		{"a client's error", "reset", func(o *oracle, _ *evidence) { o.wrong = []string{"reset"} }},
		{"dead letter", "a dead letter: of a tape", func(_ *oracle, e *evidence) { e.dead = []string{"of a tape"} }},
		{"poison without a letter", "poison 0, of kind 0, is 0 times", func(o *oracle, _ *evidence) { o.poisons = []bool{true} }},
		{"two letters of one poison", "poison 0, of kind 0, is 2 times", func(o *oracle, e *evidence) { o.poisons, e.letters = []bool{true}, map[int]int{0: 2} }},
		{"stuck spool", "still spooled", func(_ *oracle, e *evidence) { e.spooled = 1 }},
		{"other bytes", "not the origin's", func(_ *oracle, e *evidence) { e.corrupt = []string{"not the origin's"} }},
		{"pieces", "pieces missing", func(_ *oracle, e *evidence) { e.partial["shop-1"] = 1 }},
		{"missing", "missing 1", func(_ *oracle, e *evidence) { e.accounts[0].Missing, e.accounts[0].Begun = 1, 2 }},
		{"unaccounted", "unaccounted 1", func(_ *oracle, e *evidence) { e.accounts[0].Begun = 2 }},
		{"more indexed than taped", "fewer taped", func(_ *oracle, e *evidence) { e.accounts[0].Missing = -1 }},
		{"place unknown", "not archived 1", func(_ *oracle, e *evidence) { e.accounts[0].Unarchived = 1 }},
		{"lost long before the kill", "lost 1 answered", func(o *oracle, e *evidence) {
			clear(e.archived)
			clear(e.indexed)
			o.killed["shop-1"] = time.Unix(1, 0).Add(inMemory + time.Second)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, e := even()
			test.harm(&o, e)
			found := check(o, e)
			if !strings.Contains(strings.Join(found, "\n"), test.want) {
				t.Errorf("found %v, want %q", found, test.want)
			}
		})
	}
}

func TestCheckExcuses(t *testing.T) {
	for name, excuse := range map[string]func(*oracle, *evidence){
		"in the memory of a killed capture": func(o *oracle, _ *evidence) { o.killed["shop-1"] = time.Unix(2, 0) },
		"counted as dropped": func(_ *oracle, e *evidence) {
			e.accounts[0].Dropped, e.accounts[0].Indexed = 1, 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, e := even()
			clear(e.archived)
			clear(e.indexed)
			excuse(&o, e)
			if found := check(o, e); len(found) > 0 {
				t.Errorf("found %v", found)
			}
		})
	}
}
