package websocket

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"

	"tapedeck/wire"
)

// Bounds of compressed messages.
const (
	maxPacked   = 1 << 20  // bytes of one, held until it is whole
	maxUnpacked = 64 << 20 // that one unpacks to
	freeRatio   = 1 << 20  // so many whatever it is made of; beyond that
	maxRatio    = 256      // times its packed bytes
	windowSize  = 32 << 10
)

var (
	errPacked   = errors.New("compressed message of more than 1 MiB")
	errUnpacked = errors.New("message unpacks to too much")
	errDeflate  = errors.New("compressed message can't be unpacked")
)

// tail is what a sender leaves off (RFC 7692, 7.2.1), and an empty last block
// behind it, for a reader that wants an end.
var tail = []byte{0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff}

// inflater unpacks the messages of one side; between two it holds its window.
type inflater struct {
	forget bool
	window []byte
}

// unpackers are shared: most connections are silent most of the time.
var unpackers = sync.Pool{New: func() any {
	return &unpacker{reader: flate.NewReader(bytes.NewReader(nil)), buffer: make([]byte, 16<<10)}
}}

type unpacker struct {
	reader io.ReadCloser
	buffer []byte
}

// unpack returns the first wire.MaxMessage bytes of a message and its size.
func (f *inflater) unpack(packed []byte) (kept []byte, size int64, err error) {
	u := unpackers.Get().(*unpacker)
	defer unpackers.Put(u)
	source := io.MultiReader(bytes.NewReader(packed), bytes.NewReader(tail))
	if err := u.reader.(flate.Resetter).Reset(source, f.window); err != nil {
		return nil, 0, errDeflate
	}
	bound := min(maxUnpacked, max(freeRatio, maxRatio*int64(len(packed))))
	for {
		n, err := u.reader.Read(u.buffer)
		size += int64(n)
		kept = append(kept, u.buffer[:min(n, wire.MaxMessage-len(kept))]...)
		f.slide(u.buffer[:n])
		switch {
		case size > bound:
			return nil, 0, errUnpacked
		case errors.Is(err, io.EOF):
			return kept, size, nil
		case err != nil:
			return nil, 0, errDeflate
		}
	}
}

// slide moves the window over b.
func (f *inflater) slide(b []byte) {
	if f.forget {
		return
	}
	if len(b) >= windowSize {
		f.window = append(f.window[:0], b[len(b)-windowSize:]...)
		return
	}
	if over := len(f.window) + len(b) - windowSize; over > 0 {
		f.window = f.window[:copy(f.window, f.window[over:])]
	}
	f.window = append(f.window, b...)
}
