package scenario

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
)

// Finish learns from what was added and writes the scenario, the manifest
// last. Nothing usable or the tests of several services are an *InvalidError.
func (b *Builder) Finish(ctx context.Context, bucket tapes.Bucket) (*Manifest, error) {
	b.order(b.sessions.join())
	service, err := b.service()
	if err != nil {
		return nil, err
	}
	// Calls of other services stay: whoever chose them runs those services
	// with the tested one, and mocks what lies behind all of them.
	w := &writer{bucket: bucket, manifest: b.newManifest(service)}
	if err := b.writeTests(ctx, w); err != nil {
		return nil, err
	}
	if err := b.writeMocks(ctx, w); err != nil {
		return nil, err
	}
	w.manifest.Cuts = append(w.manifest.Cuts, b.turns.cuts()...)
	b.warn(w.manifest)
	return w.finish(ctx)
}

// service is the one that the scenario tests.
func (b *Builder) service() (uint32, error) {
	tested := map[uint32]bool{}
	for _, t := range b.tests {
		tested[b.sessions.all[t.session].key.workload] = true
	}
	switch len(tested) {
	case 0:
		return b.caller()
	case 1:
		for w := range tested {
			return w, nil
		}
	}
	var names []string
	for w := range tested {
		names = append(names, b.workloads[w].Service)
	}
	slices.Sort(names)
	return 0, &InvalidError{fmt.Sprintf("the selection holds %d services (%s) and a scenario tests one: add service=%q to the selector",
		len(names), strings.Join(names, ", "), names[0])}
}

// caller is the service with the most calls, for a scenario of mocks only.
func (b *Builder) caller() (uint32, error) {
	calls := make([]int, len(b.workloads))
	for _, k := range b.mocks {
		calls[k.workload]++
	}
	if len(b.mocks) == 0 {
		return 0, &InvalidError{b.nothing()}
	}
	return uint32(slices.Index(calls, slices.Max(calls))), nil
}

func (b *Builder) nothing() string {
	if len(b.skipped) == 0 {
		return "no recorded exchange matches the selection"
	}
	var reasons []string
	for _, reason := range slices.Sorted(maps.Keys(b.skipped)) {
		reasons = append(reasons, fmt.Sprintf("%s (%d)", reason, b.skipped[reason]))
	}
	return "none of the selected exchanges can be a test or a mock: " + strings.Join(reasons, ", ")
}

func (b *Builder) newManifest(service uint32) *Manifest {
	o, w := b.options, b.workloads[service]
	m := &Manifest{
		Format: Format, Name: o.Name, Version: o.Version, Request: o.Request, By: o.By, CreatedAt: o.CreatedAt.UTC(),
		Service:  events.Service{Cluster: w.Cluster, Namespace: w.Namespace, Service: w.Service},
		Selector: o.Selector, RedactionKeys: slices.Sorted(maps.Keys(b.keys)), Rules: DefaultRules(),
		Dependencies: []events.Dependency{}, Warnings: slices.Clone(o.Warnings),
	}
	from, to := b.span()
	m.From, m.To = time.Unix(0, from).UTC(), time.Unix(0, to).UTC()
	counts := map[uint32]int{}
	for _, k := range b.mocks {
		counts[k.dependency]++
	}
	for i, d := range b.names {
		if n := counts[uint32(i)]; n > 0 {
			m.Dependencies = append(m.Dependencies, events.Dependency{Name: d.name, Protocol: d.protocol, Listen: d.listen, Mocks: n})
		}
	}
	slices.SortFunc(m.Dependencies, func(x, y events.Dependency) int { return cmp.Compare(x.Name, y.Name) })
	return m
}

// span is the time of the first and of the last exchange.
func (b *Builder) span() (from, to int64) {
	first := true
	note := func(t int64) {
		if first {
			from, to, first = t, t, false
		}
		from, to = min(from, t), max(to, t)
	}
	for _, t := range b.tests {
		note(t.time)
	}
	for _, k := range b.mocks {
		note(k.time)
	}
	return from, to
}

// writeTests writes the sessions in order of start.
func (b *Builder) writeTests(ctx context.Context, w *writer) error {
	var starts []int // index of each session's first test
	for i := range b.tests {
		if i == 0 || b.tests[i].session != b.tests[i-1].session {
			starts = append(starts, i)
		}
	}
	slices.SortStableFunc(starts, func(x, y int) int { return cmp.Compare(b.tests[x].time, b.tests[y].time) })
	for _, i := range starts {
		end := i + 1
		for end < len(b.tests) && b.tests[end].session == b.tests[i].session {
			end++
		}
		if err := b.writeSession(ctx, w, b.tests[i:end]); err != nil {
			return err
		}
	}
	return nil
}

