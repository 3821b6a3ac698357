package scenario

import (
	"errors"
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"
)

// spill keeps records until they are wanted again: in memory up to a limit,
// then in a temporary file.
type spill struct {
	dir    string
	limit  int
	memory []byte
	file   *os.File
	size   int64 // of all records
}

// append keeps a record and says where.
func (s *spill) append(m proto.Message) (offset int64, length uint32, err error) {
	raw, err := proto.MarshalOptions{}.MarshalAppend(s.memory, m)
	if err != nil {
		return 0, 0, fmt.Errorf("keep exchange: %w", err)
	}
	length = uint32(len(raw) - len(s.memory))
	s.memory = raw
	offset = s.size
	s.size += int64(length)
	if len(s.memory) < s.limit {
		return offset, length, nil
	}
	return offset, length, s.flush()
}

func (s *spill) flush() error {
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "scenario-*")
		if err != nil {
			return fmt.Errorf("keep exchanges: %w", err)
		}
		s.file = f
	}
	if _, err := s.file.Write(s.memory); err != nil {
		return fmt.Errorf("keep exchanges in %s: %w", s.file.Name(), err)
	}
	s.memory = s.memory[:0]
	return nil
}

// read reads a record back.
func (s *spill) read(offset int64, length uint32, m proto.Message) error {
	begin := s.size - int64(len(s.memory)) // of what is in memory
	if offset >= begin {
		from := offset - begin
		return proto.Unmarshal(s.memory[from:from+int64(length)], m)
	}
	raw := make([]byte, length)
	if _, err := s.file.ReadAt(raw, offset); err != nil {
		return fmt.Errorf("read exchange back from %s: %w", s.file.Name(), err)
	}
	return proto.Unmarshal(raw, m)
}

// close removes the file.
func (s *spill) close() error {
	s.memory = nil
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Close(), os.Remove(s.file.Name()))
	s.file = nil
	return err
}
