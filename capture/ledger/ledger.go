// Package ledger keeps what a source has counted, and the tapes on their way
// out, where they outlive a SIGKILL of its process: in files that the kernel
// holds, mapped or written but not synced. A power cut may lose them.
//
// A source has a folder, named by its id and locked while it lives:
//
//	<dir>/<source>/counters         begun, taped, dropped by reason; mapped
//	<dir>/<source>/<tape>.tape      closed, and not published or spooled yet
//
// What a source has begun and neither dropped nor written into a closed tape
// was in its memory: after a kill that is dropped, reason killed. The number
// of open exchanges is not kept, it is what remains of begun; nor is the
// number of spooled tapes, which the spool itself knows.
package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"tapedeck/events"
)

const (
	countersFile = "counters"
	tapeSuffix   = ".tape"
	pageSize     = 4096
	maxReasons   = 32
	maxReason    = 24
	version      = 1
)

var magic = [8]byte{'t', 'd', 'l', 'e', 'd', 'g', 'e', 'r'}

// Dropped{Killed} are the exchanges that were in the memory of a killed process.
const Killed = "killed"

// ErrInUse is wrapped by Open while the source lives.
var ErrInUse = errors.New("its process is running")

// ErrDamaged is wrapped by Open for counters that a power cut left unwritten.
var ErrDamaged = errors.New("counters are damaged")

// Counts are what changes under the source's lock: from one whole state to
// the next.
type Counts struct {
	Number   uint64 // of the last closed tape
	Taped    uint64 // exchanges in closed tapes
	Dropped  map[string]uint64
	Reported bool // the source ended, and its last header with these counts is in a safe place
}

// state is Counts in memory of a fixed shape.
type state struct {
	number, taped, reported uint64
	dropped                 [maxReasons]struct {
		reason [maxReason]byte
		count  uint64
	}
}

// file is the mapped file: two states, of which one is valid.
type file struct {
	magic   [8]byte
	version uint64
	begun   atomic.Uint64
	active  atomic.Uint64 // 0 or 1
	states  [2]state
	header  uint32 // length of the source's header behind it
}

// Source is the open folder of a source.
type Source struct {
	Header *events.Header // source id, workload, redaction key id

	dir    string
	lock   *os.File
	mapped []byte
	file   *file
	mu     sync.Mutex
}

// Create makes the folder of a new source below dir.
func Create(dir string, h *events.Header) (*Source, error) {
	s, err := create(dir, h)
	if err != nil {
		return nil, fmt.Errorf("make ledger of source %s: %w", events.ID(h.SourceId), err)
	}
	return s, nil
}

func create(dir string, h *events.Header) (*Source, error) {
	header, err := proto.Marshal(h)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// It gets its name when it is locked: nobody may take it for a dead one.
	young, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return nil, err
	}
	s, err := mapFile(filepath.Join(young, countersFile), int64(unsafe.Sizeof(file{}))+int64(len(header)))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(young))
	}
	s.Header, s.dir = h, filepath.Join(dir, events.ID(h.SourceId).String())
	s.file.magic, s.file.version, s.file.header = magic, version, uint32(len(header))
	copy(s.mapped[unsafe.Sizeof(file{}):], header)
	if err := os.Rename(young, s.dir); err != nil {
		return nil, errors.Join(err, s.Close(), os.RemoveAll(young))
	}
	return s, nil
}

// mapFile opens or makes a file, locks it and maps all of it.
func mapFile(path string, size int64) (*Source, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err == nil && info.Size() < size {
		size = (size + pageSize - 1) / pageSize * pageSize
		err = f.Truncate(size)
	} else if err == nil {
		size = info.Size()
	}
	if err == nil && size < int64(unsafe.Sizeof(file{})) {
		err = ErrDamaged
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map counters: %w", err), f.Close())
	}
	return &Source{lock: f, mapped: b, file: (*file)(unsafe.Pointer(&b[0]))}, nil
}

