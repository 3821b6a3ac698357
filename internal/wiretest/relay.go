package wiretest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// Chunk is what one side sent, or that it sends no more.
type Chunk struct {
	Side   events.Side
	Time   time.Time
	Data   []byte
	Closed bool
	Err    error
}

// Dissect feeds chunks in pieces of at most n bytes to a dissector.
func Dissect(p wire.Protocol, chunks []Chunk, n int) *Sink {
	s := NewSink()
	DissectInto(s, p, chunks, n)
	return s
}

// DissectInto does that with a sink of yours.
func DissectInto(s wire.Sink, p wire.Protocol, chunks []Chunk, n int) {
	c := &events.Connection{Id: make([]byte, 16), Client: "127.0.0.1:5000", Server: "127.0.0.1:80"}
	d := p.NewDissector(c, events.Direction_INBOUND, s)
	for _, chunk := range chunks {
		Feed(d, chunk, n)
	}
}

// Feed feeds one chunk.
func Feed(d wire.Dissector, chunk Chunk, n int) {
	if chunk.Closed {
		d.Close(chunk.Side, chunk.Time, chunk.Err)
		return
	}
	for b := chunk.Data; len(b) > 0; {
		piece := bytes.Clone(b[:min(n, len(b))])
		b = b[len(piece):]
		d.Data(chunk.Side, chunk.Time, piece)
		clear(piece) // whoever kept it shows now
	}
}

// Relay is a plain TCP relay that keeps what it relays.
type Relay struct {
	Address string

	t           testing.TB
	mu          sync.Mutex
	connections []*recording
	sockets     []net.Conn
	relays      sync.WaitGroup
}

type recording struct {
	mu     sync.Mutex
	chunks []Chunk
}

// NewRelay relays to an address until the test ends.
func NewRelay(t testing.TB, to string) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{t: t, Address: l.Addr().String()}
	r.relays.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			r.relays.Go(func() { r.relay(client, to) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		for _, socket := range r.sockets {
			socket.Close()
		}
		r.mu.Unlock()
		r.relays.Wait()
	})
	return r
}

func (r *Relay) relay(client net.Conn, to string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		r.t.Errorf("relay: %v", err)
		return
	}
	defer server.Close()
	c := &recording{}
	r.mu.Lock()
	r.connections = append(r.connections, c)
	r.sockets = append(r.sockets, client, server)
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { c.copy(events.Side_REQUEST, server, client) })
	both.Go(func() { c.copy(events.Side_RESPONSE, client, server) })
	both.Wait()
}

func (c *recording) copy(side events.Side, to, from net.Conn) {
	defer to.(*net.TCPConn).CloseWrite()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			c.add(Chunk{Side: side, Time: time.Now(), Data: bytes.Clone(b[:n])})
			if _, err := to.Write(b[:n]); err != nil {
				from.Close()
			}
		}
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			c.add(Chunk{Side: side, Time: time.Now(), Closed: true, Err: err})
			return
		}
	}
}

func (c *recording) add(chunk Chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chunks = append(c.chunks, chunk)
}

// Connections waits until all connections, at least n, have ended and returns
// what was said on each of them. It calls end now and then, which should end
// them.
func (r *Relay) Connections(n int, end func()) [][]Chunk {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		end()
		if all, open := r.ended(); len(all) >= n && open == 0 {
			return all
		}
	}
	all, open := r.ended()
	r.t.Fatalf("%d connections have ended, want %d; %d are open", len(all), n, open)
	return nil
}

func (r *Relay) ended() (all [][]Chunk, open int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.connections {
		c.mu.Lock()
		closed := 0
		for _, chunk := range c.chunks {
			if chunk.Closed {
				closed++
			}
		}
		if closed == 2 {
			all = append(all, c.chunks)
		} else {
			open++
		}
		c.mu.Unlock()
	}
	return all, open
}
