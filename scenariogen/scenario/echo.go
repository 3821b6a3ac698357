package scenario

import (
	"slices"
	"strings"
)

// Echoes are the places of a recorded response that repeat a place of its
// request: a mock answers with the live value there. What has the same name
// on both sides is a repetition; what has not must be unlikely to be the same
// by chance.
func Echoes(k *Mock) []*Echo {
	asked := requestLeaves(k.Exchange.GetRequest())
	asked = slices.DeleteFunc(asked, func(l leaf) bool { return !isInsertion(l) && !isNamed(l) })
	if len(asked) == 0 {
		return nil
	}
	byValue := map[string][]leaf{}
	for _, l := range asked {
		byValue[l.value] = append(byValue[l.value], l)
	}
	var out []*Echo
	for _, l := range responseLeaves(k.Exchange.GetResponse()) {
		if !canEcho(l) {
			continue
		}
		if from, ok := echoed(byValue[l.value], l); ok {
			out = append(out, &Echo{From: from.place, To: l.place, Recorded: l.value})
		}
	}
	return out
}

// isNamed says that a leaf is a value under a name in a query or body.
func isNamed(l leaf) bool {
	return l.key != "" && l.value != "" && (l.kind == kindText || l.kind == kindNumber) && !strings.HasPrefix(l.place, "request.header.")
}

func canEcho(l leaf) bool {
	if l.kind != kindText && l.kind != kindNumber || l.value == "" {
		return false
	}
	if strings.HasPrefix(l.place, "response.header.") {
		return tellingHeader(l.key)
	}
	return strings.HasPrefix(l.place, "response.body.$")
}

func echoed(asked []leaf, answer leaf) (leaf, bool) {
	for _, q := range asked {
		if q.key != "" && strings.EqualFold(q.key, answer.key) {
			return q, true
		}
	}
	for _, q := range asked {
		if isDigits(answer.value) && len(answer.value) < 6 {
			if isPathPlace(q.place) && isIDKey(answer.key) || isIDKey(q.key) && isIDKey(answer.key) {
				return q, true
			}
			continue
		}
		if len(answer.value) >= 6 && strings.ContainsAny(answer.value, "0123456789") {
			return q, true
		}
	}
	return leaf{}, false
}
