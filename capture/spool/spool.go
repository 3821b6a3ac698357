// Package spool keeps tapes on disk while they can't be published.
//
// What Put has returned nil for survives kill -9 and a power cut: a tape is
// written to a temporary file, synced, renamed and its folder synced. A file a
// tape, named by the tape's id, so that order by name is order of age; the
// checksums are in the tape itself. The size is bounded: at the bound Put
// refuses, and its caller counts, or makes room by dropping others.
package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tapedeck/events"
)

// ErrFull is wrapped by Put at the bound.
var ErrFull = errors.New("spool is full")

const (
	suffix    = ".tape"
	badSuffix = ".bad"
	temporary = ".tmp-"
)

// Spool is a folder of tapes. It is safe for concurrent use.
type Spool struct {
	dir      string
	maxBytes int64

	mu    sync.Mutex
	sizes map[events.ID]int64
	order []events.ID // by age
	busy  map[events.ID]struct{}
	bytes int64
}

// Open opens the folder and finds what an earlier process left in it.
// maxBytes 0 means no bound.
func Open(dir string, maxBytes int64) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{dir: dir, maxBytes: maxBytes, sizes: map[events.ID]int64{}, busy: map[events.ID]struct{}{}}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), temporary) {
			s.sweep(f)
			continue
		}
		id, err := events.ParseID(strings.TrimSuffix(f.Name(), suffix))
		if err != nil || !strings.HasSuffix(f.Name(), suffix) {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return nil, fmt.Errorf("open spool: %w", err)
		}
		s.note(id, info.Size())
	}
	return s, s.probe()
}

// sweep removes what a killed process left half written: it was never
// promised. A young file may be another process's that shares the folder.
func (s *Spool) sweep(f os.DirEntry) {
	if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > time.Hour {
		os.Remove(filepath.Join(s.dir, f.Name()))
	}
}

// probe finds out at once that the folder can't be written.
func (s *Spool) probe() error {
	f, err := os.CreateTemp(s.dir, temporary)
	if err != nil {
		return fmt.Errorf("open spool: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (s *Spool) note(id events.ID, size int64) {
	if _, known := s.sizes[id]; known {
		return
	}
	i, _ := slices.BinarySearchFunc(s.order, id, compare)
	s.order = slices.Insert(s.order, i, id)
	s.sizes[id] = size
	s.bytes += size
}

func compare(a, b events.ID) int { return slices.Compare(a[:], b[:]) }

func (s *Spool) path(id events.ID) string { return filepath.Join(s.dir, id.String()+suffix) }

// Put stores a tape durably.
func (s *Spool) Put(id events.ID, tape []byte) error {
	size := int64(len(tape))
	if !s.reserve(size) {
		return fmt.Errorf("spool tape %s: %w", id, ErrFull)
	}
	err := s.write(id, tape)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= size
	if err != nil {
		return fmt.Errorf("spool tape %s: %w", id, err)
	}
	s.note(id, size) // only now: what is listed can be read
	return nil
}

func (s *Spool) reserve(size int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.maxBytes > 0 && s.bytes+size > s.maxBytes {
		return false
	}
	s.bytes += size
	return true
}

func (s *Spool) write(id events.ID, tape []byte) error {
	f, err := os.CreateTemp(s.dir, temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(tape)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path(id))
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return s.sync()
}

// sync makes renames and removals durable.
func (s *Spool) sync() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Fits says that the spool could take size bytes if it were empty.
func (s *Spool) Fits(size int) bool { return s.maxBytes == 0 || int64(size) <= s.maxBytes }

// Claim reserves a tape for one that publishes or drops it, so that nobody
// does the other at the same time. It says no to a second one, and of a tape
// that is not here any more.
func (s *Spool) Claim(id events.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.sizes[id]
	_, busy := s.busy[id]
	if !known || busy {
		return false
	}
	s.busy[id] = struct{}{}
	return true
}

// Release ends a Claim.
func (s *Spool) Release(id events.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, id)
}

// Oldest are the ids of at most n tapes, oldest first.
func (s *Spool) Oldest(n int) []events.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order[:min(n, len(s.order))])
}

// Get reads a tape and verifies all of it. Bytes that are no tape any more are
// put aside as <id>.bad, never removed, and reported as an error wrapping
// events.ErrTape.
func (s *Spool) Get(id events.ID) (*events.Tape, error) {
	b, err := os.ReadFile(s.path(id))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			s.forget(id) // another process drained it
		}
		return nil, fmt.Errorf("read spooled tape %s: %w", id, err)
	}
	tape, err := events.ParseTape(b)
	if err == nil {
		err = tape.Verify()
	}
	if err != nil {
		s.forget(id)
		return nil, errors.Join(fmt.Errorf("read spooled tape %s: %w", id, err), os.Rename(s.path(id), filepath.Join(s.dir, id.String()+badSuffix)))
	}
	return tape, nil
}

// Remove forgets a tape that is stored elsewhere. A removal that a power cut
// undoes only publishes the tape twice, so it isn't synced.
func (s *Spool) Remove(id events.ID) error {
	s.forget(id)
	if err := os.Remove(s.path(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove spooled tape %s: %w", id, err)
	}
	return nil
}

func (s *Spool) forget(id events.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size, known := s.sizes[id]
	if !known {
		return
	}
	delete(s.sizes, id)
	s.bytes -= size
	if i, found := slices.BinarySearchFunc(s.order, id, compare); found {
		s.order = slices.Delete(s.order, i, i+1)
	}
}

// Tapes is the number of tapes the spool holds.
func (s *Spool) Tapes() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.order) }

// Bytes is the size of what the spool holds.
func (s *Spool) Bytes() int64 { s.mu.Lock(); defer s.mu.Unlock(); return s.bytes }
