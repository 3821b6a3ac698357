package replayer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/replayer/report"
	"tapedeck/scenariogen/scenario"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// sessionRun sends one copy of a session.
type sessionRun struct {
	*run
	session *scenario.Session
	label   string // of this copy, in the marker
	starts  []time.Duration
	values  *scenario.Values
	client  wire.Client
	trace   [16]byte
}

// replaySession sends the requests of a copy one after another, each at its
// time or as soon as the one before it is answered.
func (r *run) replaySession(ctx context.Context, s *scenario.Session, copy int, starts []time.Duration) {
	client := r.pool.Client()
	defer client.Close()
	sr := &sessionRun{run: r, session: s, label: sessionLabel(s.Id, copy), starts: starts, values: scenario.NewValues(s).With(r.Secrets), client: client}
	rand.Read(sr.trace[:]) // never fails (crypto/rand)
	for i := range min(len(starts), len(s.Tests)) {
		intended := r.begin.Add(starts[i])
		if !waitUntil(ctx, intended) {
			return
		}
		if r.plan.Closed() {
			if intended = time.Now(); r.pastEnd(intended) {
				return
			}
		}
		if !sr.send(ctx, i, intended) {
			return
		}
	}
}

// sessionLabel is a session's name in the marker: one word without a dot,
// which is what parts it from the replay's id.
func sessionLabel(id string, copy int) string {
	label := strings.ReplaceAll(id, ".", "-")
	if copy > 0 {
		label += fmt.Sprintf("-copy%d", copy)
	}
	return label
}

// send sends request i and counts what came of it; false ends the session.
func (s *sessionRun) send(ctx context.Context, i int, intended time.Time) bool {
	test := s.session.Tests[i]
	x, unlinked := s.values.Request(i)
	row := s.session.Row(i)
	s.edits.transform(&row, x.Request)
	s.mark(x.Request)
	got, err := s.client.Do(ctx, x)
	latency := time.Since(intended)
	switch {
	case ctx.Err() != nil:
		return false // it was stopped: not the target's fault
	case errors.Is(err, http1.ErrRefused):
		s.fail(err)
		return false
	case errors.Is(err, http1.ErrBody):
		s.tally.add(outcome{method: x.Request.Method, template: test.Template, kind: unchecked})
		return true
	case err != nil:
		got = &events.Exchange{Request: x.Request, Failure: err.Error()}
	}
	o := s.judge(i, &row, got, unlinked)
	o.latency = latency
	s.tally.add(o)
	if len(s.session.Links) > 0 || len(test.Volatile) > 0 { // else there is nothing to learn
		s.values.Learn(i, got)
	}
	return true
}

// judge compares the answer with the recorded one.
func (s *sessionRun) judge(i int, row *events.Row, got *events.Exchange, unlinked []*scenario.Link) outcome {
	test := s.session.Tests[i]
	recorded := test.Exchange
	o := outcome{
		method: row.Method, template: row.Template, kind: passed,
		recorded: time.Duration(recorded.GetResponse().GetLastByte() - recorded.GetRequest().GetFirstByte()),
		miss: events.Miss{
			Session: s.session.Id, Method: row.Method, Endpoint: row.Template, Path: row.Path, Exchange: row.ID, Failure: s.Secrets.Hide(got.Failure),
		},
	}
	o.detail = func() report.Detail { return report.NewDetail(o.miss, recorded, s.Secrets.HideIn(got)) }
	if got.Failure != "" || got.Response == nil {
		o.kind = failed
		return o
	}
	rules := s.session.Rules(s.rules, i, s.values)
	rules.Assertions = append(s.edits.assertions(row), rules.Assertions...)
	level, diffs := scenario.Judge(recorded, got, rules)
	o.redacted = level == scenario.Redacted
	switch {
	case scenario.Truncated(diffs), test.Flags&uint32(events.Flag_TRUNCATED) != 0 && len(diffs) == 0:
		o.kind = unchecked
	case len(diffs) > 0:
		o.kind = missed
		o.miss.Diffs = append(events.HideSecrets(diffs), unlinkedDifferences(s.session, unlinked)...)
	}
	return o
}

// unlinkedDifferences say which earlier answers lacked a value that this
// request is made of: often the real reason of a miss.
func unlinkedDifferences(s *scenario.Session, links []*scenario.Link) []events.Difference {
	var diffs []events.Difference
	for _, l := range links {
		q := s.Tests[l.From].Exchange.GetRequest()
		path, _, _ := strings.Cut(q.GetTarget(), "?")
		diffs = append(diffs, events.Difference{
			Place: l.ToPlace,
			Want:  fmt.Sprintf("a value from %s of %s %s", l.FromPlace, q.GetMethod(), path),
			Got:   "no such value in that answer; the recorded one was sent",
		})
	}
	return diffs
}

// mark says in the request that it is a replay's, and gives it the trace of
// this session: the recorded one would join the run to old traces.
func (s *sessionRun) mark(r *events.Request) {
	var span [8]byte
	rand.Read(span[:])
	r.Headers = deleteHeader(r.Headers, "tracestate")
	r.Headers = setHeader(r.Headers, "traceparent", "00-"+hex.EncodeToString(s.trace[:])+"-"+hex.EncodeToString(span[:])+"-01")
	if !s.NoMarker {
		r.Headers = setHeader(r.Headers, strings.ToLower(wire.ReplayHeader), s.Request.ID+"."+s.label)
	}
}
