package scenario

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"
)

// The frame of a piece, integers big endian:
//
//	0   magic "scen"
//	4   uint16 format version
//	6   uint16 kind: 1 tests, 2 mocks
//	8   uint32 length of the table (protobuf, zstd)
//	12  uint64 length of all frames
//	20  uint32 CRC32-C of bytes 0..20 and the table
//	24  table, frames
//
// The table says where each record's own zstd frame lies, so a reader fetches
// the front and then only the records it wants.
const (
	pieceMagic  = "scen"
	piecePrefix = 24
	kindTests   = 1
	kindMocks   = 2

	pieceSize  = 8 << 20 // of the frames at which a piece is closed
	pieceRaw   = 64 << 20
	maxTable   = 64 << 20
	maxRecord  = 512 << 20 // unpacked
	maxSession = 64 << 20  // raw bytes at which a session is cut
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// EncodeAll and DecodeAll are safe for concurrent use.
	packer, _        = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(false))
	tableUnpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxTable))
	unpacker, _      = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxRecord))
)

// pieceBuilder collects the frames of one piece.
type pieceBuilder struct {
	frames []byte
	raw    int
}

// add packs a record behind the others and says where it lies.
func (b *pieceBuilder) add(m proto.Message) (*Frame, error) {
	raw, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	offset := len(b.frames)
	b.frames = packer.EncodeAll(raw, b.frames)
	b.raw += len(raw)
	return &Frame{
		Offset: uint64(offset), Length: uint32(len(b.frames) - offset), RawLength: uint32(len(raw)),
		Crc32C: crc32.Checksum(b.frames[offset:], castagnoli),
	}, nil
}

// full says that the next record belongs into the next piece.
func (b *pieceBuilder) full() bool { return len(b.frames) >= pieceSize || b.raw >= pieceRaw }

// close returns the bytes of the piece.
func (b *pieceBuilder) close(kind uint16, table proto.Message) ([]byte, error) {
	raw, err := proto.Marshal(table)
	if err != nil {
		return nil, err
	}
	out := packer.EncodeAll(raw, make([]byte, piecePrefix, piecePrefix+len(raw)+len(b.frames)))
	copy(out, pieceMagic)
	binary.BigEndian.PutUint16(out[4:], Format)
	binary.BigEndian.PutUint16(out[6:], kind)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-piecePrefix))
	binary.BigEndian.PutUint64(out[12:], uint64(len(b.frames)))
	binary.BigEndian.PutUint32(out[20:], frontSum(out))
	return append(out, b.frames...), nil
}

func frontSum(front []byte) uint32 {
	return crc32.Update(crc32.Checksum(front[:20], castagnoli), castagnoli, front[piecePrefix:])
}

// tableSize tells from the first bytes of a piece how long its front is.
func tableSize(prefix []byte, kind uint16) (int64, error) {
	if len(prefix) < piecePrefix {
		return 0, formatError("%d bytes are too few for a piece", len(prefix))
	}
	if string(prefix[:4]) != pieceMagic {
		return 0, formatError("a piece begins with %q", prefix[:4])
	}
	if v := binary.BigEndian.Uint16(prefix[4:]); v == 0 || v > Format {
		return 0, formatError("piece of format version %d, this tapedeck reads up to %d: upgrade tapedeck", v, Format)
	}
	if k := binary.BigEndian.Uint16(prefix[6:]); k != kind {
		return 0, formatError("piece of kind %d, want %d", k, kind)
	}
	size := int64(binary.BigEndian.Uint32(prefix[8:]))
	if size > maxTable {
		return 0, formatError("a table of %d bytes is over the bound of %d", size, maxTable)
	}
	return piecePrefix + size, nil
}

// parseTable verifies the front of a piece and reads its table; frames is the
// length of what lies behind.
func parseTable(front []byte, kind uint16, table proto.Message) (frames int64, err error) {
	size, err := tableSize(front, kind)
	if err != nil {
		return 0, err
	}
	if int64(len(front)) < size {
		return 0, formatError("truncated: %d bytes of a front of %d", len(front), size)
	}
	front = front[:size]
	if frontSum(front) != binary.BigEndian.Uint32(front[20:]) {
		return 0, formatError("checksum of a piece's table does not match")
	}
	raw, err := tableUnpacker.DecodeAll(front[piecePrefix:], nil)
	if err != nil {
		return 0, formatError("table: %v", err)
	}
	if err := proto.Unmarshal(raw, table); err != nil {
		return 0, formatError("table: %v", err)
	}
	length := binary.BigEndian.Uint64(front[12:])
	if length > 1<<40 {
		return 0, formatError("a piece of %d bytes", length)
	}
	return int64(length), nil
}

// check holds that a frame lies in the piece and within the bounds.
func (f *Frame) check(frames int64) error {
	if f == nil || f.Offset > uint64(frames) || uint64(f.Length) > uint64(frames)-f.Offset {
		return formatError("a record lies outside of its piece")
	}
	if f.RawLength > maxRecord {
		return formatError("a record of %d bytes is over the bound of %d", f.RawLength, maxRecord)
	}
	return nil
}

// unpack reads the record of a frame.
func (f *Frame) unpack(frame []byte, m proto.Message) error {
	if len(frame) != int(f.Length) {
		return formatError("truncated: %d bytes of a record of %d", len(frame), f.Length)
	}
	if crc32.Checksum(frame, castagnoli) != f.Crc32C {
		return formatError("checksum of a record does not match")
	}
	// The capacity grows with what is there, not with what the table claims.
	raw, err := unpacker.DecodeAll(frame, make([]byte, 0, min(int(f.RawLength), 64*len(frame)+1024)))
	if err != nil {
		return formatError("record: %v", err)
	}
	if err := proto.Unmarshal(raw, m); err != nil {
		return formatError("record: %v", err)
	}
	return nil
}
