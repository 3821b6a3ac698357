package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The frame of a tape, integers big endian:
//
//	0   magic "tape"
//	4   uint16 format version
//	6   uint16 zero
//	8   uint32 length of the Header (protobuf)
//	12  uint32 length of the Index (protobuf, zstd)
//	16  uint32 length of all blocks
//	20  uint32 CRC32-C of bytes 0..20, Header and Index
//	24  Header, Index, blocks
//
// The front (all before the blocks) is all that the indexer and a reindex
// read; one exchange is the front plus one ranged read of its block, whose own
// CRC32-C stands in the Index.
const (
	// TapeVersion is the format version this package writes and the highest it reads.
	TapeVersion = 1
	// TapeContentType is the datacontenttype of a captured event and of a stored tape.
	TapeContentType = "application/vnd.tapedeck.tape.v1"
	// TapeSize is the size at which a tape is closed: well below the
	// server's default max_payload of 1 MiB even with one more exchange.
	TapeSize = 512 << 10
	// BlockSize is the unpacked size at which a block is closed.
	BlockSize = 64 << 10
	// BodyInline is how much of a body stands in its exchange; the rest goes to parts.
	BodyInline = 256 << 10
	// TapePrefix is the length of the fixed prefix: enough to know the length of the front.
	TapePrefix = 24

	tapeMagic = "tape"
	// What readers bear, so that no tape costs them more than this memory. A
	// tape of TapeSize stays far below.
	maxFront    = 16 << 20 // header and packed index
	maxIndex    = 16 << 20 // unpacked
	maxItems    = 1 << 18  // entries, endpoints and blocks
	maxTags     = 8        // of an entry
	maxBlockRaw = 16 << 20
	maxBlocks   = 1 << 30 // all blocks, packed
)

// ErrTape is wrapped by every error about bytes that are no readable tape.
var ErrTape = errors.New("not a readable tape")

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// EncodeAll and DecodeAll are safe for concurrent use.
	// A block lies inside the window; with the usual one of 4 MiB each encoder
	// keeps 8 MiB for an index that is longer than a block.
	packer, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(4), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true))
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxIndex))
	// blockUnpacker writes no more than the block says that it has.
	blockUnpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
)

func tapeError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTape, fmt.Sprintf(format, args...))
}

// Builder collects records into one tape. What it is given is encoded at once:
// until the tape is closed it holds bytes, nothing that the garbage collector
// would have to walk. It is not safe for concurrent use.
type Builder struct {
	id ID
	*buffers
	index     Index // endpoints and blocks
	err       error // of an entry
	endpoints map[endpointKey]uint32
	estimate  int // of the index, bytes
	exchanges int
	exchange  Record_Exchange // of record, to be used again
	record    Record
}

// buffers are what a tape grows in.
type buffers struct {
	entries []byte // the index's entries, encoded as its fields
	blocks  []byte // closed blocks
	open    []byte // records of the open block
}

// spare are buffers of closed tapes.
var spare = sync.Pool{New: func() any { return &buffers{} }}

// leave gives the buffers to the next tape, unless this was an exception.
func (b *Builder) leave() {
	if all := b.buffers; cap(all.entries)+cap(all.blocks)+cap(all.open) <= 4*TapeSize {
		all.entries, all.blocks, all.open = all.entries[:0], all.blocks[:0], all.open[:0]
		spare.Put(all)
	}
	b.buffers = nil
}

type endpointKey struct {
	direction                        Direction
	protocol, host, method, template string
	replay                           bool
}

// NewBuilder begins a tape at time now.
func NewBuilder(now time.Time) *Builder { return Rebuild(NewID(now)) }

// Rebuild begins a tape that takes the place of the one with this id, in
// another archive: the same exchanges, redacted afterwards.
func Rebuild(id ID) *Builder {
	return &Builder{id: id, buffers: spare.Get().(*buffers), endpoints: map[endpointKey]uint32{}}
}

// ID of the tape that is being built, for RecordRefs into it.
func (b *Builder) ID() ID { return b.id }

