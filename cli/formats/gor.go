package formats

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// A GoReplay file is a sequence of payloads, each ended by a separator:
//
//	TYPE ID TIME [LATENCY]\n
//	the message as it was sent
//	\n🐵🙈🙉\n
//
// TYPE is 1 for a request, 2 for its answer, 3 for the answer that a replay
// got. Times are Unix nanoseconds of the first byte, latencies nanoseconds to
// the last; in old files the TIME of an answer is how long it took.
const gorSeparator = "\n🐵🙈🙉\n"

const (
	maxPayload = 64 << 20
	maxWaiting = 1 << 14   // requests whose answer has not come
	maxHeld    = 128 << 20 // bytes of them
)

type gorPayload struct {
	kind    byte
	id      string
	time    int64
	latency int64
	message []byte
}

// ReadGor reads a GoReplay file. Requests wait for their answers within
// bounds; one that has none in the file is yielded without, as a gap.
func ReadGor(r io.Reader, o Options) iter.Seq2[*events.Exchange, error] {
	g := &gorReader{Options: o.withDefaults(), waiting: map[string]*gorPayload{}}
	return func(yield func(*events.Exchange, error) bool) {
		s := &gorScanner{in: bufio.NewReaderSize(r, 64<<10)}
		for {
			p, err := s.next()
			if errors.Is(err, io.EOF) {
				err = nil
			} else if err == nil && p != nil {
				if !g.take(p, yield) {
					return
				}
				continue
			}
			if g.rest(yield) && err != nil {
				yield(nil, fmt.Errorf("gor: byte %d, payload %d: %w", s.start, s.payloads, err))
			}
			return
		}
	}
}

type gorReader struct {
	Options
	waiting map[string]*gorPayload
	order   []string // of waiting, the oldest first; answered ones stay until they are in front
	held    int
}

func (g *gorReader) take(p *gorPayload, yield func(*events.Exchange, error) bool) bool {
	switch p.kind {
	case '1':
		old := g.remove(p.id)
		g.waiting[p.id] = p
		g.order = append(g.order, p.id)
		g.held += len(p.message)
		if old != nil && !g.yield(old, nil, yield) {
			return false
		}
		return g.shrink(yield)
	case '2':
		request := g.remove(p.id)
		if request == nil {
			g.LeftOut("an answer without its request")
			return true
		}
		return g.yield(request, p, yield)
	default:
		g.LeftOut("the answer to a replay")
		return true
	}
}

func (g *gorReader) remove(id string) *gorPayload {
	p := g.waiting[id]
	if p != nil {
		delete(g.waiting, id)
		g.held -= len(p.message)
		if i := slices.Index(g.order[:min(len(g.order), 64)], id); i >= 0 { // almost always in front
			g.order = slices.Delete(g.order, i, i+1)
		}
	}
	return p
}

// shrink gives up waiting for the oldest.
func (g *gorReader) shrink(yield func(*events.Exchange, error) bool) bool {
	for len(g.order) > maxWaiting || g.held > maxHeld {
		if p := g.remove(g.order[0]); p != nil {
			if !g.yield(p, nil, yield) {
				return false
			}
			continue
		}
		g.order = g.order[1:]
	}
	return true
}

func (g *gorReader) rest(yield func(*events.Exchange, error) bool) bool {
	for _, id := range slices.Clone(g.order) {
		if p := g.remove(id); p != nil && !g.yield(p, nil, yield) {
			return false
		}
	}
	return true
}

// yield dissects a request with its answer, on a connection of their own: the
// file does not say which one it was.
func (g *gorReader) yield(request, answer *gorPayload, yield func(*events.Exchange, error) bool) bool {
	began := time.Unix(0, request.time)
	id := events.NewID(began)
	d := newDissection(&events.Connection{Id: id[:], OpenedAt: request.time}, g.Direction, g.Options)
	d.data(events.Side_REQUEST, began, request.message)
	last := answer.begins(request)
	if answer != nil {
		d.data(events.Side_RESPONSE, last, answer.message)
	}
	d.close(events.Side_RESPONSE, last, nil)
	d.close(events.Side_REQUEST, last, nil)
	for _, x := range d.ended() {
		if x.Protocol == "tcp" {
			g.LeftOut("a message that is no HTTP")
			continue
		}
		if answer == nil {
			x.Failure = wire.FailureGap + "the file has no answer to it"
		}
		request.end(&x.Request.LastByte)
		if x.Response != nil {
			answer.end(&x.Response.LastByte)
		}
		if !yield(x, nil) {
			return false
		}
	}
	return true
}

// begins is when the answer's first byte came.
func (p *gorPayload) begins(request *gorPayload) time.Time {
	const plausible = 1e15 // as Unix time, that is in 1970: such a TIME is how long it took
	switch {
	case p == nil:
		return time.Unix(0, request.time)
	case p.time < plausible && request.time > plausible:
		return time.Unix(0, request.time+p.time)
	}
	return time.Unix(0, max(p.time, request.time))
}

func (p *gorPayload) end(last *int64) {
	if p != nil && p.latency > 0 && p.latency < int64(time.Hour) {
		*last += p.latency
	}
}

type gorScanner struct {
	in       *bufio.Reader
	offset   int64
	start    int64 // of the payload that was read last
	payloads int
}

// next reads one payload; io.EOF says that there are no more.
func (s *gorScanner) next() (*gorPayload, error) {
	s.start = s.offset
	s.payloads++
	var b []byte
	for {
		line, err := s.in.ReadSlice('\n')
		s.offset += int64(len(line))
		b = append(b, line...)
		if end, ok := bytes.CutSuffix(b, []byte(gorSeparator)); ok {
			return parseGor(end)
		}
		if len(b) > maxPayload {
			return nil, fmt.Errorf("a payload is longer than %d MiB", maxPayload>>20)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(b)) == 0:
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			return nil, errors.New("the file is cut off: no separator ends the payload")
		case err != nil:
			return nil, err
		}
	}
}

func parseGor(b []byte) (*gorPayload, error) {
	b = bytes.TrimLeft(b, "\n") // between payloads that were put together by hand
	line, message, ok := bytes.Cut(b, []byte("\n"))
	parts := strings.Fields(string(line[:min(len(line), 200)]))
	if !ok && len(line) > 200 || len(parts) < 3 || len(parts[0]) != 1 || !strings.Contains("123", parts[0]) {
		return nil, fmt.Errorf("%q is no line like \"1 ID TIME\"", clip(string(line), 40))
	}
	p := &gorPayload{kind: parts[0][0], id: parts[1], message: message}
	var err error
	if p.time, err = strconv.ParseInt(parts[2], 10, 64); err != nil || p.time < 0 {
		return nil, fmt.Errorf("the time %q is no number of nanoseconds", clip(parts[2], 40))
	}
	if len(parts) > 3 {
		if p.latency, err = strconv.ParseInt(parts[3], 10, 64); err != nil {
			return nil, fmt.Errorf("the latency %q is no number of nanoseconds", clip(parts[3], 40))
		}
	}
	return p, nil
}
