// Package fidelity proves that capture changes nothing: what a client says,
// well-formed or not, reaches the origin through us as it does without us, and
// the answer comes back the same.
//
// The proof has two halves. In the one a socket stands where the origin would:
// the bytes that reach it are those that the client wrote, and its answer
// reaches the client. In the other real origins (net/http, nginx, Node) answer
// the same direct and through us. A rewriting proxy must fail both
// (TestARewritingProxyIsFound).
package fidelity

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// patience is how long one connection may take, on a busy machine too.
const patience = 30 * time.Second

// ending is what a client does when it has said everything.
type ending int

const (
	finish ending = iota // half-close, and read the answer to its end
	listen               // read until the server ends, if only by its timeout
	leave                // close
	abort                // reset
)

// talk is what a client says on one connection.
type talk struct {
	name   string
	pieces []string // written one by one
	end    ending
	// pipelined says that each request line in it is one, not part of a body.
	pipelined bool
	pause     time.Duration // after each piece
}

// said is all that the client writes.
func (k *talk) said() string {
	all := ""
	for _, p := range k.pieces {
		all += p
	}
	return all
}

// outcome is what a client has seen.
type outcome struct {
	Answer string
	End    string // "EOF", "reset", or another error
}

func (o outcome) String() string { return fmt.Sprintf("%s after %.600q", o.End, o.Answer) }

// slowly is the same talk in pieces of at most a small buffer of capture's,
// with a pause after each: as it might come over a slower network.
func (k *talk) slowly() *talk {
	slow := *k
	slow.pieces, slow.pause = nil, time.Millisecond
	for _, p := range k.pieces {
		for piece := range slices.Chunk([]byte(p), 4<<10) {
			slow.pieces = append(slow.pieces, string(piece))
		}
	}
	return &slow
}

// with talks to address.
func (k *talk) with(address string) outcome {
	return k.by(plainly(address))
}

// by talks by another way than a plain connection.
func (k *talk) by(dial dialer) outcome {
	c, err := dial()
	if err != nil {
		return outcome{End: err.Error()}
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	go func() {
		for _, p := range k.pieces {
			if _, err := io.WriteString(c, p); err != nil {
				return // the answer says why
			}
			if k.pause > 0 {
				<-time.After(k.pause)
			}
		}
		if k.end == finish {
			c.(interface{ CloseWrite() error }).CloseWrite()
		}
	}()
	got, err := io.ReadAll(c)
	return outcome{Answer: sameDate(string(got)), End: endOf(err)}
}

// endOf names the end of a connection; nil is that of io.ReadAll.
func endOf(err error) string {
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return "EOF"
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	}
	return err.Error()
}

var date = regexp.MustCompile(`\r\nDate: [^\r]*\r\n`)

// sameDate takes out what differs from second to second.
func sameDate(answer string) string { return date.ReplaceAllString(answer, "\r\nDate: now\r\n") }
