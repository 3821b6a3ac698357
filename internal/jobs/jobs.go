// Package jobs is the truth about commands: a command message only wakes a
// worker, and a key in the JOBS bucket, created once, says who does the job
// and whether it is done. A worker that dies leaves its lease behind; another
// one takes it over when it has seen it unchanged for LeaseAge by its own
// clock, so no clocks are compared.
package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
)

// LeaseAge is how long a lease may stay unchanged before its holder counts as
// dead; a holder renews it every third of that.
const LeaseAge = 10 * time.Second

// State is what became of a claim.
type State int

// The states.
const (
	Held     State = iota // another worker does it, or may: come back later
	Claimed               // it is ours now
	Finished              // it is done: its answer was sent
)

// Record is the value of a key.
type Record struct {
	Owner    string          `json:"owner"`
	Renewed  int             `json:"renewed"` // times
	Finished bool            `json:"finished,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"` // of a finished job, what its worker wrote
}

// Jobs claims jobs for one worker. It is safe for concurrent use.
type Jobs struct {
	kv    jetstream.KeyValue
	owner string
	age   time.Duration

	mutex sync.Mutex
	seen  map[string]sighting // leases of others
}

type sighting struct {
	revision uint64
	since    time.Time
}

// maxSeen bounds the leases of others that are remembered.
const maxSeen = 10_000

// Open opens the bucket; owner names this process, and no other.
func Open(ctx context.Context, js jetstream.JetStream, owner string) (*Jobs, error) {
	kv, err := js.KeyValue(ctx, events.BucketJobs)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", events.BucketJobs, err)
	}
	return &Jobs{kv: kv, owner: owner, age: LeaseAge, seen: map[string]sighting{}}, nil
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// Key is the key of a job: the kind ("scenario"), then its id, hashed where a
// key cannot hold it.
func Key(kind, id string) string {
	if !plainID.MatchString(id) {
		sum := sha256.Sum256([]byte(id))
		id = "=" + hex.EncodeToString(sum[:16])
	}
	return kind + "." + id
}

// Lease is a job that is ours.
type Lease struct {
	jobs *Jobs
	key  string

	mutex    sync.Mutex
	record   Record
	revision uint64
}

// Claim creates the key of a job, or takes it over from a dead worker.
func (j *Jobs) Claim(ctx context.Context, key string) (State, *Lease, error) {
	l := &Lease{jobs: j, key: key, record: Record{Owner: j.owner}}
	revision, err := j.kv.Create(ctx, key, l.record.encode())
	if err == nil {
		l.revision = revision
		return Claimed, l, nil
	}
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return Held, nil, fmt.Errorf("claim job %s: %w", key, err)
	}
	entry, err := j.kv.Get(ctx, key)
	if err != nil {
		return Held, nil, fmt.Errorf("claim job %s: %w", key, err)
	}
	var there Record
	if err := json.Unmarshal(entry.Value(), &there); err != nil {
		return Held, nil, fmt.Errorf("claim job %s: its record: %w", key, err)
	}
	if there.Finished {
		return Finished, nil, nil
	}
	if !j.abandoned(key, entry.Revision()) {
		return Held, nil, nil
	}
	l.revision, err = j.kv.Update(ctx, key, l.record.encode(), entry.Revision())
	if isConflict(err) {
		return Held, nil, nil
	}
	if err != nil {
		return Held, nil, fmt.Errorf("take over job %s: %w", key, err)
	}
	return Claimed, l, nil
}

// abandoned says that the lease has not changed for long enough.
func (j *Jobs) abandoned(key string, revision uint64) bool {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	s, known := j.seen[key]
	if known && s.revision == revision {
		return time.Since(s.since) >= j.age
	}
	if len(j.seen) >= maxSeen {
		clear(j.seen)
	}
	j.seen[key] = sighting{revision, time.Now()}
	return false
}

func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

func (r *Record) encode() []byte {
	b, _ := json.Marshal(r) // plain fields always encode
	return b
}

// ErrLost says that another worker has taken the job over.
var ErrLost = errors.New("the job was taken over by another worker")

// Keep renews the lease until the returned context is done or stop is called.
// The context ends, with ErrLost as its cause, when the job is not ours any
// more.
func (l *Lease) Keep(ctx context.Context) (kept context.Context, stop func()) {
	kept, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(l.jobs.age / 3)
		defer tick.Stop()
		for {
			select {
			case <-kept.Done():
				return
			case <-tick.C:
			}
			if err := l.renew(kept); isConflict(err) {
				cancel(ErrLost)
				return
			}
		}
	}()
	return kept, func() { cancel(nil); <-done }
}

// renew may fail while the server is away: the next one makes up for it.
func (l *Lease) renew(ctx context.Context) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.record.Renewed++
	return l.put(ctx)
}

// put writes the record. An update whose answer was lost looks like one of
// somebody else: the record tells them apart, so owners must differ.
func (l *Lease) put(ctx context.Context) error {
	revision, err := l.jobs.kv.Update(ctx, l.key, l.record.encode(), l.revision)
	if isConflict(err) {
		entry, getErr := l.jobs.kv.Get(ctx, l.key)
		var there Record
		if getErr != nil || json.Unmarshal(entry.Value(), &there) != nil || there.Owner != l.record.Owner {
			return err
		}
		revision, err = l.jobs.kv.Update(ctx, l.key, l.record.encode(), entry.Revision())
	}
	if err == nil {
		l.revision = revision
	}
	return err
}

// Finish says that the job is done for ever, with a result for those who ask.
func (l *Lease) Finish(ctx context.Context, result any) error {
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("finish job %s: %w", l.key, err)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.record.Finished, l.record.Result = true, raw
	if err := l.put(ctx); isConflict(err) {
		return fmt.Errorf("finish job %s: %w", l.key, ErrLost)
	} else if err != nil {
		return fmt.Errorf("finish job %s: %w", l.key, err)
	}
	return nil
}

// Release gives the job back, so that the next delivery can do it at once.
func (l *Lease) Release(ctx context.Context) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if err := l.jobs.kv.Delete(ctx, l.key, jetstream.LastRevision(l.revision)); err != nil && !isConflict(err) {
		return fmt.Errorf("release job %s: %w", l.key, err)
	}
	return nil
}
