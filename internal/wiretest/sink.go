// Package wiretest tests dissectors: a sink that keeps everything, and a relay
// that keeps what real programs said to each other, to be dissected in pieces
// of any size.
package wiretest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// Sink keeps what a dissector finds. Ids are numbers, so that two runs can be
// compared.
type Sink struct {
	Begun    int
	Ended    []*events.Exchange
	Dropped  map[string]int // by reason
	Heads    int
	Segments map[events.ID][]*events.Segment
	Parts    map[string][]byte // by PartsOf

	places uint32
	open   map[events.ID]bool
	faults []string
}

var (
	_ wire.HeadSink    = (*Sink)(nil)
	_ wire.SegmentSink = (*Sink)(nil)
)

// NewSink is an empty one.
func NewSink() *Sink {
	return &Sink{Dropped: map[string]int{}, Segments: map[events.ID][]*events.Segment{}, Parts: map[string][]byte{}, open: map[events.ID]bool{}}
}

// PartsOf is the key of Parts.
func PartsOf(id events.ID, side events.Side) string { return fmt.Sprint(id, side) }

// Begin makes an id.
func (s *Sink) Begin(time.Time) events.ID {
	s.Begun++
	var id events.ID
	id[15], id[14], id[13] = byte(s.Begun), byte(s.Begun>>8), byte(s.Begun>>16)
	s.open[id] = true
	return id
}

// Head counts.
func (s *Sink) Head(x *events.Exchange) {
	s.Heads++
	s.mustBeOpen("head", events.ID(x.Id))
}

// Body keeps.
func (s *Sink) Body(id events.ID, side events.Side, offset int64, b []byte) *events.RecordRef {
	s.mustBeOpen("body", id)
	key := PartsOf(id, side)
	if have := int64(len(s.Parts[key])); have > 0 && offset < have {
		s.fault("body of %s at %d overlaps", id, offset)
	}
	s.Parts[key] = append(s.Parts[key], b...)
	return s.place()
}

// Segment keeps.
func (s *Sink) Segment(id events.ID, segment *events.Segment) *events.RecordRef {
	s.mustBeOpen("segment", id)
	if int(segment.Number) != len(s.Segments[id]) || len(segment.Messages) == 0 {
		s.fault("segment %d of %s has %d messages, and number %d comes next", segment.Number, id, len(segment.Messages), len(s.Segments[id]))
	}
	s.Segments[id] = append(s.Segments[id], segment)
	return s.place()
}

func (s *Sink) place() *events.RecordRef {
	s.places++
	return &events.RecordRef{Position: s.places}
}

// End keeps.
func (s *Sink) End(x *events.Exchange) {
	s.ends("end", events.ID(x.Id))
	s.Ended = append(s.Ended, x)
}

// Drop counts.
func (s *Sink) Drop(id events.ID, reason string) {
	s.ends("drop", id)
	s.Dropped[reason]++
}

func (s *Sink) ends(what string, id events.ID) {
	s.mustBeOpen(what, id)
	delete(s.open, id)
}

func (s *Sink) mustBeOpen(what string, id events.ID) {
	if !s.open[id] {
		s.fault("%s of %s, which is not open", what, id)
	}
}

func (s *Sink) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// Check fails the test unless everything that began has ended or was dropped,
// once, and nothing was said of it before or after.
func (s *Sink) Check(t testing.TB) {
	t.Helper()
	for _, fault := range s.faults {
		t.Error(fault)
	}
	if len(s.open) > 0 {
		t.Errorf("%d exchanges of %d are still open", len(s.open), s.Begun)
	}
}

// Whole is a body with its parts.
func (s *Sink) Whole(x *events.Exchange, side events.Side) []byte {
	body := x.GetRequest().GetBody()
	if side == events.Side_RESPONSE {
		body = x.GetResponse().GetBody()
	}
	return append(bytes.Clone(body.GetData()), s.Parts[PartsOf(events.ID(x.Id), side)]...)
}

// Plain is the sink without the methods that a sink may lack.
func (s *Sink) Plain() wire.Sink { return struct{ wire.Sink }{s} }
