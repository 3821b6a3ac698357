package scenario

import (
	"context"
	"fmt"
	"iter"

	"google.golang.org/protobuf/proto"

	"tapedeck/archiver/tapes"
)

// bucketStore reads pieces. Of a piece it fetches the table, then runs of
// wanted records.
type bucketStore struct{ bucket tapes.Bucket }

const (
	firstRead = 64 << 10  // of a piece: most tables are shorter
	maxGap    = 256 << 10 // unwanted bytes that are cheaper read than skipped
	maxRun    = 16 << 20  // of records in one read, unless one is longer
)

func (s bucketStore) tests(ctx context.Context, m *Manifest, share Share) iter.Seq2[*Session, error] {
	return func(yield func(*Session, error) bool) {
		for _, p := range m.TestPieces {
			table := new(TestTable)
			r, err := s.open(ctx, m, p, kindTests, table)
			if err != nil {
				yield(nil, err)
				return
			}
			var frames []*Frame
			for _, place := range table.Sessions {
				if share.Has(place.Hash) {
					frames = append(frames, place.Frame)
				}
			}
			for session, err := range records[Session](ctx, r, frames) {
				if !yield(session, err) || err != nil {
					return
				}
			}
		}
	}
}

func (s bucketStore) mocks(ctx context.Context, m *Manifest, dependency string) iter.Seq2[*Mock, error] {
	return func(yield func(*Mock, error) bool) {
		for _, p := range m.MockPieces {
			if p.Dependency != dependency {
				continue
			}
			table := new(MockTable)
			r, err := s.open(ctx, m, p, kindMocks, table)
			if err != nil {
				yield(nil, err)
				return
			}
			frames := make([]*Frame, len(table.Mocks))
			for i, place := range table.Mocks {
				frames[i] = place.Frame
			}
			for mock, err := range records[Mock](ctx, r, frames) {
				if !yield(mock, err) || err != nil {
					return
				}
			}
		}
	}
}

// pieceReader reads the records of one piece.
type pieceReader struct {
	bucket tapes.Bucket
	key    string
	begin  int64 // of the frames
	length int64 // of the frames
}

func (s bucketStore) open(ctx context.Context, m *Manifest, p Piece, kind uint16, table proto.Message) (*pieceReader, error) {
	key := Folder(m.Name, m.Version) + p.Key
	front, err := s.bucket.Get(ctx, key, 0, firstRead)
	if err != nil {
		return nil, fmt.Errorf("read piece %s: %w", key, err)
	}
	size, err := tableSize(front, kind)
	if err != nil {
		return nil, fmt.Errorf("read piece %s: %w", key, err)
	}
	if size > int64(len(front)) {
		if front, err = s.bucket.Get(ctx, key, 0, size); err != nil {
			return nil, fmt.Errorf("read piece %s: %w", key, err)
		}
	}
	length, err := parseTable(front, kind, table)
	if err != nil {
		return nil, fmt.Errorf("read piece %s: %w", key, err)
	}
	return &pieceReader{s.bucket, key, size, length}, nil
}

// record is a pointer to a record of type T.
type record[T any] interface {
	*T
	proto.Message
}

// records reads the records at frames, which are in ascending order, with few
// reads.
func records[T any, P record[T]](ctx context.Context, r *pieceReader, frames []*Frame) iter.Seq2[P, error] {
	return func(yield func(P, error) bool) {
		for len(frames) > 0 {
			n, err := runLength(frames, r.length)
			if err != nil {
				yield(nil, fmt.Errorf("read piece %s: %w", r.key, err))
				return
			}
			run := frames[:n]
			frames = frames[n:]
			from, last := run[0].Offset, run[n-1]
			raw, err := r.bucket.Get(ctx, r.key, r.begin+int64(from), int64(last.Offset-from)+int64(last.Length))
			if err != nil {
				yield(nil, fmt.Errorf("read piece %s: %w", r.key, err))
				return
			}
			for _, f := range run {
				m := P(new(T))
				err := f.unpack(cut(raw, f.Offset-from, f.Length), m)
				if err == nil {
					err = validate(m)
				}
				if err != nil {
					yield(nil, fmt.Errorf("read piece %s: %w", r.key, err))
					return
				}
				if !yield(m, nil) {
					return
				}
			}
		}
	}
}

// runLength is how many of the frames are read at once.
func runLength(frames []*Frame, length int64) (int, error) {
	for i, f := range frames {
		if err := f.check(length); err != nil {
			return 0, err
		}
		if i == 0 {
			continue
		}
		before := frames[i-1]
		end := before.Offset + uint64(before.Length)
		if f.Offset < end {
			return 0, formatError("records of a piece overlap")
		}
		if f.Offset-end > maxGap || f.Offset+uint64(f.Length)-frames[0].Offset > maxRun {
			return i, nil
		}
	}
	return len(frames), nil
}

// cut is the part of b at offset, less where b ends earlier.
func cut(b []byte, offset uint64, length uint32) []byte {
	from := min(offset, uint64(len(b)))
	return b[from:min(from+uint64(length), uint64(len(b)))]
}

// validate holds what readers may rely on without looking again.
func validate(m proto.Message) error {
	switch m := m.(type) {
	case *Session:
		return m.validate()
	case *Mock:
		if m.GetExchange().GetRequest() == nil || m.Exchange.Response == nil {
			return formatError("mock without request or response")
		}
	}
	return nil
}

func (s *Session) validate() error {
	for i, t := range s.Tests {
		if t.GetExchange().GetRequest() == nil || t.Exchange.Response == nil {
			return formatError("test %d of session %s without request or response", i, s.Id)
		}
	}
	for _, l := range s.Links {
		if l.From >= l.To || int(l.To) >= len(s.Tests) {
			return formatError("session %s links answer %d to request %d of %d", s.Id, l.From, l.To, len(s.Tests))
		}
	}
	return nil
}
