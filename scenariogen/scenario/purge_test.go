package scenario

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
)

// crashing fails at the n-th change.
type crashing struct {
	tapes.Bucket
	left int
}

var errCrash = errors.New("crash")

func (c *crashing) step() error {
	if c.left--; c.left < 0 {
		return errCrash
	}
	return nil
}

func (c *crashing) Put(ctx context.Context, key string, b []byte) error {
	return errors.Join(c.step(), c.Bucket.Put(ctx, key, b))
}

func (c *crashing) Replace(ctx context.Context, key string, b []byte) error {
	if err := c.step(); err != nil {
		return err
	}
	return c.Bucket.Replace(ctx, key, b)
}

func (c *crashing) Delete(ctx context.Context, key string) error {
	if err := c.step(); err != nil {
		return err
	}
	return c.Bucket.Delete(ctx, key)
}

// A purge takes a log-in and a mock out of a scenario; killed before any change
// it comes to the same end, and nobody reads what went meanwhile.
func TestPurge(t *testing.T) {
	r := newRecorder()
	r.shop(1, 1041)
	r.shop(2, 1042)
	var gone []tapes.Tombstone
	for i, x := range r.all {
		if i == 0 || i == 3 { // the log-in and the charge of the first customer
			gone = append(gone, tapes.Tombstone{Exchange: events.ID(x.Id)})
		}
	}
	for crash := 0; ; crash++ {
		bucket := openBucket(t)
		r.build(t, bucket, Options{})
		p, err := bucket.Bury(t.Context(), gone)
		if err != nil {
			t.Fatal(err)
		}
		checkPurged(t, bucket)
		_, err = Purge(t.Context(), &crashing{bucket, crash}, p.Gone(), false)
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		finished := err == nil
		checkPurged(t, bucket)
		if _, err := Purge(t.Context(), bucket, p.Gone(), false); err != nil {
			t.Fatal(err)
		}
		checkPurged(t, bucket)
		m := openScenario(t, bucket).Manifest()
		want := []events.Dependency{{Name: "catalog.test", Protocol: "http", Mocks: 2}, {Name: "payments.test", Protocol: "http", Mocks: 1}}
		if d := cmp.Diff(want, m.Dependencies); d != "" || m.Tests != 7 || m.Sessions != 2 || m.Mocks != 3 {
			t.Errorf("%d tests in %d sessions, %d mocks, want 7, 2, 3 %s", m.Tests, m.Sessions, m.Mocks, d)
		}
		objects := 0
		for range bucket.List(t.Context(), Folder(m.Name, m.Version)) {
			objects++
		}
		if want := 1 + len(m.TestPieces) + len(m.MockPieces); objects != want {
			t.Errorf("killed at change %d: %d objects are left, want %d", crash, objects, want)
		}
		if finished {
			break
		}
	}
}

func checkPurged(t *testing.T, bucket *tapes.Archive) {
	t.Helper()
	s := openScenario(t, bucket)
	session := readTests(t, s, Share{})[0]
	if path := session.Tests[0].Template; len(session.Tests) != 3 || path != "/products" || session.Start != session.Tests[0].Exchange.Request.FirstByte {
		t.Errorf("the first session has %d tests and begins with %s, want 3 and /products", len(session.Tests), path)
	}
	if d := cmp.Diff([]string{"1 response.location.path[1] → 2 request.path[1]"}, linksText(session.Links)); d != "" {
		t.Error(d)
	}
	for _, k := range readMocks(t, s, "payments.test") {
		if bytes.Contains(k.Exchange.Request.Body.Data, []byte("1041")) {
			t.Error("a purged mock is read")
		}
	}
}

// Nothing is left of a scenario of nothing else.
func TestPurgeWholeScenario(t *testing.T) {
	r := newRecorder()
	r.shop(1, 1041)
	bucket := openBucket(t)
	r.build(t, bucket, Options{})
	var gone []tapes.Tombstone
	for _, x := range r.all {
		gone = append(gone, tapes.Tombstone{Exchange: events.ID(x.Id)})
	}
	set := (&tapes.Purge{Tombstones: gone}).Gone()
	want := []Purged{{Name: "checkout", Version: Version("r1"), Tests: 4, Mocks: 2}}
	if dry, err := Purge(t.Context(), bucket, set, true); err != nil || !slices.Equal(dry, want) {
		t.Errorf("a dry purge = %v, %v, want %v", dry, err, want)
	}
	want[0].Empty = true
	if all, err := Purge(t.Context(), bucket, set, false); err != nil || !slices.Equal(all, want) {
		t.Errorf("Purge = %v, %v, want %v", all, err, want)
	}
	for o := range bucket.List(t.Context(), "scenarios/") {
		t.Errorf("%s is left", o.Key)
	}
	if _, err := Open(t.Context(), bucket, "checkout", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("Open = %v, want ErrNotFound", err)
	}
}
