package tcp

import (
	"bytes"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"tapedeck/events"
)

// clientHello is what Go's client sends first.
func clientHello(t testing.TB, name string) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		tls.Client(ours, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake() // fails: nobody answers
	}()
	b := make([]byte, maxHello)
	theirs.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := theirs.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// add feeds pieces and returns what was found.
func add(b []byte, size int) (name string, found int, h *hello) {
	h = &hello{}
	for len(b) > 0 {
		n := min(size, len(b))
		if got, ok := h.add(b[:n]); ok {
			name = got
			found++
		}
		b = b[n:]
	}
	return name, found, h
}

func TestHelloNamesTheServer(t *testing.T) {
	raw := clientHello(t, "api.example")
	for _, size := range []int{1, 7, 100, len(raw) + 10} {
		name, found, h := add(append(bytes.Clone(raw), "more"...), size)
		if name != "api.example" || found != 1 || !h.done || h.first != nil {
			t.Errorf("pieces of %d: %q %d times, done %v", size, name, found, h.done)
		}
	}
	if name, found, _ := add(clientHello(t, "10.0.0.1"), 100); name != "" || found != 1 {
		t.Errorf("without a name: %q %d times", name, found)
	}
}

// A hello may lie in many records; not all of them are looked at for ever.
func TestHelloInManyRecords(t *testing.T) {
	raw := clientHello(t, "api.example")
	split := func(n int) (out []byte) {
		for body := raw[5:]; len(body) > 0; body = body[min(n, len(body)):] {
			piece := body[:min(n, len(body))]
			out = append(append(out, 22, 3, 1, byte(len(piece)>>8), byte(len(piece))), piece...)
		}
		return out
	}
	if name, _, _ := add(split(200), 1<<20); name != "api.example" {
		t.Errorf("in records of 200: %q", name)
	}
	if _, found, h := add(split(1), 6); found != 0 || !h.done {
		t.Errorf("in records of 1: found %d, done %v", found, h.done)
	}
}

func TestTLSIsRecordedWithItsServer(t *testing.T) {
	c := &events.Connection{Server: "10.0.0.1:443"}
	got := &sink{}
	d := (&Protocol{}).NewDissector(c, events.Direction_OUTBOUND, got)
	d.Data(events.Side_REQUEST, time.Now(), clientHello(t, "api.example"))
	d.Close(events.Side_REQUEST, time.Now(), nil)
	d.Close(events.Side_RESPONSE, time.Now(), nil)
	if len(got.ended) != 1 || got.ended[0].Connection.GetTls().GetServerName() != "api.example" {
		t.Errorf("recorded %v", got.ended)
	}
}

// However it is split, the same name is found, and memory is bounded.
func FuzzHello(f *testing.F) {
	f.Add(clientHello(f, "api.example"), 7)
	f.Add([]byte("\x16\x03\x01\x00\x04abcd"), 1)
	f.Add([]byte("GET / HTTP/1.1\r\n"), 3)
	f.Add([]byte("\x16"+strings.Repeat("\x03", 20000)), 5000)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		whole, n, _ := add(b, len(b)+1)
		split, m, h := add(b, max(1, min(size, len(b))))
		if len(h.first) > maxHello || n > 1 || m > 1 {
			t.Fatalf("keeps %d bytes, finds %d and %d", len(h.first), n, m)
		}
		if n == 1 && m == 1 && whole != split {
			t.Errorf("whole %q, split %q", whole, split)
		}
	})
}