// Size is an upper bound of the tape's size in bytes if it were closed now.
func (b *Builder) Size() int {
	return TapePrefix + 512 + b.estimate + len(b.blocks) + len(b.open)
}

// Exchanges is the number of exchanges added.
func (b *Builder) Exchanges() int { return b.exchanges }

// Empty says that nothing was added.
func (b *Builder) Empty() bool { return len(b.entries)+len(b.open)+len(b.blocks) == 0 }

// AddExchange adds an ended exchange with its index entry. It sets the entry's
// kind, endpoint, block and position.
func (b *Builder) AddExchange(entry *Entry, endpoint *Endpoint, x *Exchange) error {
	validExchange(x)
	b.exchange.Exchange, b.record.Kind = x, &b.exchange
	block, position, err := b.add(&b.record)
	b.exchange.Exchange = nil
	if err != nil {
		return fmt.Errorf("add exchange %x: %w", entry.Id, err)
	}
	b.exchanges++
	b.addEntry(Kind_EXCHANGE, entry, endpoint, block, position)
	return nil
}

// AddOpen adds the entry of an exchange that is still open; ref is where its
// newest segment lies, which must be in this tape (nil: none yet).
func (b *Builder) AddOpen(entry *Entry, endpoint *Endpoint, ref *RecordRef) {
	b.addEntry(Kind_OPEN, entry, endpoint, ref.GetBlock(), ref.GetPosition())
}

// AddPart adds body bytes that are beyond BodyInline.
func (b *Builder) AddPart(p *Part) (*RecordRef, error) {
	return b.addRef(&Record{Kind: &Record_Part{p}})
}

// AddSegment adds one second of a stream.
func (b *Builder) AddSegment(s *Segment) (*RecordRef, error) {
	for _, m := range s.Messages {
		validTexts(&m.Type)
	}
	return b.addRef(&Record{Kind: &Record_Segment{s}})
}

func (b *Builder) addEntry(kind Kind, entry *Entry, endpoint *Endpoint, block, position uint32) {
	validEntry(entry)
	validEndpoint(endpoint)
	key := endpointKey{endpoint.Direction, endpoint.Protocol, endpoint.Host, endpoint.Method, endpoint.Template, endpoint.Replay}
	n, known := b.endpoints[key]
	if !known {
		n = uint32(len(b.index.Endpoints))
		b.endpoints[key] = n
		b.index.Endpoints = append(b.index.Endpoints, endpoint)
		b.estimate += proto.Size(endpoint) + 8
	}
	entry.Kind, entry.Endpoint, entry.Block, entry.Position = kind, n, block, position
	size := proto.Size(entry)
	b.estimate += size + 8
	b.entries = protowire.AppendTag(b.entries, indexEntries, protowire.BytesType)
	b.entries = protowire.AppendVarint(b.entries, uint64(size))
	entries, err := sized.MarshalAppend(b.entries, entry)
	b.entries, b.err = entries, errors.Join(b.err, err)
}

// sized encodes what was just sized.
var sized = proto.MarshalOptions{UseCachedSize: true}

func (b *Builder) addRef(r *Record) (*RecordRef, error) {
	block, position, err := b.add(r)
	if err != nil {
		return nil, err
	}
	return &RecordRef{TapeId: b.id[:], Block: block, Position: position}, nil
}

func (b *Builder) add(r *Record) (block, position uint32, err error) {
	block, position = uint32(len(b.index.Blocks)), uint32(len(b.open))
	size := proto.Size(r)
	if size > maxBlockRaw-BlockSize-protowire.SizeVarint(maxBlockRaw) {
		return 0, 0, fmt.Errorf("record of %d bytes is over the bound of a block", size)
	}
	b.open = protowire.AppendVarint(b.open, uint64(size))
	open, err := sized.MarshalAppend(b.open, r)
	if err != nil {
		b.open = b.open[:position]
		return 0, 0, err
	}
	b.open = open
	if len(b.open) >= BlockSize {
		b.closeBlock()
	}
	return block, position, nil
}

