// Package tapes reads and writes tapes in the archive: an S3 bucket or a
// directory. Nothing else builds or resolves the place of a tape.
//
// A tape lies alone, in
//
//	tapes/<cluster>/<namespace>/<service>/<yyyy>/<mm>/<dd>/<hh>/<tape id>.tape
//
// or with others of its namespace in a reel (see reeltable.go), in
//
//	reels/<cluster>/<namespace>/<yyyy>/<mm>/<dd>/<hh>/<reel id>_<oldest tape, Unix ms>.reel
//
// The time is that of the id, in UTC; each name is an events.Token. Objects are
// written once and never changed. A tape that is in the archive twice, after a
// redelivery, is harmless: both copies have the same bytes.
//
// A purge removes exchanges, see tombstone.go: from then on readers do not find
// them. What is left of a tape then lies in a reel of the same hour, which is
// where a reader looks when the object that it knew is gone.
//
// Readers get an error wrapping events.ErrTape for objects that are damaged,
// cut off or not what their place says, never a panic and never other bytes
// than were written.
package tapes

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"tapedeck/events"
)

// ErrNotArchived is wrapped when a tape is not in the archive (yet): the
// archiver may be behind.
var ErrNotArchived = errors.New("not archived yet")

// Archive is where tapes, scenarios and replays lie. It is safe for concurrent
// use.
type Archive struct {
	Bucket

	// Ledger finds the place of a tape in an index, where there is one. Find
	// asks it before it looks through the archive; an error wrapping
	// ErrNotArchived, as any other, only means that it does not know.
	Ledger func(ctx context.Context, tape events.ID) (Place, error)

	places *cache[events.ID, Place]
	fronts *cache[Place, *events.Front]
	tables *cache[string, []reelEntry]
	purged *Tombstones
}

// Place is where a tape lies.
type Place struct {
	Object string // key in the archive
	Offset int64  // of its first byte in the object
	Length int64  // bytes; 0: not known
}

// Open opens the archive that --archive names: "s3://bucket/prefix" with
// endpoint, region and path-style as parameters and credentials from the AWS_*
// environment, "file:///folder", or a folder's path. A folder is made when it
// is missing; S3 is not asked anything yet.
func Open(_ context.Context, location string) (*Archive, error) {
	bucket, err := openBucket(location)
	if err != nil {
		return nil, err
	}
	return New(bucket), nil
}

// New makes an archive of a bucket.
func New(b Bucket) *Archive {
	return &Archive{
		Bucket: b,
		places: newCache[events.ID, Place](4096),
		fronts: newCache[Place, *events.Front](32),
		tables: newCache[string, []reelEntry](256),
		purged: NewTombstones(b),
	}
}

func openBucket(location string) (Bucket, error) {
	if location == "" {
		return nil, errors.New("no archive is named, want s3://bucket/prefix or a folder")
	}
	scheme, rest, found := strings.Cut(location, "://")
	if !found {
		return openDirectory(location)
	}
	switch scheme {
	case "s3":
		u, err := url.Parse(location)
		if err != nil {
			return nil, fmt.Errorf("archive: %w", err)
		}
		return openS3(u)
	case "file":
		if !strings.HasPrefix(rest, "/") {
			return nil, fmt.Errorf("archive %s: want file:///folder with an absolute path", location)
		}
		path, err := url.PathUnescape(rest)
		if err != nil {
			return nil, fmt.Errorf("archive %s: %w", location, err)
		}
		return openDirectory(path)
	}
	return nil, fmt.Errorf("archive %s: %q is neither s3 nor file", location, scheme)
}

// Remote says whether each object costs a request: the archive is not a
// folder on this machine.
func (a *Archive) Remote() bool {
	_, local := a.Bucket.(*directory)
	return !local
}

// CheckWritable fails where it is certain that nothing can be written. A store
// that may only be away for the moment passes.
func (a *Archive) CheckWritable(ctx context.Context) error {
	if b, ok := a.Bucket.(interface{ CheckWritable(context.Context) error }); ok {
		return b.CheckWritable(ctx)
	}
	return nil
}

func (a *Archive) String() string {
	if s, ok := a.Bucket.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", a.Bucket)
}

// Key is where a tape lies when it lies alone.
func (a *Archive) Key(h *events.Header) string {
	w := h.Workload
	return tapeKey(events.Service{Cluster: w.Cluster, Namespace: w.Namespace, Service: w.Service}, events.ID(h.TapeId))
}

const (
	tapesRoot = "tapes/"
	reelsRoot = "reels/"
	tapeEnd   = ".tape"
	reelEnd   = ".reel"
)

func tapeKey(s events.Service, id events.ID) string {
	return tapesRoot + tokens(s.Cluster, s.Namespace, s.Service) + hourFolder(id.Time()) + id.String() + tapeEnd
}

// tokens writes texts from outside as folders.
func tokens(texts ...string) string {
	var b strings.Builder
	for _, s := range texts {
		b.WriteString(events.Token(s))
		b.WriteByte('/')
	}
	return b.String()
}

func hourFolder(t time.Time) string { return t.UTC().Format("2006/01/02/15/") }

// parseTapeKey reads the id out of a tape's key.
func parseTapeKey(key string) (events.ID, bool) {
	name, isTape := strings.CutSuffix(key[strings.LastIndexByte(key, '/')+1:], tapeEnd)
	if !isTape {
		return events.ID{}, false
	}
	id, err := events.ParseID(name)
	return id, err == nil
}

// PutTape archives a tape alone; one that has lost exchanges to a purge, in a
// reel: its key may have its bytes of before.
func (a *Archive) PutTape(ctx context.Context, t *events.Tape) (events.Archived, error) {
	kept, err := a.Kept(ctx, t)
	if err != nil {
		return events.Archived{}, fmt.Errorf("archive tape %s: %w", t.TapeID(), err)
	}
	if kept != t {
		return a.putRewritten(ctx, kept)
	}
	key := a.Key(t.Header)
	if err := a.Put(ctx, key, t.Bytes()); err != nil {
		return events.Archived{}, fmt.Errorf("archive tape %s: %w", t.TapeID(), err)
	}
	a.places.put(t.TapeID(), Place{Object: key, Length: t.Total})
	return events.Archived{
		Service: serviceOf(t.Header),
		Object:  key,
		Tapes:   []events.ArchivedTape{{ID: t.TapeID(), Length: t.Total}},
	}, nil
}

func serviceOf(h *events.Header) events.Service {
	return events.Service{Cluster: h.Workload.Cluster, Namespace: h.Workload.Namespace, Service: h.Workload.Service}
}
