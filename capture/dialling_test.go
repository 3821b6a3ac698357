package capture

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// listenDeaf listens without a place for another connection: who dials waits,
// until the listener is closed and refuses.
func listenDeaf(t *testing.T) (address string, refuse func()) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	t.Cleanup(func() { f.Close() })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	local, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address = fmt.Sprintf("127.0.0.1:%d", local.(*syscall.SockaddrInet4).Port)
	for range 16 {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address, func() { f.Close() }
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the listener has a place for everybody")
	return "", nil
}

// dialling waits until n sessions dial.
func (r *running) dialling(n int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d dial", n), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		found := 0
		for s := range r.sessions {
			s.mu.Lock()
			if s.dialing {
				found++
			}
			s.mu.Unlock()
		}
		return found == n
	})
}

func say(t *testing.T, to net.Addr, words string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, words); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEndWhileDialling: what capture gives up itself has not failed. Requests
// that wait for their upstream are recorded as cut, like all others.
func TestEndWhileDialling(t *testing.T) {
	_, js := natstest.New(t)
	deaf, _ := listenDeaf(t)
	c := start(t, Config{Inbound: []string{"0=" + deaf}, Outbound: []string{"0"}, OutboundTLS: "open", DrainTimeout: 300 * time.Millisecond}, Deps{JS: js})
	port, _ := net.LookupPort("tcp", portOf(deaf))
	inbound, proxy := c.Addrs()[0], c.Addrs()[1]
	say(t, inbound, "")
	say(t, inbound, "GET /in HTTP/1.1\r\nHost: x\r\n\r\n")
	say(t, proxy, "GET http://"+deaf+"/out HTTP/1.1\r\nHost: x\r\n\r\n")
	say(t, proxy, "CONNECT "+deaf+" HTTP/1.1\r\nHost: x\r\n\r\n")
	say(t, proxy, "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01"+string([]byte{byte(port >> 8), byte(port)}))
	c.dialling(5)
	c.stop()
	out := play(t, tapesOf(t, js))
	targets := map[string]bool{}
	for i, x := range out.exchanges {
		targets[x.Request.Target] = true
		if x.Failure != "no answer: connection closed" || out.rows[i].Class != events.StatusClass_FAILED {
			t.Errorf("recorded %s %s: %s %q", x.Protocol, x.Request.Target, out.rows[i].Class.Name(), x.Failure)
		}
	}
	if len(out.rows) != 2 || !targets["/in"] || !targets["/out"] {
		t.Errorf("recorded %d: %v, want the two requests", len(out.rows), targets)
	}
	for _, d := range []string{"inbound", "outbound"} {
		if n := value(t, c.metrics.refused.WithLabelValues(d)); n != 0 {
			t.Errorf("%v %s upstreams counted as failed, want none", n, d)
		}
	}
}

// TestARequestMayWaitForItsUpstream: a drain gives the dial the time that
// every request has.
func TestARequestMayWaitForItsUpstream(t *testing.T) {
	_, js := natstest.New(t)
	deaf, refuse := listenDeaf(t)
	c := start(t, Config{Inbound: []string{"0=" + deaf}, DrainTimeout: 20 * time.Second}, Deps{JS: js})
	say(t, c.Addrs()[0], "GET /in HTTP/1.1\r\nHost: x\r\n\r\n")
	c.dialling(1)
	c.cancel()
	refuse()
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 || out.exchanges[0].Failure != "no answer: refused" {
		t.Errorf("recorded %v, want the request that was refused by its upstream", out.exchanges)
	}
}

// TestClientLeavesWhileDialling: it has not asked for anything.
func TestClientLeavesWhileDialling(t *testing.T) {
	_, js := natstest.New(t)
	deaf, refuse := listenDeaf(t)
	c := start(t, Config{Inbound: []string{"0=" + deaf}}, Deps{JS: js})
	say(t, c.Addrs()[0], "").Close()
	c.dialling(1)
	refuse()
	eventually(t, "refused", func() bool { return value(t, c.metrics.refused.WithLabelValues("inbound")) == 1 })
	c.stop()
	if out := play(t, tapesOf(t, js)); len(out.rows) != 0 {
		t.Errorf("recorded %v, want nothing", out.exchanges)
	}
}