func (b *Builder) closeBlock() {
	if len(b.open) == 0 {
		return
	}
	offset := len(b.blocks)
	b.blocks = packer.EncodeAll(b.open, b.blocks)
	b.index.Blocks = append(b.index.Blocks, &Block{
		Offset:    uint64(offset),
		Length:    uint32(len(b.blocks) - offset),
		RawLength: uint32(len(b.open)),
		Crc32C:    crc32.Checksum(b.blocks[offset:], castagnoli),
	})
	b.estimate += 24
	b.open = b.open[:0]
}

// Close ends the tape and returns its bytes. It sets the header's tape id and
// leaves the rest of it to the caller. The builder cannot be used afterwards.
func (b *Builder) Close(h *Header) ([]byte, error) {
	b.closeBlock()
	defer b.leave()
	h.TapeId = b.id[:]
	raw, err := proto.MarshalOptions{}.MarshalAppend(b.open[:0], &b.index) // all blocks are closed
	if err = errors.Join(b.err, err); err != nil {
		return nil, fmt.Errorf("close tape %s: index: %w", b.id, err)
	}
	raw = append(raw, b.entries...)
	b.open = raw
	out, err := frame(h, raw, b.blocks)
	if err != nil {
		return nil, fmt.Errorf("close tape %s: %w", b.id, err)
	}
	return out, nil
}

// frame puts a tape together of its header, its encoded index and its blocks.
func frame(h *Header, index, blocks []byte) ([]byte, error) {
	header, err := proto.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	out := make([]byte, TapePrefix, TapePrefix+len(header)+len(index)/2+len(blocks)+64)
	out = append(out, header...)
	out = packer.EncodeAll(index, out)
	copy(out, tapeMagic)
	binary.BigEndian.PutUint16(out[4:], TapeVersion)
	binary.BigEndian.PutUint32(out[8:], uint32(len(header)))
	binary.BigEndian.PutUint32(out[12:], uint32(len(out)-TapePrefix-len(header)))
	binary.BigEndian.PutUint32(out[16:], uint32(len(blocks)))
	binary.BigEndian.PutUint32(out[20:], frontSum(out))
	return append(out, blocks...), nil
}

func frontSum(front []byte) uint32 {
	return crc32.Update(crc32.Checksum(front[:20], castagnoli), castagnoli, front[TapePrefix:])
}

// Front is the part of a tape before its blocks.
type Front struct {
	Header *Header
	Index  *Index
	Size   int64 // of the front in bytes: where the blocks begin
	Total  int64 // of the whole tape in bytes
}

// FrontSize tells from a tape's first TapePrefix bytes how long its front is.
func FrontSize(prefix []byte) (int64, error) {
	if len(prefix) < TapePrefix {
		return 0, tapeError("%d bytes are too few for a tape", len(prefix))
	}
	if string(prefix[:4]) != tapeMagic {
		return 0, tapeError("it begins with %q", prefix[:4])
	}
	if v := binary.BigEndian.Uint16(prefix[4:]); v > TapeVersion {
		return 0, tapeError("format version %d is newer than this tapedeck reads (%d): upgrade tapedeck", v, TapeVersion)
	} else if v == 0 {
		return 0, tapeError("format version 0")
	}
	size := int64(binary.BigEndian.Uint32(prefix[8:])) + int64(binary.BigEndian.Uint32(prefix[12:]))
	if size > maxFront {
		return 0, tapeError("a front of %d bytes is over the bound of %d", size, maxFront)
	}
	if blocks := binary.BigEndian.Uint32(prefix[16:]); blocks > maxBlocks {
		return 0, tapeError("blocks of %d bytes are over the bound of %d", blocks, maxBlocks)
	}
	return TapePrefix + size, nil
}

