package http2

import (
	"fmt"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// nobody is a sink that keeps nothing.
type nobody struct{ n int }

func (s *nobody) Begin(t time.Time) events.ID { s.n++; return events.NewID(t) }
func (s *nobody) Body(events.ID, events.Side, int64, []byte) *events.RecordRef {
	return nil
}
func (s *nobody) End(*events.Exchange)       {}
func (s *nobody) Drop(_ events.ID, _ string) {}

var _ wire.Sink = (*nobody)(nil)

// BenchmarkDissect is one exchange with an answer of 1 KiB of a hundred that
// are under way at once.
func BenchmarkDissect(b *testing.B) {
	talk := newTalk()
	first := len(talk.chunks)
	body := string(make([]byte, 1024))
	const streams = 100
	round := func(from uint32) {
		for i := range uint32(streams) {
			talk.ask(from+2*i, true, "GET", fmt.Sprintf("/orders/%d", i))
		}
		for i := range uint32(streams) {
			talk.answer(from+2*i, "200", body)
		}
	}
	round(1)
	for i := range 100 {
		round(uint32(1 + 2*streams*(i+1)))
	}
	b.ReportAllocs()
	at := len(talk.chunks)
	var d wire.Dissector
	s := &nobody{}
	for b.Loop() {
		if at == len(talk.chunks) {
			d = (&Protocol{}).NewDissector(&events.Connection{}, events.Direction_INBOUND, s)
			for _, chunk := range talk.chunks[:first] {
				d.Data(chunk.Side, chunk.Time, chunk.Data)
			}
			at = first
		}
		for range 3 { // a request, and the two frames of an answer
			d.Data(talk.chunks[at].Side, talk.chunks[at].Time, talk.chunks[at].Data)
			at++
		}
	}
}
