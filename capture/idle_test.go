package capture

import (
	"net"
	"testing"
)

// A connection that nobody uses is no exchange, not even when capture ends it.
func TestUnusedConnectionIsNoExchange(t *testing.T) {
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := origin.Accept(); err == nil {
			accepted <- c
		}
	}()
	r := start(t, Config{Outbound: []string{"0=" + origin.Addr().String()}}, Deps{})
	client, err := net.Dial("tcp", r.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	upstream := <-accepted
	defer upstream.Close()
	r.stop()
	if got := r.Counts(); got.Begun != 0 {
		t.Errorf("counts %+v, want nothing begun", got)
	}
}
