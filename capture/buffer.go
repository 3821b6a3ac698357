package capture

import (
	"sync"
	"sync/atomic"
)

// Reads are small until one fills its buffer: an idle connection holds little,
// a busy one is copied in large pieces.
const (
	smallBuffer = 4 << 10
	largeBuffer = 32 << 10
)

// buffer holds the bytes of one read. It is read by the relay (which writes
// them on) and by the dissector at the same time, and goes back to its pool
// when both have released it; nobody writes to it in between.
type buffer struct {
	b    []byte
	pool *sync.Pool
	refs atomic.Int32
}

var (
	smallBuffers, largeBuffers sync.Pool
)

func init() {
	smallBuffers.New = func() any { return &buffer{b: make([]byte, smallBuffer), pool: &smallBuffers} }
	largeBuffers.New = func() any { return &buffer{b: make([]byte, largeBuffer), pool: &largeBuffers} }
}

// getBuffer returns a buffer with one reference.
func getBuffer(size int) *buffer {
	pool := &smallBuffers
	if size > smallBuffer {
		pool = &largeBuffers
	}
	b := pool.Get().(*buffer)
	b.refs.Store(1)
	return b
}

func (b *buffer) retain() { b.refs.Add(1) }

func (b *buffer) release() {
	if b.refs.Add(-1) == 0 {
		b.pool.Put(b)
	}
}
