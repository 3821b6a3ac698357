package events

import (
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Without is the tape as it would be if the exchanges that gone names had never
// been taped, but for two things: the header counts them as purged, and all that
// stays keeps its place, because other tapes and the index point at it. What
// lay between is overwritten. A tape that holds nothing of them is returned as
// it is.
func (t *Tape) Without(gone func(ID) bool) (*Tape, error) {
	index, blocks, erased, err := t.erase(gone)
	if err != nil {
		return nil, fmt.Errorf("remove exchanges of tape %s: %w", t.TapeID(), err)
	}
	f := t.Front.Without(gone)
	if f == t.Front && !erased {
		return t, nil
	}
	index.Entries, index.Endpoints = inUse(f.Index)
	raw, err := proto.Marshal(index)
	if err == nil {
		raw, err = frame(f.Header, raw, blocks)
	}
	if err != nil {
		return nil, fmt.Errorf("remove exchanges of tape %s: %w", t.TapeID(), err)
	}
	return ParseTape(raw)
}

// Without is the front without the entries of the exchanges that gone names. It
// is the same one if there are none.
func (f *Front) Without(gone func(ID) bool) *Front {
	entries := make([]*Entry, 0, len(f.Index.Entries))
	purged := uint32(0)
	for _, e := range f.Index.Entries {
		if !gone(ID(e.Id)) {
			entries = append(entries, e)
		} else if e.Kind == Kind_EXCHANGE {
			purged++
		}
	}
	if len(entries) == len(f.Index.Entries) {
		return f
	}
	header := proto.CloneOf(f.Header)
	header.Purged += purged
	return &Front{header, &Index{Endpoints: f.Index.Endpoints, Blocks: f.Index.Blocks, Entries: entries}, f.Size, f.Total}
}

// inUse are the entries with the endpoints that they name: a template may say
// what is not to be known any more.
func inUse(index *Index) ([]*Entry, []*Endpoint) {
	var endpoints []*Endpoint
	entries, now := make([]*Entry, len(index.Entries)), map[uint32]uint32{}
	for i, e := range index.Entries {
		n, known := now[e.Endpoint]
		if !known {
			n = uint32(len(endpoints))
			now[e.Endpoint] = n
			endpoints = append(endpoints, index.Endpoints[e.Endpoint])
		}
		entries[i] = proto.CloneOf(e)
		entries[i].Endpoint = n
	}
	return entries, endpoints
}

// erase overwrites the records of exchanges. It returns the blocks, with an
// index that has nothing but where they lie.
func (t *Tape) erase(gone func(ID) bool) (index *Index, blocks []byte, erased bool, err error) {
	index = &Index{}
	for i, b := range t.Index.Blocks {
		raw, err := t.Block(uint32(i))
		if err != nil {
			return nil, nil, false, err
		}
		offset, length, err := t.BlockRange(uint32(i))
		if err != nil {
			return nil, nil, false, err
		}
		packed := t.bytes[offset : offset+length]
		changed, err := eraseRecords(raw, gone)
		if err != nil {
			return nil, nil, false, err
		}
		if changed {
			packed, erased = packer.EncodeAll(raw, nil), true
		}
		index.Blocks = append(index.Blocks, &Block{
			Offset: uint64(len(blocks)), Length: uint32(len(packed)), RawLength: b.RawLength, Crc32C: crc32.Checksum(packed, castagnoli),
		})
		blocks = append(blocks, packed...)
	}
	return index, blocks, erased, nil
}

func eraseRecords(block []byte, gone func(ID) bool) (changed bool, err error) {
	for position := 0; position < len(block); {
		r, end, err := recordAt(block, position)
		if err != nil {
			return false, err
		}
		if id, err := IDFrom(r.owner()); err == nil && gone(id) {
			if err := overwrite(block[position:end]); err != nil {
				return false, err
			}
			changed = true
		}
		position = end
	}
	return changed, nil
}

// owner is the id of the exchange that a record is of.
func (r *Record) owner() []byte {
	switch {
	case r.GetPart() != nil:
		return r.GetPart().ExchangeId
	case r.GetSegment() != nil:
		return r.GetSegment().ExchangeId
	}
	return r.GetExchange().GetId()
}

// Fields of a Record that was removed: a tag, a length of lengthBytes whatever
// it says, and zeros.
const (
	recordPurged = 15
	lengthBytes  = 5
)

// overwrite makes a record, with its length before it, one of zeros.
func overwrite(record []byte) error {
	_, n := protowire.ConsumeVarint(record)
	record = record[n:]
	clear(record)
	if len(record) < 1+lengthBytes {
		return tapeError("a record of %d bytes with an id", len(record))
	}
	field := protowire.AppendTag(record[:0], recordPurged, protowire.BytesType)
	rest := uint64(len(record) - len(field) - lengthBytes)
	for i := range lengthBytes {
		more := byte(0x80)
		if i == lengthBytes-1 {
			more = 0
		}
		field = append(field, byte(rest>>(7*i))&0x7f|more)
	}
	return nil
}
