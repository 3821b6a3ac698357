package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// plenty of flow control: the answers of all streams, for as long as it takes
// to grant it again.
const window = 1 << 30

// multiplexed is one HTTP/2 connection with many streams at a time.
type multiplexed struct {
	*loader
	*tally
	framer  *http2.Framer
	in      *bufio.Reader
	out     *bufio.Writer
	encoder *hpack.Encoder
	decoder *hpack.Decoder
	head    headBuffer
	random  *rand.Rand
	next    uint32 // stream
	open    map[uint32]*stream
	granted int // bytes of the window used
	status  string
}

type stream struct {
	sent, due time.Duration
	status    string
	body      int
}

type headBuffer struct{ b []byte }

func (h *headBuffer) Write(b []byte) (int, error) { h.b = append(h.b, b...); return len(b), nil }

// http2 keeps Streams requests under way on one connection.
func (w *loader) http2(ctx context.Context, n int, conn net.Conn, r *bufio.Reader) {
	m := &multiplexed{loader: w, tally: newTally(), in: r, out: bufio.NewWriterSize(conn, 64<<10), random: rand.New(rand.NewPCG(uint64(n), 2)), next: 1, open: map[uint32]*stream{}}
	defer w.add(m.tally)
	defer conn.Close()
	m.framer = http2.NewFramer(m.out, r)
	m.framer.SetReuseFrames()
	m.encoder = hpack.NewEncoder(&m.head)
	m.decoder = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == ":status" {
			m.status = f.Value
		}
	})
	conn.SetDeadline(time.Now().Add(w.Duration + time.Minute))
	if err := m.run(ctx); err != nil {
		m.failed(err)
	}
}

func (m *multiplexed) run(ctx context.Context) error {
	if _, err := m.out.WriteString(http2.ClientPreface); err != nil {
		return err
	}
	m.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	m.framer.WriteWindowUpdate(0, window)
	for range m.Streams {
		if err := m.ask(ctx); err != nil {
			return err
		}
	}
	for len(m.open) > 0 {
		if m.in.Buffered() == 0 { // what was asked goes out together
			if err := m.out.Flush(); err != nil {
				return err
			}
		}
		if err := m.read(ctx); err != nil {
			return fmt.Errorf("%d streams unanswered: %w", len(m.open), err)
		}
	}
	return nil
}

// ask opens the next stream, if another request is wanted.
func (m *multiplexed) ask(ctx context.Context) error {
	due, ok := m.loader.next(ctx)
	if !ok {
		return nil
	}
	m.head.b = m.head.b[:0]
	path := fmt.Sprint(m.Prefix, m.random.IntN(max(m.Paths, 1)))
	for _, f := range [...]hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: m.Address}, {Name: ":path", Value: path}, {Name: "user-agent", Value: "bench"}} {
		m.encoder.WriteField(f)
	}
	id := m.next
	m.next += 2
	m.open[id] = &stream{sent: time.Since(m.begun), due: due}
	return m.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: m.head.b, EndStream: true, EndHeaders: true})
}

// read reads the frames that have come, one at least.
func (m *multiplexed) read(ctx context.Context) error {
	f, err := m.framer.ReadFrame()
	if err != nil {
		return err
	}
	s := m.open[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.HeadersFrame:
		if s == nil {
			return fmt.Errorf("an answer on stream %d, which is not open", f.StreamID)
		}
		if _, err := m.decoder.Write(f.HeaderBlockFragment()); err != nil {
			return err
		}
		s.status = m.status
		return m.ended(ctx, f.StreamID, s, f.StreamEnded())
	case *http2.DataFrame:
		if s == nil {
			return fmt.Errorf("data on stream %d, which is not open", f.StreamID)
		}
		s.body += len(f.Data())
		if m.granted += int(f.Length); m.granted > window/2 {
			m.framer.WriteWindowUpdate(0, uint32(m.granted))
			m.granted = 0
		}
		return m.ended(ctx, f.StreamID, s, f.StreamEnded())
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return m.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return m.framer.WritePing(true, f.Data)
		}
	case *http2.RSTStreamFrame:
		return fmt.Errorf("stream %d was reset: %v", f.StreamID, f.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Errorf("the server goes away: %v", f.ErrCode)
	}
	return nil
}

func (m *multiplexed) ended(ctx context.Context, id uint32, s *stream, ended bool) error {
	if !ended {
		return nil
	}
	delete(m.open, id)
	if s.status != "200" || s.body != m.Body {
		m.failed(fmt.Errorf("answered %s with %d bytes, want 200 with %d", s.status, s.body, m.Body))
	} else {
		now := time.Since(m.begun)
		m.answered(now-s.sent, now-s.due)
	}
	return m.ask(ctx)
}
