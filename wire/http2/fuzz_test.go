package http2

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"tapedeck/events"
	"tapedeck/internal/wiretest"
	"tapedeck/wire"
)

// script writes chunks as side and length (2 bytes each) and bytes.
func script(chunks []wiretest.Chunk) []byte {
	var b []byte
	for _, c := range chunks {
		b = binary.BigEndian.AppendUint16(b, uint16(c.Side))
		b = binary.BigEndian.AppendUint16(b, uint16(len(c.Data)))
		b = append(b, c.Data...)
	}
	return b
}

// readScript reads any bytes as chunks.
func readScript(b []byte) []wiretest.Chunk {
	var chunks []wiretest.Chunk
	for len(b) >= 4 {
		c := wiretest.Chunk{Side: events.Side(1 + b[1]%2), Time: start, Closed: b[0]&0x80 != 0}
		n := min(int(binary.BigEndian.Uint16(b[2:])), len(b)-4)
		c.Data, b = b[4:4+n], b[4+n:]
		chunks = append(chunks, c)
	}
	return chunks
}

// FuzzDissect: whatever comes behind a preface, no panic, everything that
// begins ends, memory stays bounded, and however the bytes are split, the
// exchanges are the same.
func FuzzDissect(f *testing.F) {
	for _, test := range dissections {
		talk := newTalk()
		test.talk(talk)
		f.Add(script(talk.chunks[1:]), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		chunks := append([]wiretest.Chunk{{Side: events.Side_REQUEST, Time: start, Data: []byte(preface)}}, readScript(b)...)
		chunks = closed(chunks)
		whole := dissectBounded(t, chunks, 1<<20)
		n = max(n%17, 1)
		pieces := dissectBounded(t, chunks, n)
		if diff := cmp.Diff(whole.Ended, pieces.Ended, protocmp.Transform()); diff != "" {
			t.Errorf("pieces of %d bytes make a difference (-whole +pieces):\n%s", n, diff)
		}
		for _, x := range whole.Ended {
			(&Protocol{}).Describe(x)
			(&Protocol{}).Signature(x)
			if _, err := proto.Marshal(x); err != nil {
				t.Errorf("exchange can't be written: %v", err)
			}
		}
	})
}

func dissectBounded(t *testing.T, chunks []wiretest.Chunk, n int) *wiretest.Sink {
	s := wiretest.NewSink()
	d := (&Protocol{}).NewDissector(&events.Connection{}, events.Direction_INBOUND, s).(*dissector)
	for _, chunk := range chunks {
		wiretest.Feed(d, chunk, n)
		if d.pending < 0 || d.pending > maxHeads+2*maxHead || len(d.open) > maxOpen || len(d.request.block)+len(d.response.block) > 2*maxBlock {
			t.Fatalf("%d bytes and %d exchanges are held", d.pending, len(d.open))
		}
	}
	s.Check(t)
	if d.pending != 0 {
		t.Errorf("%d bytes are held of nothing", d.pending)
	}
	return s
}

// FuzzGap: a conversation is had as the bytes of plan say, read in pieces as
// those of reads say, some of which are missing. Nothing is guessed: an
// exchange that is not marked as a gap is one that was had.
func FuzzGap(f *testing.F) {
	f.Add([]byte("\x00\x10\x20\x30\x01\x11\x21\x02\x12\x22\x05\x45\x65\x85"), []byte("\x20\x90\x20\x10\xa0\x05\x60"), 0)
	f.Add([]byte("\x00\x00\x00\x05\x05\x05\x00\x05\x00\x05\x00\x05"), []byte("\x7f\x20\x7f\xff\x7f\x7f"), 40)
	f.Add([]byte("\x03\x33\x43\x01\x02\x06\x05\x05\x07\x08\x09"), []byte("\x09\x89\x0a\x8b\x0c\x8d"), 60)
	f.Fuzz(func(t *testing.T, plan, reads []byte, skip int) {
		talk := have(plan[:min(len(plan), 200)])
		had := map[string]bool{}
		for _, x := range wiretest.Dissect(&Protocol{}, closed(talk.chunks), 1<<20).Ended {
			if wire.HasGap(x) {
				t.Fatalf("gap in what is whole: %s", line(x))
			}
			had[line(x)] = true
		}
		s := wiretest.NewSink()
		d := (&Protocol{}).NewDissector(&events.Connection{}, events.Direction_INBOUND, s)
		missing(d, closed(talk.chunks), reads, max(0, skip))
		s.Check(t)
		for _, x := range s.Ended {
			if !wire.HasGap(x) && !had[line(x)] {
				t.Errorf("guessed: %s\nwhat was had:\n%v", line(x), had)
			}
		}
	})
}

// have has a conversation: each byte of the plan is a step of a stream.
func have(plan []byte) *talk {
	t := newTalk()
	next := uint32(1)
	asked, answered := map[uint32]bool{}, map[uint32]bool{}
	for i, step := range plan {
		stream := 1 + 2*(uint32(step>>4)%max(next/2, 1))
		body := strings.Repeat(string(rune('g'+i%20)), i%50)
		switch open := stream < next; step & 15 {
		case 0, 1:
			asked[next] = step&1 == 0
			t.ask(next, asked[next], "PUT", fmt.Sprintf("/%d", next))
			next += 2
		case 2:
			t.client.headers(next, true, ":method: GET", ":scheme: http", fmt.Sprintf(":path: /%d", next), fmt.Sprintf("new-%d: %d", i, i))
			asked[next] = true
			next += 2
		case 3, 4:
			if open && !asked[stream] {
				asked[stream] = step&1 == 0
				t.client.data(stream, asked[stream], body)
			}
		case 5, 6:
			if open && !answered[stream] {
				answered[stream] = true
				t.answer(stream, fmt.Sprint(200+i), body)
			}
		case 7:
			if open && !answered[stream] {
				t.server.headers(stream, false, ":status: 103", fmt.Sprintf("hint: %d", i))
			}
		case 8:
			if open && !answered[stream] {
				answered[stream] = true
				t.server.headers(stream, false, fmt.Sprintf(":status: %d", 200+i), "x: y")
				t.server.data(stream, false, body)
				t.server.headers(stream, true, fmt.Sprintf("trailer: %d", i))
			}
		case 9:
			if open {
				asked[stream], answered[stream] = true, true
				t.client.reset(stream, 8)
			}
		case 10:
			t.server.frame.WriteSettingsAck()
			t.server.frame.WritePing(true, [8]byte{1, 2, 3})
			t.server.say()
		}
	}
	return t
}

// missing feeds the chunks in reads of the given sizes. Reads with the high
// bit are missing, but for those of the first bytes.
func missing(d wire.Dissector, chunks []wiretest.Chunk, reads []byte, first int) {
	at, fed := 0, 0
	for _, c := range chunks {
		if c.Closed {
			d.Close(c.Side, c.Time, c.Err)
			continue
		}
		for b := c.Data; len(b) > 0; {
			size := byte(0x7f)
			if len(reads) > 0 {
				size = reads[at%len(reads)]
			}
			at++
			n := min(max(int(size&0x7f), 1), len(b))
			if size&0x80 != 0 && fed >= first {
				d.Gap(c.Side, int64(n))
			} else {
				d.Data(c.Side, c.Time, b[:n])
			}
			b, fed = b[n:], fed+n
		}
	}
}
