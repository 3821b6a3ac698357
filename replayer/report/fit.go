package report

import (
	"encoding/json"
	"unicode/utf8"

	"tapedeck/events"
)

// Fit cuts a result so that its JSON is at most MaxResult bytes: first the
// long texts, then the lists, evenly. Counts stay whole.
func Fit(r events.ReplayResult) events.ReplayResult {
	r.Endpoints = clipped(r.Endpoints, maxEndpoints)
	for i := range r.Endpoints {
		r.Endpoints[i].Method, r.Endpoints[i].Template = cut(r.Endpoints[i].Method), cut(r.Endpoints[i].Template)
	}
	r.Misses = fitMisses(r.Misses)
	mocks := make([]events.MockResult, len(r.Mocks))
	for i, m := range r.Mocks {
		m.Misses = clipped(m.Misses, 20)
		for j := range m.Misses {
			m.Misses[j].Path = cut(m.Misses[j].Path)
			m.Misses[j].Diffs = fitDiffs(m.Misses[j].Diffs)
		}
		mocks[i] = m
	}
	r.Mocks = mocks
	for least := 8; size(r) > MaxResult && least >= 0; {
		if !halve(&r, least) {
			least -= 8
		}
	}
	return r
}

// halve halves the lists that are longer than least; false: none is.
func halve(r *events.ReplayResult, least int) bool {
	halved := false
	for i := range r.Mocks {
		if m := &r.Mocks[i]; len(m.Misses) > least/8 {
			m.Misses, halved = m.Misses[:len(m.Misses)/2], true
		}
	}
	if len(r.Misses) > least {
		r.Misses, halved = r.Misses[:len(r.Misses)/2], true
	}
	if len(r.Endpoints) > least {
		r.Endpoints, halved = r.Endpoints[:len(r.Endpoints)/2], true
	}
	return halved
}

func size(r events.ReplayResult) int {
	b, err := json.Marshal(r)
	if err != nil {
		return 0 // a result always has a JSON form
	}
	return len(b)
}

func fitMisses(all []events.Miss) []events.Miss {
	var fit []events.Miss
	for _, m := range clipped(all, maxMisses) {
		m.Path, m.Endpoint, m.Failure, m.Diffs = cut(m.Path), cut(m.Endpoint), cut(m.Failure), fitDiffs(m.Diffs)
		fit = append(fit, m)
	}
	return fit
}

func fitDiffs(all []events.Difference) []events.Difference {
	var fit []events.Difference
	for _, d := range events.HideSecrets(clipped(all, maxDiffs)) {
		fit = append(fit, events.Difference{Place: cut(d.Place), Want: cut(d.Want), Got: cut(d.Got)})
	}
	return fit
}

// clipped is a copy of the first n.
func clipped[T any](all []T, n int) []T {
	return append([]T(nil), all[:min(n, len(all))]...)
}

// cut shortens a text at a character.
func cut(s string) string {
	if len(s) <= maxValue {
		return s
	}
	end := maxValue
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
