package tapes

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tapedeck/events"
)

// Tombstones are the exchanges that were purged. Each purge writes them in
//
//	tombstones/<purge id>
//
// before it touches anything else, and its id into purges/ when it is done. Who
// reads an exchange, a tape or a scenario leaves out what has a tombstone, and
// so does who writes them: what arrives late is not let in any more.
const (
	tombstonesRoot = "tombstones/"
	purgesRoot     = "purges/" // of those that are done
	// TombstoneAge is for how long a process may not have heard of a tombstone.
	TombstoneAge = time.Second
	maxPurge     = 64 << 20 // bytes of an object of tombstones
)

// ErrPurged is wrapped when an exchange was purged. It wraps ErrNotFound.
var ErrPurged = fmt.Errorf("the exchange was purged: %w", ErrNotFound)

// Tombstone says that an exchange was purged.
type Tombstone struct {
	Exchange events.ID
	Time     time.Time   // of its row in the index
	Tapes    []events.ID // that may hold something of it, sorted
}

// Gone are the ids of purged exchanges.
type Gone map[events.ID]struct{}

// Has says whether an exchange was purged.
func (g Gone) Has(id events.ID) bool {
	_, has := g[id]
	return has
}

// Tombstones reads the tombstones of a bucket, again when it is asked and knows
// them for longer than TombstoneAge. It is safe for concurrent use.
type Tombstones struct {
	bucket Bucket
	mu     sync.Mutex
	at     time.Time
	read   map[string]bool
	gone   Gone
}

// NewTombstones makes a reader of a bucket's tombstones.
func NewTombstones(b Bucket) *Tombstones { return &Tombstones{bucket: b, read: map[string]bool{}} }

// Load returns all that were purged. The result is not to be changed.
func (t *Tombstones) Load(ctx context.Context) (Gone, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.at) < TombstoneAge {
		return t.gone, nil
	}
	at := time.Now()
	for o, err := range t.bucket.List(ctx, tombstonesRoot) {
		if err != nil {
			return nil, fmt.Errorf("read tombstones: %w", err)
		}
		if t.read[o.Key] {
			continue
		}
		list, err := readTombstones(ctx, t.bucket, o.Key)
		if err != nil {
			return nil, err
		}
		t.add(o.Key, list)
	}
	t.at = at
	return t.gone, nil
}

// add puts what an object says into the set, which others may be reading.
func (t *Tombstones) add(key string, list []Tombstone) {
	gone := maps.Clone(t.gone)
	if gone == nil {
		gone = Gone{}
	}
	for _, s := range list {
		gone[s.Exchange] = struct{}{}
	}
	t.gone, t.read[key] = gone, true
}

func (t *Tombstones) check(ctx context.Context, id events.ID) error {
	gone, err := t.Load(ctx)
	if err == nil && gone.Has(id) {
		err = ErrPurged
	}
	return err
}

// Purged are the exchanges that were purged. It is not to be changed.
func (a *Archive) Purged(ctx context.Context) (Gone, error) { return a.purged.Load(ctx) }

// PurgedOf are the exchanges that have tombstones in a bucket.
func PurgedOf(ctx context.Context, b Bucket) (Gone, error) {
	if a, ok := b.(*Archive); ok {
		return a.Purged(ctx)
	}
	return NewTombstones(b).Load(ctx)
}

// Kept is a tape without what was purged of it, the same one if nothing was.
func (a *Archive) Kept(ctx context.Context, t *events.Tape) (*events.Tape, error) {
	gone, err := a.purged.Load(ctx)
	if err != nil || len(gone) == 0 {
		return t, err
	}
	return t.Without(gone.Has)
}

func readTombstones(ctx context.Context, b Bucket, key string) ([]Tombstone, error) {
	raw, err := b.Get(ctx, key, 0, maxPurge)
	if err != nil {
		return nil, fmt.Errorf("read tombstones: %w", err)
	}
	list, err := parseTombstones(raw)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return list, nil
}

var errTombstones = errors.New("not a list of tombstones")

// parseTombstones reads one tombstone a line: the id of the exchange, its time
// in Unix µs, the tapes.
func parseTombstones(raw []byte) (list []Tombstone, err error) {
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, maxPurge+1)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			return nil, fmt.Errorf("%w: line %d", errTombstones, len(list)+1)
		}
		micros, err := strconv.ParseInt(fields[1], 10, 64)
		s := Tombstone{Time: time.UnixMicro(micros).UTC()}
		for i, field := range slices.Delete(fields, 1, 2) {
			id, idErr := events.ParseID(field)
			err = errors.Join(err, idErr)
			if i == 0 {
				s.Exchange = id
			} else {
				s.Tapes = append(s.Tapes, id)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", errTombstones, len(list)+1, err)
		}
		list = append(list, s)
	}
	return list, lines.Err()
}

func formatTombstones(list []Tombstone) []byte {
	var b bytes.Buffer
	for _, s := range list {
		fmt.Fprintf(&b, "%s %d", s.Exchange, s.Time.UnixMicro())
		for _, tape := range s.Tapes {
			fmt.Fprintf(&b, " %s", tape)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}
