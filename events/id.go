package events

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"
)

// ID is a UUIDv7 (RFC 9562, 5.7): it identifies an exchange, a tape, a
// connection or a source, holds its own time, and sorts by it.
type ID [16]byte

var idRandom = struct {
	sync.Mutex
	*mathrand.ChaCha8
}{ChaCha8: newChaCha8()}

func newChaCha8() *mathrand.ChaCha8 {
	var seed [32]byte
	rand.Read(seed[:]) // never fails (crypto/rand)
	return mathrand.NewChaCha8(seed)
}

// NewID makes an id at time t: 48 bits of milliseconds, 12 bits of their
// fraction (RFC 9562, 6.2 method 3), 62 random bits. The random bits are
// unpredictable but no secret.
func NewID(t time.Time) ID {
	var id ID
	ns := uint64(t.UnixNano())
	ms, fraction := ns/1e6, (ns%1e6)*4096/1e6
	binary.BigEndian.PutUint64(id[:8], ms<<16|7<<12|fraction)
	idRandom.Lock()
	random := idRandom.Uint64()
	idRandom.Unlock()
	binary.BigEndian.PutUint64(id[8:], random>>2|1<<63)
	return id
}

// IDFrom reads the 16 bytes of an id, as a tape holds them.
func IDFrom(b []byte) (ID, error) {
	if len(b) != 16 {
		return ID{}, fmt.Errorf("id has %d bytes, want 16", len(b))
	}
	return ID(b), nil
}

// ParseID reads an id as String writes it.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, fmt.Errorf("id %.40q is not a UUID like 0192a0c4-7f3e-7cc3-98c4-dc0c0c07398f", s)
	}
	if _, err := hex.Decode(id[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:])); err != nil {
		return ID{}, fmt.Errorf("id %q: %w", s, err)
	}
	return id, nil
}

// Time is when the id was made, to about 0.25 µs.
func (id ID) Time() time.Time {
	v := binary.BigEndian.Uint64(id[:8])
	return time.UnixMilli(int64(v >> 16)).Add(time.Duration((v & 0xfff) * 1e6 / 4096))
}

// IsZero says that there is no id.
func (id ID) IsZero() bool { return id == ID{} }

func (id ID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// MarshalText writes the id as String does, for JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the id as ParseID does.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}
