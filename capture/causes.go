package capture

import (
	"time"

	"tapedeck/capture/cause"
	"tapedeck/events"
	"tapedeck/wire/tcp"
)

// mayCause tells of an inbound exchange: with the head of its request it may
// cause calls, with the head of its answer it hardly does any more.
func (r *recorder) mayCause(u *underway) {
	x := u.x
	if x.Direction != events.Direction_INBOUND || x.Protocol == tcp.Name {
		return
	}
	if u.inbound == nil {
		u.inbound = r.causes.Begin(x)
	}
	if a := x.Response; a != nil && a.Status != "" {
		r.causes.Answered(u.inbound, a.FirstByte)
	}
}

// Asked tells the search for causes that a request is complete.
func (s *sink) Asked(x *events.Exchange) {
	if u := s.find(events.ID(x.Id)); u != nil {
		s.recorder.causes.Asked(u.inbound, x.Request)
	}
}

// causedAll tells that an exchange causes nothing any more.
func (r *recorder) causedAll(u *underway) {
	if u.inbound == nil {
		return
	}
	at := time.Now().UnixNano()
	if a := u.x.Response; a != nil {
		at = a.LastByte
	}
	r.causes.End(u.inbound, at)
}

// findCause looks once for what caused an outbound exchange, before that is
// redacted: at its end, or when it is announced as open.
func (r *recorder) findCause(u *underway, x *events.Exchange) {
	if u.looked || x.Direction != events.Direction_OUTBOUND || x.Protocol == tcp.Name {
		return
	}
	u.looked = true
	ended := time.Now().UnixNano()
	if a := x.Response; a != nil && a.LastByte > 0 {
		ended = a.LastByte
	}
	u.link = r.causes.Link(cause.Call{Exchange: x, Ended: ended})
}

// markCause writes the cause into the index, and the replay that it is part of.
func markCause(u *underway, e *events.Entry, endpoint *events.Endpoint) {
	link := &u.link
	if link.Confidence == 0 {
		return
	}
	e.CauseId, e.CauseConfidence = link.Cause[:], link.Confidence
	if e.ReplayId == "" && link.Replay != "" {
		e.ReplayId, endpoint.Replay = link.Replay, true
	}
}
