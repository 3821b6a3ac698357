package scenario

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"tapedeck/events"
)

func newSessionFile(s *Session) (*sessionFile, error) {
	f := &sessionFile{Session: s.Id, Start: time.Unix(0, s.Start).UTC(), Workload: newWorkloadFile(s.Workload)}
	for _, t := range s.Tests {
		e, err := newExchangeFile(t.Exchange)
		if err != nil {
			return nil, err
		}
		e.Host, e.Endpoint, e.Class, e.Flags, e.Volatile = t.Host, t.Template, t.Class.Name(), t.Flags, volatileMap(t.Volatile)
		f.Tests = append(f.Tests, e)
	}
	for _, l := range s.Links {
		f.Links = append(f.Links, linkFile{l.From, l.FromPlace, l.To, l.ToPlace, l.Recorded})
	}
	return f, nil
}

func (f *sessionFile) parse() (*Session, error) {
	s := &Session{Id: f.Session, Start: f.Start.UnixNano(), Workload: f.Workload.parse()}
	for i := range f.Tests {
		e := &f.Tests[i]
		x, err := e.parse()
		if err != nil {
			return nil, err
		}
		s.Tests = append(s.Tests, &Test{Exchange: x, Host: e.Host, Template: e.Endpoint, Class: parseClass(e.Class), Flags: e.Flags, Volatile: volatileList(e.Volatile)})
	}
	for _, l := range f.Links {
		s.Links = append(s.Links, &Link{From: l.From, FromPlace: l.FromPlace, To: l.To, ToPlace: l.ToPlace, Recorded: l.Recorded})
	}
	return s, s.validate()
}

func newMockFile(k *Mock) (*exchangeFile, error) {
	f, err := newExchangeFile(k.Exchange)
	if err != nil {
		return nil, err
	}
	f.Dependency, f.Endpoint, f.Class, f.Flags = k.Dependency, k.Template, k.Class.Name(), k.Flags
	f.Workload, f.Volatile = newWorkloadFile(k.Workload), volatileMap(k.Volatile)
	f.Signature = []string{hex.EncodeToString(k.Exact), hex.EncodeToString(k.Shape), hex.EncodeToString(k.Route)}
	for _, e := range k.Echoes {
		f.Echoes = append(f.Echoes, echoFile{e.From, e.To, e.Recorded})
	}
	return &f, nil
}

func (f *exchangeFile) parseMock() (*Mock, error) {
	x, err := f.parse()
	if err != nil {
		return nil, err
	}
	k := &Mock{Exchange: x, Dependency: f.Dependency, Template: f.Endpoint, Class: parseClass(f.Class), Flags: f.Flags,
		Workload: f.Workload.parse(), Volatile: volatileList(f.Volatile)}
	for i, into := range []*[]byte{&k.Exact, &k.Shape, &k.Route} {
		if i >= len(f.Signature) {
			break
		}
		if *into, err = hex.DecodeString(f.Signature[i]); err != nil {
			return nil, formatError("signature of mock %s: %v", f.ID, err)
		}
	}
	for _, e := range f.Echoes {
		k.Echoes = append(k.Echoes, &Echo{From: e.From, To: e.To, Recorded: e.Recorded})
	}
	return k, nil
}

func newWorkloadFile(w *events.Workload) *workloadFile {
	if w == nil {
		return nil
	}
	return &workloadFile{w.Cluster, w.Namespace, w.Service, w.Version, w.Instance}
}

func (f *workloadFile) parse() *events.Workload {
	if f == nil {
		return nil
	}
	return &events.Workload{Cluster: f.Cluster, Namespace: f.Namespace, Service: f.Service, Version: f.Version, Instance: f.Instance}
}

func volatileMap(all []*Volatile) map[string]string {
	m := make(map[string]string, len(all))
	for _, v := range all {
		m[v.Place] = v.Class
	}
	return m
}

func volatileList(m map[string]string) []*Volatile {
	var out []*Volatile
	for place, class := range m {
		out = append(out, &Volatile{Place: place, Class: class})
	}
	slices.SortFunc(out, func(a, b *Volatile) int { return cmp.Compare(a.Place, b.Place) })
	return out
}

func parseClass(name string) events.StatusClass {
	return events.StatusClass(events.StatusClass_value[strings.ToUpper(name)])
}
