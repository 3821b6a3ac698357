package traffic

import "sync"

// known remembers which dictionary rows are in the database. It is filled
// after their commit only, so it never claims what is not there.
type known struct {
	mu  sync.Mutex
	ids map[int64]bool
}
