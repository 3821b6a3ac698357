package scenario

import (
	"maps"

	"google.golang.org/protobuf/proto"

	"tapedeck/events"
)

// Values is a session while it is replayed: what the live answers gave, and
// what has to be sent because of it. It belongs to one run of one session and
// is not safe for concurrent use. The order for each test i, from 0 on:
//
//	request, missing := values.Request(i)      // send it
//	Compare(test.Exchange, got, session.Rules(manifest.Rules, i, values))
//	values.Learn(i, got)
type Values struct {
	session *Session
	live    map[*Link]string
	known   map[string]string // recorded to live
	secrets *Secrets
}

// NewValues begins a run of the session.
func NewValues(s *Session) *Values {
	return &Values{session: s, live: map[*Link]string{}, known: map[string]string{}}
}

// With lets the session send secrets in the place of their tokens.
func (v *Values) With(s *Secrets) *Values {
	v.secrets = s
	return v
}

// Request is the recorded request of test i with the values that live answers
// gave, and with the secrets; its Content-Length is right. The exchange is a copy without response.
// The links that are missing could not be followed, because an earlier answer
// did not hold the value: the request has the recorded value there.
func (v *Values) Request(i int) (x *events.Exchange, missing []*Link) {
	recorded := v.session.Tests[i].Exchange
	x = &events.Exchange{
		Id: recorded.Id, Direction: recorded.Direction, Protocol: recorded.Protocol,
		Request: proto.CloneOf(recorded.Request),
	}
	m := requestMessage(x.Request)
	for _, l := range v.session.Links {
		if int(l.To) != i {
			continue
		}
		live, ok := v.live[l]
		if !ok {
			missing = append(missing, l)
			continue
		}
		m.put(l.ToPlace, l.Recorded, live)
	}
	if v.secrets != nil {
		v.secrets.supply(m, recorded, requestLeaves(recorded.Request))
	}
	return x, missing
}

// Learn takes from the live answer to test i what later requests need, and
// what things are called in this run.
func (v *Values) Learn(i int, got *events.Exchange) {
	if got.GetResponse() == nil {
		return
	}
	live := map[string]leaf{}
	for _, l := range responseLeaves(got.Response) {
		live[l.place] = l
	}
	for _, l := range v.session.Links {
		if int(l.From) == i {
			v.follow(l, live)
		}
	}
	v.learnNames(v.session.Tests[i], live)
}

func (v *Values) follow(l *Link, live map[string]leaf) {
	found, ok := live[l.FromPlace]
	if !ok || found.kind != kindText && found.kind != kindNumber || found.value == "" {
		return
	}
	v.live[l] = found.value
	v.name(l.Recorded, found.value)
}

func (v *Values) learnNames(t *Test, live map[string]leaf) {
	classes := classesOf(t.Volatile)
	if len(classes) == 0 {
		return
	}
	for _, recorded := range responseLeaves(t.Exchange.GetResponse()) {
		class := classes.at(recorded.place)
		if class != ClassUUID && class != ClassToken && class != ClassID && class != ClassLinked {
			continue
		}
		if l, ok := live[recorded.place]; ok && l.kind == recorded.kind && l.value != "" {
			v.name(recorded.value, l.value)
		}
	}
}

// name keeps the first name: later ones are compared with it.
func (v *Values) name(recorded, live string) {
	if _, known := v.known[recorded]; !known {
		v.known[recorded] = live
	}
}

// Known are the live values so far by their recorded ones.
func (v *Values) Known() map[string]string { return maps.Clone(v.known) }
