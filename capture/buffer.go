package capture

import (
	"sync"
	"sync/atomic"
)

// Reads are small until one fills its buffer: an idle connection holds little,
// a busy one is copied in large pieces. What is kept of a read lies in the
// smallest buffer that it fits into: most are much shorter than their buffer.
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

var buffers = [...]struct {
	size int
	pool *sync.Pool
}{{512, new(sync.Pool)}, {2 << 10, new(sync.Pool)}, {smallBuffer, new(sync.Pool)}, {largeBuffer, new(sync.Pool)}}

// class is the smallest of buffers that n bytes fit into, or the largest.
func class(n int) int {
	i := 0
	for i < len(buffers)-1 && buffers[i].size < n {
		i++
	}
	return i
}

// getBuffer returns a buffer with one reference, for size bytes or, when these
// are more, of the largest size.
func getBuffer(size int) *buffer {
	c := buffers[class(size)]
	b, ok := c.pool.Get().(*buffer)
	if !ok {
		b = &buffer{b: make([]byte, c.size), pool: c.pool}
	}
	b.refs.Store(1)
	return b
}

// keep returns a buffer with the first n bytes of b and a reference to it.
func (b *buffer) keep(n int) *buffer {
	if buffers[class(n)].size > len(b.b)/2 {
		b.retain()
		return b
	}
	short := getBuffer(n)
	copy(short.b, b.b[:n])
	return short
}

func (b *buffer) retain() { b.refs.Add(1) }

func (b *buffer) release() {
	if b == nil {
		return // a read that failed has none
	}
	if b.refs.Add(-1) == 0 {
		b.pool.Put(b)
	}
}
