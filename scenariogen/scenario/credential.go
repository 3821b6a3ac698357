package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"tapedeck/events"
)

// Credential is a redacted value that tests send and that no earlier answer of
// their session gave: whoever replays them has to know it.
type Credential struct {
	Token string `json:"token"` // what stands for it
	Class string `json:"class,omitempty"`
	// Needed says that a replay can't do without it: a password, a key, a
	// cookie, and the name beside a password. What is not needed is sent as its
	// token where it is not given.
	Needed bool     `json:"needed,omitempty"`
	Places []string `json:"places"` // "POST /login request.body.$.password", the first few
	Tests  int      `json:"tests"`  // that send it
}

const (
	maxCredentials = 10_000 // that a scenario lists
	maxPlaces      = 5      // of one credential
	credential     = "credential"
)

// String names the credential and where it is sent.
func (c *Credential) String() string { return c.Token + " (" + strings.Join(c.Places, ", ") + ")" }

// credentialList gathers those of all sessions.
type credentialList struct {
	known map[string]*Credential
	list  []*Credential
	more  bool // than are listed
}

// add gathers what the tests of a session send.
func (c *credentialList) add(s *Session) {
	for i, t := range s.Tests {
		sent := unlinked(s, i)
		login := slices.ContainsFunc(sent, sentValue.isLogin)
		seen := map[string]bool{}
		for _, v := range sent {
			k := c.of(v.redacted)
			if k == nil {
				continue
			}
			k.Needed = k.Needed || isAccepted(t) && (v.class == credential || login && !v.inHead())
			place := v.place
			if !isPathPlace(place) {
				place = anyIndex(place)
			}
			place = endpointOf(t) + " " + place
			if len(k.Places) < maxPlaces && !slices.Contains(k.Places, place) {
				k.Places = append(k.Places, place)
			}
			if !seen[v.token] {
				seen[v.token] = true
				k.Tests++
			}
		}
	}
}

func (c *credentialList) of(r redacted) *Credential {
	if k := c.known[r.token]; k != nil {
		return k
	}
	if len(c.list) == maxCredentials {
		c.more = true
		return nil
	}
	if c.known == nil {
		c.known = map[string]*Credential{}
	}
	k := &Credential{Token: r.token, Class: r.class}
	c.known[r.token], c.list = k, append(c.list, k)
	return k
}

// sorted puts what is needed first, otherwise in the order of use.
func (c *credentialList) sorted() []Credential {
	var all []Credential
	for _, k := range c.list {
		all = append(all, *k)
	}
	slices.SortStableFunc(all, func(a, b Credential) int {
		if a.Needed == b.Needed {
			return 0
		}
		return cmp.Compare(fmt.Sprint(b.Needed), fmt.Sprint(a.Needed))
	})
	return all
}

// sentValue is a redacted value of a request, and where it stands.
type sentValue struct {
	redacted
	place string
}

func (v sentValue) inHead() bool {
	return strings.HasPrefix(v.place, "request.header.") || strings.HasPrefix(v.place, "request.cookie.")
}

// isLogin says that a request that sends it says who somebody is: what stands
// beside a password is the name to it.
func (v sentValue) isLogin() bool { return v.class == credential && !v.inHead() }

// unlinked are the redacted values of request i that no earlier answer gave.
func unlinked(s *Session, i int) []sentValue {
	x := s.Tests[i].Exchange
	var all []sentValue
	for _, l := range requestLeaves(x.GetRequest()) {
		if strings.HasPrefix(l.place, "request.header.") && plainRequestHeader(l.key) {
			continue
		}
		for _, r := range redactedIn(x, l) {
			linked := slices.ContainsFunc(s.Links, func(k *Link) bool {
				return int(k.To) == i && k.ToPlace == l.place && (k.Recorded == r.token || k.Recorded == l.value)
			})
			if !linked {
				all = append(all, sentValue{r, l.place})
			}
		}
	}
	return all
}

// isAccepted is false for a request that was refused because of who sent it:
// it is refused with a token as well.
func isAccepted(t *Test) bool {
	status := t.Exchange.GetResponse().GetStatus()
	return status != "401" && status != "403" && status != "407"
}

func endpointOf(t *Test) string {
	q := t.Exchange.GetRequest()
	path, _, _ := strings.Cut(q.GetTarget(), "?")
	return q.GetMethod() + " " + cmp.Or(t.Template, originForm(path))
}

// note lists what was gathered.
func (m *Manifest) note(c *credentialList) {
	m.Credentials = c.sorted()
	if c.more {
		m.Warnings = append(m.Warnings, fmt.Sprintf("only the first %d redacted values that tests send are listed", maxCredentials))
	}
}

// Missing are the credentials that a replay of the scenario can't do without
// and that are neither among the secrets nor set by a transform.
func (m *Manifest) Missing(s *Secrets, transforms []events.Transform) []Credential {
	if s != nil && s.waived {
		return nil
	}
	var missing []Credential
	for _, c := range m.Credentials {
		if _, given := s.Value(c.Token); c.Needed && !given && !isSet(c, transforms) {
			missing = append(missing, c)
		}
	}
	return missing
}

// isSet says that transforms write something else to all places of c.
func isSet(c Credential, transforms []events.Transform) bool {
	return len(c.Places) < maxPlaces && !slices.ContainsFunc(c.Places, func(place string) bool {
		return !slices.ContainsFunc(transforms, func(t events.Transform) bool { return strings.HasSuffix(place, " "+t.Place) })
	})
}
