package fidelity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// socket is an origin that keeps what it is sent and answers what it is told.
type socket struct {
	l *net.TCPListener
}

// script is how it behaves on one connection.
type script struct {
	answer string
	early  bool // before it has read anything
	half   bool // and says at once that it has no more to say
	reset  bool // at the end, instead of FIN
}

// scriptOf varies the behaviour from case to case.
func scriptOf(i int) script {
	return script{answer: answers[i%len(answers)], early: i%3 == 0, half: i%6 == 0, reset: i%5 == 0 && i%6 != 0}
}

// hear is what came in on one connection, as it came.
type hear struct {
	bytes.Buffer
	end     string
	arrived chan int // bytes, and 0 at the end
}

func listenTo(c net.Conn) *hear {
	h := &hear{arrived: make(chan int, 1<<16)}
	go func() {
		defer close(h.arrived)
		b := make([]byte, 64<<10)
		for {
			n, err := c.Read(b)
			h.Write(b[:n])
			h.arrived <- n
			if err != nil {
				h.end = endOf(err)
				return
			}
		}
	}()
	return h
}

// await waits for n more bytes.
func (h *hear) await(n int) error {
	for n > 0 {
		got, ok := <-h.arrived
		if !ok {
			return fmt.Errorf("the origin saw the connection end (%s) with %d bytes to come", h.end, n)
		}
		n -= got
	}
	return nil
}

// ended waits for the end of the connection.
func (h *hear) ended() {
	for range h.arrived {
	}
}

// check lets k talk to the socket by way of address, and says what is not as
// it would be without anything between them.
func (s *socket) check(address string, k *talk, as script) error {
	return s.checkBy(plainly(address), k, as)
}

// checkBy is check by another way than a plain connection.
func (s *socket) checkBy(dial dialer, k *talk, as script) error {
	deadline := time.Now().Add(patience)
	s.l.SetDeadline(deadline)
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(deadline)
	client := c.(*net.TCPConn)
	write := make(chan error, 1)
	go func() { // what waits for a request to connect gets the first piece
		if len(k.pieces) == 0 {
			write <- nil
			return
		}
		_, err := io.WriteString(client, k.pieces[0])
		write <- err
	}()
	o, err := s.l.AcceptTCP()
	if err != nil {
		return fmt.Errorf("nothing reaches the origin: %w", err)
	}
	defer o.Close()
	o.SetDeadline(deadline)
	if as.early {
		io.WriteString(o, as.answer)
	}
	if as.half {
		o.CloseWrite()
	}
	heard := listenTo(o)
	if err := tell(client, k, heard, write); err != nil {
		return err
	}
	got, end := reply(client, o, k, as)
	heard.ended()
	return compare(k, as, heard, got, end)
}

// tell writes k, each piece when the one before has arrived.
func tell(client *net.TCPConn, k *talk, heard *hear, first chan error) error {
	if err := <-first; err != nil {
		return err
	}
	for i, p := range k.pieces {
		if i > 0 {
			if _, err := io.WriteString(client, p); err != nil {
				return err
			}
		}
		if err := heard.await(len(p)); err != nil {
			return err
		}
	}
	switch k.end {
	case abort:
		client.SetLinger(0)
		return client.Close()
	case leave:
		return client.Close()
	}
	return client.CloseWrite()
}

// reply answers when all is said, and reads the answer.
func reply(client, o *net.TCPConn, k *talk, as script) (got, end string) {
	if k.end == abort || k.end == leave {
		return "", ""
	}
	if !as.early {
		io.WriteString(o, as.answer)
	}
	if as.reset {
		o.SetLinger(0)
	}
	o.Close()
	b, err := io.ReadAll(client)
	return string(b), endOf(err)
}

func compare(k *talk, as script, heard *hear, got, end string) error {
	var faults []error
	if said := k.said(); heard.String() != said {
		faults = append(faults, fmt.Errorf("the origin is sent %.300q, want %.300q", heard.String(), said))
	}
	if k.end == abort {
		if heard.end != "reset" {
			faults = append(faults, fmt.Errorf("the client resets, the origin sees %s", heard.end))
		}
		return errors.Join(faults...)
	}
	if k.end == leave {
		return errors.Join(faults...)
	}
	want := map[bool]string{false: "EOF", true: "reset"}[as.reset]
	if got != as.answer || end != want {
		faults = append(faults, fmt.Errorf("the client sees %s after %.300q, want %s after %.300q", end, got, want, as.answer))
	}
	return errors.Join(faults...)
}

// TestTheOriginIsSentTheSameBytes: in every case a socket behind us reads what
// the client wrote, in whatever pieces, and the client what the socket
// answered; so do the ends of both sides.
func TestTheOriginIsSentTheSameBytes(t *testing.T) {
	t.Parallel()
	all := cases()
	s := &socket{listenLocal(t)}
	c := startCapture(t, s.l.Addr().String())
	for i, k := range all {
		for mode, address := range map[string]string{"inbound": c.inbound(), "outbound": c.outbound()} {
			if err := s.check(address, k, scriptOf(i)); err != nil {
				t.Errorf("%s %s: %v", mode, k.name, err)
			}
		}
	}
	c.mustBeWhole(2 * len(all))
}
