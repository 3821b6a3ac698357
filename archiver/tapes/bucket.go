package tapes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

var (
	// ErrNotFound is wrapped when there is no object at a key.
	ErrNotFound = errors.New("no such object")
	// ErrDifferent is wrapped when a key already holds other bytes: objects
	// are written once.
	ErrDifferent = errors.New("the object exists with different bytes")
)

// Bucket holds objects that are written once (but for purges), under keys of path segments
// parted by '/'. It is safe for concurrent use.
type Bucket interface {
	// Put creates an object; when it returns nil the object is durable. An
	// object that exists with equal bytes is a success, with other bytes an
	// error wrapping ErrDifferent.
	Put(ctx context.Context, key string, b []byte) error
	// Replace writes an object whatever lies there: a reader finds the one or
	// the other, whole. It is for what a purge makes anew, and nothing else.
	Replace(ctx context.Context, key string, b []byte) error
	// Delete removes an object for a purge. One that is missing is a success.
	Delete(ctx context.Context, key string) error
	// Get reads length bytes from offset on, a negative length to the end.
	// Where the object ends earlier it returns the bytes there are. A missing
	// object is an error wrapping ErrNotFound.
	Get(ctx context.Context, key string, offset, length int64) ([]byte, error)
	// List finds the objects whose keys begin with prefix, in no promised
	// order. It ends with the first error.
	List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error]
	// Folders names what comes next in the keys below a folder, which ends
	// with '/' or is empty: the segments behind which keys go on. Sorted.
	Folders(ctx context.Context, folder string) ([]string, error)
}

// ObjectInfo describes an object.
type ObjectInfo struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
}

// checkKey keeps keys inside the archive and equal in every kind of bucket.
func checkKey(key string) error {
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || strings.HasPrefix(segment, ".") || strings.ContainsAny(segment, "\\\x00") {
			return fmt.Errorf("key %q has the segment %q", key, segment)
		}
	}
	return nil
}

func checkRange(offset int64) error {
	if offset < 0 {
		return fmt.Errorf("offset %d is below 0", offset)
	}
	return nil
}

// readAtMost reads up to length bytes (below 0: all), and grows with what
// comes rather than with what was asked for.
func readAtMost(r io.Reader, length int64) ([]byte, error) {
	if length >= 0 {
		r = io.LimitReader(r, length)
	}
	return io.ReadAll(r)
}