// ParseFront reads the front of a tape and verifies it. b may go on behind it.
func ParseFront(b []byte) (*Front, error) {
	size, err := FrontSize(b)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) < size {
		return nil, tapeError("truncated: %d bytes of a front of %d", len(b), size)
	}
	front := b[:size]
	if frontSum(front) != binary.BigEndian.Uint32(b[20:]) {
		return nil, tapeError("checksum of the front does not match")
	}
	headerEnd := TapePrefix + int(binary.BigEndian.Uint32(b[8:]))
	f := &Front{Header: new(Header), Index: new(Index), Size: size, Total: size + int64(binary.BigEndian.Uint32(b[16:]))}
	if err := proto.Unmarshal(front[TapePrefix:headerEnd], f.Header); err != nil {
		return nil, tapeError("header: %v", err)
	}
	raw, err := unpacker.DecodeAll(front[headerEnd:], nil)
	if err != nil {
		return nil, tapeError("index: %v", err)
	}
	if err := checkIndex(raw); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(raw, f.Index); err != nil {
		return nil, tapeError("index: %v", err)
	}
	if err := f.validate(); err != nil {
		return nil, err
	}
	return f, nil
}

// checkIndex counts what is in an index before it is decoded: an empty
// message has two bytes in the file and hundreds in memory.
func checkIndex(raw []byte) error {
	items := 0
	return eachField(raw, func(field protowire.Number, value []byte) error {
		if items++; items > maxItems {
			return tapeError("the index has more than %d items", maxItems)
		}
		if field != indexEntries {
			return nil
		}
		tags := 0
		return eachField(value, func(field protowire.Number, _ []byte) error {
			if field == entryTags {
				tags++
			}
			if tags > maxTags {
				return tapeError("entry with more than %d tags", maxTags)
			}
			return nil
		})
	})
}

// Field numbers of tape.proto.
const (
	indexEntries = 3
	entryTags    = 22
)

// eachField visits the fields of an encoded message; value is that of a
// message, string or bytes field.
func eachField(message []byte, visit func(field protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return tapeError("index: %v", protowire.ParseError(n))
		}
		message = message[n:]
		if n = protowire.ConsumeFieldValue(field, kind, message); n < 0 {
			return tapeError("index: %v", protowire.ParseError(n))
		}
		var value []byte
		if kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(message)
		}
		if err := visit(field, value); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

// validate holds what a reader may rely on without looking again: ids have 16
// bytes, references point at something, blocks lie inside the tape.
func (f *Front) validate() error {
	h := f.Header
	if len(h.TapeId) != 16 || len(h.SourceId) != 16 {
		return tapeError("header without tape id or source id")
	}
	if h.Workload == nil || h.Workload.Service == "" {
		return tapeError("header without a workload")
	}
	if h.Counters == nil {
		h.Counters = &Counters{}
	}
	for i, block := range f.Index.Blocks {
		blocks := uint64(f.Total - f.Size)
		if block.Offset > blocks || uint64(block.Length) > blocks-block.Offset { // their sum could overflow
			return tapeError("block %d lies outside of the tape", i)
		}
		if block.RawLength > maxBlockRaw {
			return tapeError("block %d has %d bytes, over the bound of %d", i, block.RawLength, maxBlockRaw)
		}
	}
	for i, e := range f.Index.Entries {
		switch {
		case len(e.Id) != 16:
			return tapeError("entry %d has an id of %d bytes", i, len(e.Id))
		case int(e.Endpoint) >= len(f.Index.Endpoints):
			return tapeError("entry %d names endpoint %d of %d", i, e.Endpoint, len(f.Index.Endpoints))
		case e.Kind == Kind_EXCHANGE && int(e.Block) >= len(f.Index.Blocks):
			return tapeError("entry %d names block %d of %d", i, e.Block, len(f.Index.Blocks))
		}
	}
	return nil
}

// TapeID is the tape's id.
func (f *Front) TapeID() ID { return ID(f.Header.TapeId) }

// BlockRange is where block i lies in the tape, in bytes.
func (f *Front) BlockRange(i uint32) (offset, length int64, err error) {
	if int(i) >= len(f.Index.Blocks) {
		return 0, 0, tapeError("block %d of %d", i, len(f.Index.Blocks))
	}
	block := f.Index.Blocks[i]
	return f.Size + int64(block.Offset), int64(block.Length), nil
}

