package replayer

import (
	"errors"
	"fmt"

	"tapedeck/events"
)

// checkRequest refuses what can't be done, so that nothing that was asked for
// is left out in silence.
func checkRequest(r *events.ReplayRequest) error {
	switch {
	case r.Target == "":
		return errors.New("request without a target")
	case len(r.Chaos) > 0:
		return errors.New("chaos rules can't be applied by this version")
	}
	return checkID(r.ID)
}

// checkID holds that an id fits into a header and a key.
func checkID(id string) error {
	if id == "" || len(id) > 128 {
		return fmt.Errorf("id of the replay has %d characters, want 1 to 128", len(id))
	}
	for _, c := range id {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("id %q of the replay has characters beside printable ASCII", id)
		}
	}
	return nil
}
