package capture

import (
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/tcp"
)

// The proxy may write to a server whose connection it closes at that moment:
// what nobody receives begins nothing that could never end.
func TestNothingBeginsBehindTheEnd(t *testing.T) {
	r, _ := testRecorder(time.Now())
	d := newDissecting(newBudget(1<<20, false), func(p any) { t.Error("panic:", p) })
	c := &events.Connection{Id: make([]byte, 16)}
	one := &tap{dissecting: d, info: c, direction: events.Direction_INBOUND, protocols: []wire.Protocol{httpProtocol()}, opaque: &tcp.Protocol{}, sink: &sink{recorder: r, info: c}}
	send := func(side events.Side, text string) {
		buf := getBuffer(len(text))
		one.data(side, time.Now(), buf, copy(buf.b, text))
		buf.release()
	}
	send(events.Side_REQUEST, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
	send(events.Side_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	one.close(events.Side_REQUEST, nil)
	one.close(events.Side_RESPONSE, nil)
	send(events.Side_REQUEST, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
	d.step()
	if counts := r.Counts(); counts.Begun != 1 || counts.Taped != 1 || counts.Open != 0 || d.budget.used.Load() != 0 {
		t.Errorf("%+v, %d bytes held, want one exchange, taped", counts, d.budget.used.Load())
	}
}