// writeSession writes what one client did, cut where the redaction key turns
// (equal values have other tokens behind that) and where it is too long to be
// held.
func (b *Builder) writeSession(ctx context.Context, w *writer, items []testItem) error {
	name := b.sessions.name(items[0].session)
	workload := b.workloads[b.sessions.all[items[0].session].key.workload]
	part, size, key := 1, 0, ""
	s := &Session{Id: name, Workload: workload}
	for _, item := range items {
		t := new(Test)
		if err := b.spill.read(item.offset, item.length, t); err != nil {
			return err
		}
		reason := ""
		if k := RedactionKey(t.Exchange); k != "" {
			b.turns.add(t.Exchange.GetConnection().GetId(), k, name)
			if key != "" && k != key {
				reason = turned(key, k)
			}
			key = k
		}
		if size += int(item.length); reason == "" && size > maxSession {
			reason = fmt.Sprintf("more than %d MiB", maxSession>>20)
		}
		if reason != "" && len(s.Tests) > 0 {
			if err := b.closeSession(ctx, w, s); err != nil {
				return err
			}
			part, size = part+1, int(item.length)
			s = &Session{Id: fmt.Sprintf("%s.%d", name, part), Workload: workload}
			w.manifest.Cuts = append(w.manifest.Cuts, Cut{s.Id, reason})
		}
		s.Tests = append(s.Tests, t)
	}
	return b.closeSession(ctx, w, s)
}

func (b *Builder) closeSession(ctx context.Context, w *writer, s *Session) error {
	s.Start = s.Tests[0].Exchange.Request.FirstByte
	for value, noun := range learn(s, func(v string) bool { return b.seen.stable(v, b.sessions.root) }) {
		b.made.add(noun + ":" + value)
		b.made.add(":" + value)
	}
	b.noteFixed(s)
	if lacksLogin(s) {
		b.strangers++
	}
	return w.addSession(ctx, s)
}

// noteFixed remembers random-looking values that requests hold as recorded:
// at replay the service gets, and passes on, the same.
func (b *Builder) noteFixed(s *Session) {
	linked := map[string]bool{}
	for _, l := range s.Links {
		linked[l.Recorded] = true
		b.made.add(":" + l.Recorded)
	}
	for _, t := range s.Tests {
		for _, l := range requestLeaves(t.Exchange.Request) {
			if isRandomLooking(l) && !linked[l.value] {
				b.fixed.add(l.value)
			}
		}
	}
}

// lacksLogin says that the session uses a redacted credential that none of its
// answers gave out: the target will not know it.
func lacksLogin(s *Session) bool {
	for i, t := range s.Tests {
		for _, value := range credentials(t.Exchange.Request) {
			if redactedPattern.MatchString(value) && !isLinkedTo(s.Links, i, value) {
				return true
			}
		}
	}
	return false
}

func isLinkedTo(links []*Link, i int, value string) bool {
	return slices.ContainsFunc(links, func(l *Link) bool { return int(l.To) == i && l.Recorded == value })
}

// writeMocks writes the mocks by dependency, route and time.
func (b *Builder) writeMocks(ctx context.Context, w *writer) error {
	for _, item := range b.mocks {
		k := new(Mock)
		if err := b.spill.read(item.offset, item.length, k); err != nil {
			return err
		}
		k.Workload = b.workloads[item.workload]
		k.Volatile = b.mockVolatile(k)
		k.Echoes = Echoes(k)
		if err := w.addMock(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// warn writes what a person should know before relying on the scenario.
func (b *Builder) warn(m *Manifest) {
	if len(b.skipped) > 0 {
		m.Skipped = b.skipped
	}
	if b.strangers > 0 {
		m.Warnings = append(m.Warnings, fmt.Sprintf("%d of %d sessions use a redacted credential whose log-in is not in the recording: "+
			"record from the log-in on, or give what it stands for by --secrets", b.strangers, m.Sessions))
	}
	if len(m.RedactionKeys) > 1 {
		m.Warnings = append(m.Warnings, fmt.Sprintf("the redaction key turned while it was recorded (%s): sessions are cut there, and nothing before is linked with anything behind it",
			strings.Join(m.RedactionKeys, ", ")))
	}
	if m.Tests == 0 {
		m.Warnings = append(m.Warnings, "there are no inbound exchanges in it: it can mock, not test")
	}
}
