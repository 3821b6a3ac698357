package tcp

import (
	"syscall"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

type sink struct {
	begun int
	ended []*events.Exchange
}

func (s *sink) Begin(t time.Time) events.ID { s.begun++; return events.NewID(t) }
func (s *sink) Body(events.ID, events.Side, int64, []byte) *events.RecordRef {
	panic("an opaque connection has no bodies")
}
func (s *sink) End(x *events.Exchange)       { s.ended = append(s.ended, x) }
func (s *sink) Drop(_ events.ID, why string) { panic(why) }

func TestConnectionIsOneExchange(t *testing.T) {
	s := &sink{}
	p := &Protocol{Method: "CONNECT"}
	d := p.NewDissector(&events.Connection{Server: "Host:443"}, events.Direction_OUTBOUND, s)
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	d.Data(events.Side_REQUEST, at(1), []byte("hello"))
	d.Data(events.Side_RESPONSE, at(2), []byte("hi"))
	d.Gap(events.Side_RESPONSE, 100)
	d.Data(events.Side_REQUEST, at(4), []byte("!"))
	d.Close(events.Side_REQUEST, at(5), nil)
	d.Close(events.Side_RESPONSE, at(6), nil)
	if s.begun != 1 || len(s.ended) != 1 {
		t.Fatalf("%d begun, %d ended, want 1", s.begun, len(s.ended))
	}
	x := s.ended[0]
	if x.Request.Body.Size != 6 || x.Response.Body.Size != 102 || x.Response.FirstByte != at(2).UnixNano() || x.Request.LastByte != at(4).UnixNano() {
		t.Errorf("got %v", x)
	}
	e := p.Describe(x)
	if e.Endpoint.Host != "host:443" || e.Endpoint.Method != "CONNECT" || e.Endpoint.Protocol != "tcp" || e.Class != events.StatusClass_OK {
		t.Errorf("got %+v", e)
	}
}

func TestEmptyConnectionIsNone(t *testing.T) {
	s := &sink{}
	d := (&Protocol{}).NewDissector(&events.Connection{}, events.Direction_INBOUND, s)
	d.Close(events.Side_REQUEST, time.Now(), nil)
	d.Close(events.Side_RESPONSE, time.Now(), nil)
	if s.begun != 0 {
		t.Errorf("%d begun, want 0", s.begun)
	}
}

func TestFailedConnectionIsOne(t *testing.T) {
	s := &sink{}
	p := &Protocol{}
	d := p.NewDissector(&events.Connection{Server: "x:1"}, events.Direction_INBOUND, s)
	d.Close(events.Side_RESPONSE, time.Now(), syscall.ECONNREFUSED)
	d.Close(events.Side_REQUEST, time.Now(), nil)
	if len(s.ended) != 1 || s.ended[0].Failure != "refused" || p.Describe(s.ended[0]).Class != events.StatusClass_FAILED {
		t.Errorf("got %v", s.ended)
	}
}

func TestResetBehindAnEndIsNoFailure(t *testing.T) {
	s := &sink{}
	for _, first := range []error{nil, syscall.ECONNRESET} {
		d := (&Protocol{}).NewDissector(&events.Connection{}, events.Direction_INBOUND, s)
		d.Data(events.Side_REQUEST, time.Now(), []byte("x"))
		d.Close(events.Side_REQUEST, time.Now(), first)
		d.Close(events.Side_RESPONSE, time.Now(), syscall.EPIPE)
	}
	if len(s.ended) != 2 || s.ended[0].Failure != "" || s.ended[1].Failure != "reset by peer" {
		t.Errorf("got %v, want a failure of the second only, a reset", s.ended)
	}
}

var _ wire.Sink = (*sink)(nil)
