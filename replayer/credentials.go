package replayer

import (
	"fmt"
	"strings"

	"tapedeck/events"
	"tapedeck/scenariogen/scenario"
)

// maxNamed is how many missing credentials a reason names.
const maxNamed = 50

// checkCredentials holds that all is known that the tests need to send in the
// place of tokens: a target would refuse those, and a replay of refusals
// proves nothing.
func checkCredentials(o *Options) error {
	m := o.Scenario.Manifest()
	missing := m.Missing(o.Secrets, o.Request.Transforms)
	if len(missing) == 0 {
		return nil
	}
	var named []string
	for _, c := range missing[:min(len(missing), maxNamed)] {
		named = append(named, c.String())
	}
	if more := len(missing) - maxNamed; more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%d redacted credentials are not known: %s; `tapedeck scenario secrets %s FILE` writes a file to fill in, which --secrets FILE gives to the replay",
		len(missing), strings.Join(named, "; "), m.Name)
}

// hideInMocks hides what mocks were sent that did not know the secrets.
func hideInMocks(s *scenario.Secrets, all []events.MockResult) {
	for i := range all {
		for n := range all[i].Misses {
			miss := &all[i].Misses[n]
			miss.Path = s.Hide(miss.Path)
			for d := range miss.Diffs {
				miss.Diffs[d].Want, miss.Diffs[d].Got = s.Hide(miss.Diffs[d].Want), s.Hide(miss.Diffs[d].Got)
			}
		}
	}
}
