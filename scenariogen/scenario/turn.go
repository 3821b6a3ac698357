package scenario

import (
	"fmt"
	"slices"
	"strings"
)

// turns are the sessions on each connection, by the redaction key of their
// tokens and in order of their start. A client whose credential is a token is
// another session behind the turn of the key: what shows that it goes on is its
// connection.
type turns map[[16]byte][]keySession

type keySession struct{ key, session string }

// maxTurns bounds the sessions of one connection: that of a gateway carries
// those of everybody, and tells of none.
const maxTurns = 3

func (t turns) add(connection []byte, key, session string) {
	if key == "" || len(connection) != 16 {
		return
	}
	at, k := [16]byte(connection), keySession{key, session}
	if all := t[at]; len(all) < maxTurns && !slices.Contains(all, k) {
		t[at] = append(all, k)
	}
}

// cuts are the sessions that go on as others behind the turn of a key, where a
// connection carries one session before it and one behind it.
func (t turns) cuts() []Cut {
	var cuts []Cut
	for _, all := range t {
		if len(all) != 2 || all[0].key == all[1].key || all[0].session == all[1].session {
			continue
		}
		c := Cut{all[1].session, turned(all[0].key, all[1].key) + "; it was session " + all[0].session + " before"}
		if !slices.ContainsFunc(cuts, func(o Cut) bool { return o.Session == c.Session }) {
			cuts = append(cuts, c)
		}
	}
	slices.SortFunc(cuts, func(x, y Cut) int { return strings.Compare(x.Session, y.Session) })
	return cuts
}

func turned(from, to string) string {
	return fmt.Sprintf("the redaction key turned from %s to %s", from, to)
}
