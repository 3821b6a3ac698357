package capture

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"tapedeck/capture/redact"
	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// BenchmarkRecording is what an exchange costs beyond being relayed: dissected,
// redacted, described and written into a tape, without a socket or a broker.
func BenchmarkRecording(b *testing.B) {
	key := redact.ThrowawayKey()
	r := newRecorder(time.Now())
	r.workload = &events.Workload{Cluster: "c", Namespace: "n", Service: "bench"}
	r.redactor, r.maxBody, r.log, r.metrics = redact.Fixed(redact.New(key)), 1<<20, slog.New(slog.DiscardHandler), newMetrics()
	r.spooled = func() int { return 0 }
	bytes := 0
	r.publish = func(t *closedTape) { bytes += len(t.bytes) }
	d := newDissecting(newBudget(64<<20, true), func(p any) { b.Error(p) })
	id := events.NewID(time.Now())
	c := &events.Connection{Id: id[:], Client: "127.0.0.1:41234", Server: "127.0.0.1:9000", OpenedAt: time.Now().UnixNano()}
	t := &tap{dissecting: d, info: c, direction: events.Direction_INBOUND, protocols: []wire.Protocol{&http1.Protocol{}}, sink: &sink{recorder: r, info: c, peer: c.Client}}
	var request []byte
	b.ReportAllocs()
	before := cpu()
	for i := 0; b.Loop(); i++ {
		request = fmt.Appendf(request[:0], "GET /api/v1/items/%d HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nUser-Agent: bench\r\nAccept: application/json\r\nAuthorization: Bearer abcdefghijklmnop\r\n\r\n", i%10000)
		feed(t, events.Side_REQUEST, request)
		feed(t, events.Side_RESPONSE, benchAnswer)
		d.step()
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e3, "cpu-µs/op")
	b.ReportMetric(float64(bytes)/float64(b.N), "tape-B/op")
	if got := r.Counts(); got.Taped != uint64(b.N) {
		b.Errorf("%+v of %d", got, b.N)
	}
}

func feed(t *tap, side events.Side, data []byte) {
	buf := getBuffer(smallBuffer)
	n := copy(buf.b, data)
	t.data(side, time.Now(), buf, n)
	buf.release()
}
