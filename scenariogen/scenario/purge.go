package scenario

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
)

// without leaves out what was purged.
func without[T any](all iter.Seq2[T, error], gone func(T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range all {
			if err == nil && gone(v) {
				continue
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

func isGone(gone tapes.Gone, x *events.Exchange) bool {
	id, err := events.IDFrom(x.GetId())
	return err == nil && gone.Has(id)
}

// forget takes purged tests out of a session, with the links from and to them:
// what was linked is sent as recorded. It says whether any are left.
func (s *Session) forget(gone tapes.Gone) bool {
	now := make([]int, len(s.Tests)) // where each test is then
	var tests []*Test
	for i, t := range s.Tests {
		now[i] = -1
		if !isGone(gone, t.Exchange) {
			now[i] = len(tests)
			tests = append(tests, t)
		}
	}
	if len(tests) == len(s.Tests) {
		return true
	}
	s.Tests = tests
	s.Links = slices.DeleteFunc(s.Links, func(l *Link) bool {
		from, to := now[l.From], now[l.To]
		l.From, l.To = uint32(max(from, 0)), uint32(max(to, 0))
		return from < 0 || to < 0
	})
	if len(tests) == 0 {
		return false
	}
	s.Start = tests[0].Exchange.GetRequest().GetFirstByte()
	return true
}

// Purged is a version of a scenario that held purged exchanges.
type Purged struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Tests   int    `json:"tests"` // removed
	Mocks   int    `json:"mocks"` // removed
	Empty   bool   `json:"empty"` // nothing was left: the version is gone
}

// Purge removes exchanges from all scenarios: each version that holds some is
// written anew, under its name. It may be stopped and done again. With dry it
// only says which.
func Purge(ctx context.Context, b tapes.Bucket, gone tapes.Gone, dry bool) ([]Purged, error) {
	names, err := b.Folders(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("list scenarios: %w", err)
	}
	var all []Purged
	for _, name := range names {
		versions, err := b.Folders(ctx, root+name+"/")
		if err != nil {
			return all, fmt.Errorf("list versions of %s: %w", name, err)
		}
		for _, version := range versions {
			p, err := purgeFolder(ctx, b, root+name+"/"+version+"/", gone, dry)
			if err != nil {
				return all, fmt.Errorf("purge scenario %s, version %s: %w", name, version, err)
			}
			if p != nil {
				all = append(all, *p)
			}
		}
	}
	return all, nil
}

// purgeFolder purges one version; nil: it holds nothing of what goes.
func purgeFolder(ctx context.Context, b tapes.Bucket, folder string, gone tapes.Gone, dry bool) (*Purged, error) {
	raw, err := b.Get(ctx, folder+manifestKey, 0, -1)
	if errors.Is(err, tapes.ErrNotFound) { // the newest versions' names, or one that is being made
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	p := &Purged{Name: m.Name, Version: m.Version}
	if err := p.count(ctx, &Scenario{manifest: m, store: bucketStore{b}}, gone); err != nil {
		return nil, err
	}
	if p.Tests+p.Mocks > 0 && !dry {
		if m, err = p.rewrite(ctx, b, &Scenario{m, bucketStore{b}, gone}); err != nil {
			return nil, err
		}
	}
	if !dry {
		err = clean(ctx, b, folder, m)
	}
	if p.Tests+p.Mocks == 0 {
		return nil, err
	}
	return p, err
}

func (p *Purged) count(ctx context.Context, s *Scenario, gone tapes.Gone) error {
	for session, err := range s.Tests(ctx, Share{}) {
		if err != nil {
			return err
		}
		for _, t := range session.Tests {
			if isGone(gone, t.Exchange) {
				p.Tests++
			}
		}
	}
	for _, dependency := range mocked(s.manifest) {
		for k, err := range s.Mocks(ctx, dependency) {
			if err != nil {
				return err
			}
			if isGone(gone, k.Exchange) {
				p.Mocks++
			}
		}
	}
	return nil
}

// mocked are the dependencies in the order of their pieces.
func mocked(m *Manifest) []string {
	var names []string
	for _, piece := range m.MockPieces {
		names = append(names, piece.Dependency)
	}
	return slices.Compact(names)
}

// rewrite writes what stays, then the manifest over the old one; nil: nothing
// stays, and the version is gone.
func (p *Purged) rewrite(ctx context.Context, b tapes.Bucket, s *Scenario) (*Manifest, error) {
	m := *s.manifest
	m.Sessions, m.Tests, m.Mocks, m.TestPieces, m.MockPieces, m.Dependencies = 0, 0, 0, nil, nil, []events.Dependency{}
	m.Warnings = append(slices.Clone(m.Warnings), fmt.Sprintf("%d tests and %d mocks were removed by a purge", p.Tests, p.Mocks))
	w := &writer{bucket: b, manifest: &m}
	for session, err := range s.Tests(ctx, Share{}) {
		if err == nil {
			err = w.addSession(ctx, session)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, dependency := range mocked(s.manifest) {
		before := m.Mocks
		for k, err := range s.Mocks(ctx, dependency) {
			if err == nil {
				err = w.addMock(ctx, k)
			}
			if err != nil {
				return nil, err
			}
		}
		if d, ok := s.Dependency(dependency); ok && m.Mocks > before {
			d.Mocks = m.Mocks - before
			m.Dependencies = append(m.Dependencies, d)
		}
	}
	if err := errors.Join(w.closeTests(ctx), w.closeMocks(ctx)); err != nil {
		return nil, err
	}
	m.note(&w.credentials)
	slices.SortFunc(m.Dependencies, func(x, y events.Dependency) int { return strings.Compare(x.Name, y.Name) })
	if p.Empty = m.Tests+m.Mocks == 0; p.Empty {
		return nil, b.Delete(ctx, latestKey(&m))
	}
	raw, err := m.encode()
	if err != nil {
		return nil, err
	}
	return &m, b.Replace(ctx, Folder(m.Name, m.Version)+manifestKey, raw)
}

// clean deletes the objects of a version that its manifest does not name; all
// of them if there is none any more, the manifest last.
func clean(ctx context.Context, b tapes.Bucket, folder string, m *Manifest) error {
	keep := map[string]bool{}
	if m != nil {
		keep[folder+manifestKey] = true
		for _, piece := range slices.Concat(m.TestPieces, m.MockPieces) {
			keep[folder+piece.Key] = true
		}
	}
	var old []string
	for o, err := range b.List(ctx, folder) {
		if err != nil {
			return err
		}
		if !keep[o.Key] && o.Key != folder+manifestKey {
			old = append(old, o.Key)
		}
	}
	if m == nil {
		old = append(old, folder+manifestKey)
	}
	for _, key := range old {
		if err := b.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
