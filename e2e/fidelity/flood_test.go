package fidelity

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"tapedeck/capture"
)

// TestFloodsAreRelayedInBoundedMemory: HTTP/2 that kills servers (CONTINUATION
// without end, streams that are reset at once, a SETTINGS and PING flood) is
// the origin's affair: it is sent all of it, and the recorder keeps little.
func TestFloodsAreRelayedInBoundedMemory(t *testing.T) {
	head := headBlock()
	for _, flood := range []struct {
		name  string
		begin func(*http2.Framer)
		again func(f *http2.Framer, i uint32)
		times uint32
	}{
		{"continuation",
			func(f *http2.Framer) {
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head})
			},
			func(f *http2.Framer, _ uint32) { f.WriteContinuation(1, false, bytes.Repeat(head, 100)) }, 10_000},
		{"rapid reset",
			func(*http2.Framer) {},
			func(f *http2.Framer, i uint32) {
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: head, EndHeaders: true})
				f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
			}, 20_000},
		{"open streams",
			func(*http2.Framer) {},
			func(f *http2.Framer, i uint32) {
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: head, EndHeaders: true})
				f.WriteData(2*i+1, false, bytes.Repeat([]byte("x"), 1000))
			}, 20_000},
		{"settings and ping",
			func(*http2.Framer) {},
			func(f *http2.Framer, i uint32) {
				f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: i << 12})
				f.WritePing(false, [8]byte{1})
			}, 100_000},
	} {
		t.Run(flood.name, func(t *testing.T) {
			said := &bytes.Buffer{}
			said.WriteString(http2.ClientPreface)
			f := http2.NewFramer(said, nil)
			f.AllowIllegalWrites = true
			f.WriteSettings()
			flood.begin(f)
			for i := range flood.times {
				flood.again(f, i)
			}
			l := listenLocal(t)
			c := startWith(t, capture.Config{Inbound: []string{"0=" + l.Addr().String()}, OnPressure: "block", Buffer: 4 << 20})
			before := heap()
			client, err := net.Dial("tcp", c.inbound())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			client.SetDeadline(time.Now().Add(2 * patience))
			go func() {
				client.Write(said.Bytes())
				client.(*net.TCPConn).CloseWrite()
			}()
			o, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			n, err := io.Copy(io.Discard, o)
			if err != nil || n != int64(said.Len()) {
				t.Errorf("the origin is sent %d bytes, %v, want %d", n, err, said.Len())
			}
			kept := heap() - before // the connection is open still: nothing is over for its dissector
			t.Logf("%d KiB relayed, %d KiB kept", said.Len()>>10, kept>>10)
			if kept > 64<<20 { // --buffer, the bounds of wire/http2, tapes and what compresses them
				t.Errorf("%d KiB are kept", kept>>10)
			}
			runtime.KeepAlive(said)
			o.Close()
			c.mustBeWhole(0)
		})
	}
}

func headBlock() []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/a"}, {"x", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}} {
		e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1], Sensitive: true}) // no table: each block is whole
	}
	return block.Bytes()
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
