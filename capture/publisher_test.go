package capture

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/capture/spool"
	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// deaf stores the first message and loses the server's answer.
type deaf struct {
	jetstream.JetStream
	published atomic.Int32
}

func (d *deaf) PublishMsg(ctx context.Context, m *nats.Msg, o ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := d.JetStream.PublishMsg(ctx, m, o...)
	if d.published.Add(1) == 1 && err == nil {
		return nil, context.DeadlineExceeded
	}
	return ack, err
}

// With the spool full, a tape whose fate is unknown is stored already: counting
// it as dropped would leave a ledger in which more is indexed than was taped.
func TestUnansweredTapeIsNotDroppedWhileTheSpoolIsFull(t *testing.T) {
	_, js := natstest.New(t)
	full, err := spool.Open(t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := testRecorder(time.Now())
	var closed *closedTape
	r.publish = func(c *closedTape) { closed = c }
	r.workload = &events.Workload{Cluster: "local", Namespace: "default", Service: "shop"}
	addOne(r, time.Now())
	r.end()

	server := &deaf{JetStream: js}
	p := newPublisher()
	p.js, p.spool, p.workload, p.source = server, full, r.workload, "/tapedeck/capture/test"
	p.lost, p.stored, p.log, p.metrics = r.lost, r.stored, slog.New(slog.DiscardHandler), r.metrics
	p.ready.Store(true)
	stored := make(chan struct{})
	go func() {
		p.store(t.Context(), closed)
		close(stored)
	}()
	eventually(t, "the answer is lost", func() bool { return server.published.Load() == 1 && !p.ready.Load() })
	p.ready.Store(true) // as watch does when NATS is back
	<-stored
	if c := r.Counts(); c.Taped != 1 || len(c.Dropped) != 0 {
		t.Errorf("counts %+v, want one taped and none dropped", c)
	}
	if tapes := tapesOf(t, js); len(tapes) != 1 {
		t.Errorf("%d tapes in the stream, want 1", len(tapes))
	}
}