// UnpackBlock verifies and unpacks the bytes of block i.
func (f *Front) UnpackBlock(i uint32, frame []byte) ([]byte, error) {
	if int(i) >= len(f.Index.Blocks) {
		return nil, tapeError("block %d of %d", i, len(f.Index.Blocks))
	}
	block := f.Index.Blocks[i]
	if crc32.Checksum(frame, castagnoli) != block.Crc32C {
		return nil, tapeError("checksum of block %d does not match", i)
	}
	raw, err := blockUnpacker.DecodeAll(frame, make([]byte, 0, block.RawLength))
	if err != nil {
		return nil, tapeError("block %d: %v", i, err)
	}
	if len(raw) != int(block.RawLength) {
		return nil, tapeError("block %d has %d bytes, want %d", i, len(raw), block.RawLength)
	}
	return raw, nil
}

// RecordAt reads the record at a position of an unpacked block.
func RecordAt(block []byte, position uint32) (*Record, error) {
	r, _, err := recordAt(block, int(position))
	return r, err
}

func recordAt(block []byte, position int) (*Record, int, error) {
	if position >= len(block) {
		return nil, 0, tapeError("record at %d of a block of %d bytes", position, len(block))
	}
	length, n := protowire.ConsumeVarint(block[position:])
	if n < 0 || length > uint64(len(block)-position-n) {
		return nil, 0, tapeError("record at %d is longer than its block", position)
	}
	end := position + n + int(length)
	r := new(Record)
	if err := proto.Unmarshal(block[position+n:end], r); err != nil {
		return nil, 0, tapeError("record at %d: %v", position, err)
	}
	return r, end, nil
}

// Tape is a whole tape in memory.
type Tape struct {
	*Front
	bytes []byte
}

// ParseTape reads a whole tape; its blocks are verified when they are read.
func ParseTape(b []byte) (*Tape, error) {
	f, err := ParseFront(b)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != f.Total {
		return nil, tapeError("truncated: %d bytes of %d", len(b), f.Total)
	}
	return &Tape{f, b}, nil
}

// Bytes are the tape's bytes, as they were written.
func (t *Tape) Bytes() []byte { return t.bytes }

// Block reads block i.
func (t *Tape) Block(i uint32) ([]byte, error) {
	offset, length, err := t.BlockRange(i)
	if err != nil {
		return nil, err
	}
	return t.UnpackBlock(i, t.bytes[offset:offset+length])
}

// Record reads the record a RecordRef or an Entry points at.
func (t *Tape) Record(block, position uint32) (*Record, error) {
	raw, err := t.Block(block)
	if err != nil {
		return nil, err
	}
	return RecordAt(raw, position)
}

// Records reads all records in the order they were written. It ends with the
// first error.
func (t *Tape) Records() iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		for p, err := range t.Placed() {
			if !yield(p.Record, err) {
				return
			}
		}
	}
}

// Placed is a record and where it lies.
type Placed struct {
	*Record
	Block, Position uint32
}

// Placed reads all records as Records does, with their places.
func (t *Tape) Placed() iter.Seq2[Placed, error] {
	return func(yield func(Placed, error) bool) {
		for i := range t.Index.Blocks {
			raw, err := t.Block(uint32(i))
			if err != nil {
				yield(Placed{}, err)
				return
			}
			for position := 0; position < len(raw); {
				r, end, err := recordAt(raw, position)
				if !yield(Placed{r, uint32(i), uint32(position)}, err) || err != nil {
					return
				}
				position = end
			}
		}
	}
}

// Verify reads everything: the front, each block, each record.
func (t *Tape) Verify() error {
	for _, err := range t.Records() {
		if err != nil {
			return err
		}
	}
	return nil
}

// HeaderValue finds the first header of that name, letter case ignored; "" without one.
func HeaderValue(fields []*Field, name string) string {
	i := slices.IndexFunc(fields, func(f *Field) bool { return bytes.EqualFold(f.Name, []byte(name)) })
	if i < 0 {
		return ""
	}
	return string(fields[i].Value)
}
