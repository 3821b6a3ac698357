package tapes

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"tapedeck/events"
)

// A reel is tapes one after another with a table at its end, integers big
// endian:
//
//	0    tape, tape, …
//	     table, for each tape:
//	       16 bytes tape id
//	       uint64   offset of its first byte
//	       uint32   length of the tape
//	       uint32   length of its front
//	       uint8    length of the service's token
//	                the service's token
//	-20  uint32 length of the table
//	     uint32 number of tapes
//	     uint16 format version
//	     uint16 zero
//	     uint32 CRC32-C of the table and the 12 bytes behind it
//	     magic "reel"
//
// The tapes fill the reel up to the table without a hole. The table says all
// that a reader needs to fetch one front or one tape in one ranged read, and
// whose it is.
const (
	reelVersion  = 1
	reelMagic    = "reel"
	reelFooter   = 20
	reelFixed    = 16 + 8 + 4 + 4 + 1 // bytes of a table entry before the token
	maxReelTable = 64 << 20
	reelGuess    = 64 << 10 // what is read of a reel's end at first
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// reelEntry is a row of a reel's table.
type reelEntry struct {
	id      events.ID
	offset  int64
	length  int64
	front   int64 // length of the front
	service string
}

func (e *reelEntry) place(object string) Place { return Place{object, e.offset, e.length} }

// packReel puts tapes into the bytes of a reel.
func packReel(ts []*events.Tape) ([]byte, []reelEntry, error) {
	var size int
	for _, t := range ts {
		size += len(t.Bytes()) + 256
	}
	b := make([]byte, 0, size+reelFooter)
	entries := make([]reelEntry, 0, len(ts))
	for _, t := range ts {
		entries = append(entries, reelEntry{t.TapeID(), int64(len(b)), t.Total, t.Size, t.Header.Workload.Service})
		b = append(b, t.Bytes()...)
	}
	table := len(b)
	for _, e := range entries {
		token := events.Token(e.service)
		if len(token) > 255 {
			return nil, nil, fmt.Errorf("service name %.40q… is too long for a reel", e.service)
		}
		b = append(b, e.id[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(e.offset))
		b = binary.BigEndian.AppendUint32(b, uint32(e.length))
		b = binary.BigEndian.AppendUint32(b, uint32(e.front))
		b = append(append(b, byte(len(token))), token...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(b)-table))
	b = binary.BigEndian.AppendUint32(b, uint32(len(entries)))
	b = binary.BigEndian.AppendUint16(b, reelVersion)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[table:], castagnoli))
	return append(b, reelMagic...), entries, nil
}

// tableSize tells from a reel's end how many of its last bytes its table has,
// footer included.
func tableSize(end []byte, size int64) (int64, error) {
	if len(end) < reelFooter {
		return 0, reelError("%d bytes are too few for a reel", len(end))
	}
	footer := end[len(end)-reelFooter:]
	if string(footer[16:]) != reelMagic {
		return 0, reelError("it does not end as a reel: cut off?")
	}
	if v := binary.BigEndian.Uint16(footer[8:]); v == 0 || v > reelVersion {
		return 0, reelError("format version %d is newer than this tapedeck reads (%d): upgrade tapedeck", v, reelVersion)
	}
	n := int64(binary.BigEndian.Uint32(footer)) + reelFooter
	if n > size || n > maxReelTable {
		return 0, reelError("a table of %d bytes in a reel of %d", n, size)
	}
	return n, nil
}

// parseTable reads the table of a reel of size bytes from its last bytes,
// which must hold the table, and verifies that it describes such a reel.
func parseTable(end []byte, size int64) ([]reelEntry, error) {
	n, err := tableSize(end, size)
	if err != nil {
		return nil, err
	}
	if n > int64(len(end)) {
		return nil, reelError("%d bytes of a table of %d", len(end), n)
	}
	b := end[int64(len(end))-n:]
	sum := len(b) - 8
	if crc32.Checksum(b[:sum], castagnoli) != binary.BigEndian.Uint32(b[sum:]) {
		return nil, reelError("checksum of the table does not match")
	}
	count := int64(binary.BigEndian.Uint32(b[len(b)-reelFooter+4:]))
	rows := b[:len(b)-reelFooter]
	if count*reelFixed > int64(len(rows)) {
		return nil, reelError("%d tapes in a table of %d bytes", count, len(rows))
	}
	entries := make([]reelEntry, count)
	end64 := int64(0) // of the tapes so far
	for i := range entries {
		if rows, err = entries[i].parse(rows); err != nil {
			return nil, err
		}
		if e := entries[i]; e.offset != end64 || e.length < events.TapePrefix || e.front > e.length {
			return nil, reelError("tape %s lies at %d with %d bytes, want offset %d", e.id, e.offset, e.length, end64)
		}
		end64 += entries[i].length
	}
	if len(rows) != 0 || end64 != size-n {
		return nil, reelError("%d bytes of tapes in a reel of %d with a table of %d", end64, size, n)
	}
	return entries, nil
}

// parse reads the first row and returns the others.
func (e *reelEntry) parse(rows []byte) ([]byte, error) {
	if len(rows) < reelFixed || len(rows) < reelFixed+int(rows[reelFixed-1]) {
		return nil, reelError("the table ends inside a row")
	}
	end := reelFixed + int(rows[reelFixed-1])
	service, err := events.Untoken(string(rows[reelFixed:end]))
	if err != nil || service == "" {
		return nil, reelError("service %q: %v", rows[reelFixed:end], err)
	}
	offset := binary.BigEndian.Uint64(rows[16:])
	if offset > 1<<62 {
		return nil, reelError("offset %d", offset)
	}
	*e = reelEntry{
		id:      events.ID(rows[:16]),
		offset:  int64(offset),
		length:  int64(binary.BigEndian.Uint32(rows[24:])),
		front:   int64(binary.BigEndian.Uint32(rows[28:])),
		service: service,
	}
	return rows[end:], nil
}

func reelError(format string, args ...any) error {
	return fmt.Errorf("%w: reel: %s", events.ErrTape, fmt.Sprintf(format, args...))
}