// Open opens the folder of a source whose process has ended.
func Open(dir string, id events.ID) (*Source, error) {
	s, err := open(filepath.Join(dir, id.String()))
	if err != nil {
		return nil, fmt.Errorf("open ledger of source %s: %w", id, err)
	}
	return s, nil
}

func open(dir string) (*Source, error) {
	path := filepath.Join(dir, countersFile)
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	s, err := mapFile(path, 0)
	if err != nil {
		return nil, err
	}
	s.dir = dir
	at := int(unsafe.Sizeof(file{}))
	if s.file.magic != magic || s.file.version != version || at+int(s.file.header) > len(s.mapped) || s.file.active.Load() > 1 {
		return nil, errors.Join(ErrDamaged, s.Close())
	}
	s.Header = &events.Header{}
	if err := proto.Unmarshal(s.mapped[at:at+int(s.file.header)], s.Header); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Discard puts a damaged ledger aside; nobody looks at it again.
func Discard(dir string, id events.ID) error {
	return os.Rename(filepath.Join(dir, id.String()), filepath.Join(dir, id.String()+".bad"))
}

// Sources are the ids of all sources that have a folder below dir.
func Sources(dir string) ([]events.ID, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list ledgers: %w", err)
	}
	var ids []events.ID
	for _, e := range entries {
		if id, err := events.ParseID(e.Name()); err == nil && e.IsDir() {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Begun counts the exchanges whose first byte was seen. It lies in the file.
func (s *Source) Begun() *atomic.Uint64 { return &s.file.begun }

// Save replaces the counts. A kill leaves the old ones or the new ones.
func (s *Source) Save(c Counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := 1 - s.file.active.Load()
	to := &s.file.states[next]
	*to = state{number: c.Number, taped: c.Taped}
	if c.Reported {
		to.reported = 1
	}
	i := 0
	for reason, n := range c.Dropped {
		slot := &to.dropped[min(i, maxReasons-1)] // the last takes what has no place of its own
		slot.count += n
		clear(slot.reason[:])
		copy(slot.reason[:], reason)
		i++
	}
	s.file.active.Store(next)
}

// Counts reads what was saved last.
func (s *Source) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := &s.file.states[s.file.active.Load()]
	c := Counts{Number: from.number, Taped: from.taped, Reported: from.reported == 1, Dropped: map[string]uint64{}}
	for i := range from.dropped {
		if slot := &from.dropped[i]; slot.count > 0 {
			c.Dropped[strings.TrimRight(string(slot.reason[:]), "\x00")] += slot.count
		}
	}
	return c
}

// Close unmaps and unlocks: from then on the source counts as ended.
func (s *Source) Close() error {
	return errors.Join(syscall.Munmap(s.mapped), s.lock.Close())
}

// Remove ends the source for ever.
func (s *Source) Remove() error {
	// The lock is held until nothing is left that another process could open.
	err := os.RemoveAll(s.dir)
	return errors.Join(err, s.Close())
}

func (s *Source) tape(id events.ID) string { return filepath.Join(s.dir, id.String()+tapeSuffix) }

// Keep writes a closed tape down until Forget.
func (s *Source) Keep(id events.ID, tape []byte) error {
	if err := os.WriteFile(s.tape(id), tape, 0o600); err != nil {
		os.Remove(s.tape(id))
		return fmt.Errorf("keep tape %s: %w", id, err)
	}
	return nil
}

// Forget removes a tape that is stored elsewhere, or nowhere.
func (s *Source) Forget(id events.ID) { os.Remove(s.tape(id)) }

// Kept are the tapes that were kept whole; what a kill has cut off is removed.
func (s *Source) Kept() ([]*events.Tape, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list kept tapes: %w", err)
	}
	var tapes []*events.Tape
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), tapeSuffix) {
			continue
		}
		path := filepath.Join(s.dir, e.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read kept tape: %w", err)
		}
		tape, err := events.ParseTape(b)
		if err == nil {
			err = tape.Verify()
		}
		if err != nil {
			os.Remove(path)
			continue
		}
		tapes = append(tapes, tape)
	}
	return tapes, nil
}
