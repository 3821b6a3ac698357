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

// ErrNotFound is wrapped when there is no such scenario or version.
var ErrNotFound = errors.New("no such scenario")

// Scenario is a version of a scenario, or a folder of one. It reads as it goes
// along and holds at most one piece in memory for each reader. It is safe for
// concurrent use.
type Scenario struct {
	manifest *Manifest
	store    store
	gone     tapes.Gone // exchanges that were purged
}

// store is where the records of a scenario lie.
type store interface {
	tests(ctx context.Context, m *Manifest, share Share) iter.Seq2[*Session, error]
	mocks(ctx context.Context, m *Manifest, dependency string) iter.Seq2[*Mock, error]
}

// Open opens a version of a scenario in the archive; version "" is the newest.
func Open(ctx context.Context, b tapes.Bucket, name, version string) (*Scenario, error) {
	if version == "" {
		newest, err := Latest(ctx, b, name)
		if err != nil {
			return nil, fmt.Errorf("open scenario %s: %w", name, err)
		}
		version = newest
	}
	raw, err := b.Get(ctx, Folder(name, version)+manifestKey, 0, -1)
	if errors.Is(err, tapes.ErrNotFound) {
		return nil, fmt.Errorf("open scenario %s: %w: version %s", name, ErrNotFound, version)
	}
	if err != nil {
		return nil, fmt.Errorf("open scenario %s: %w", name, err)
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("open scenario %s: %w", name, err)
	}
	gone, err := tapes.PurgedOf(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("open scenario %s: %w", name, err)
	}
	return &Scenario{m, bucketStore{b}, gone}, nil
}

// Manifest says what is in the scenario. It is not to be changed.
func (s *Scenario) Manifest() *Manifest { return s.manifest }

// Tests are the sessions of a share, in order of start. It ends with the first
// error.
func (s *Scenario) Tests(ctx context.Context, share Share) iter.Seq2[*Session, error] {
	return without(s.store.tests(ctx, s.manifest, share), func(session *Session) bool { return !session.forget(s.gone) })
}

// Mocks are the recorded exchanges of a dependency, by route, then by time. It
// ends with the first error.
func (s *Scenario) Mocks(ctx context.Context, dependency string) iter.Seq2[*Mock, error] {
	return without(s.store.mocks(ctx, s.manifest, dependency), func(k *Mock) bool { return isGone(s.gone, k.Exchange) })
}

// Dependency finds a dependency by its name.
func (s *Scenario) Dependency(name string) (events.Dependency, bool) {
	for _, d := range s.manifest.Dependencies {
		if d.Name == name {
			return d, true
		}
	}
	return events.Dependency{}, false
}

// Names are the scenarios of the archive, sorted.
func Names(ctx context.Context, b tapes.Bucket) ([]string, error) {
	tokens, err := b.Folders(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("list scenarios: %w", err)
	}
	var names []string
	for _, t := range tokens {
		name, err := events.Untoken(strings.TrimSuffix(t, "/"))
		if err != nil {
			continue // not ours
		}
		if _, err := Latest(ctx, b, name); errors.Is(err, ErrNotFound) {
			continue // begun, never finished
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Versions are the versions of a scenario, the oldest first.
func Versions(ctx context.Context, b tapes.Bucket, name string) ([]string, error) {
	prefix := root + events.Token(name) + "/" + latestFolder + "/"
	var keys []string
	for info, err := range b.List(ctx, prefix) {
		if err != nil {
			return nil, fmt.Errorf("list versions of %s: %w", name, err)
		}
		keys = append(keys, strings.TrimPrefix(info.Key, prefix))
	}
	slices.Sort(keys)
	var versions []string
	for _, key := range keys {
		_, token, _ := strings.Cut(key, "-")
		if version, err := events.Untoken(token); err == nil {
			versions = append(versions, version)
		}
	}
	return versions, nil
}

// Latest is the newest version of a scenario.
func Latest(ctx context.Context, b tapes.Bucket, name string) (string, error) {
	versions, err := Versions(ctx, b, name)
	if err != nil {
		return "", err
	}
	if len(versions) == 0 {
		return "", fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return versions[len(versions)-1], nil
}
