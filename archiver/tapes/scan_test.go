package tapes

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"tapedeck/events"
)

func clone(x *events.Exchange) *events.Exchange { return proto.Clone(x).(*events.Exchange) }

// below is a part of a bucket, so that tests can share one.
type below struct {
	Bucket
	prefix string
}

func (b below) Put(ctx context.Context, key string, data []byte) error {
	return b.Bucket.Put(ctx, b.prefix+key, data)
}

func (b below) Replace(ctx context.Context, key string, data []byte) error {
	return b.Bucket.Replace(ctx, b.prefix+key, data)
}

func (b below) Delete(ctx context.Context, key string) error {
	return b.Bucket.Delete(ctx, b.prefix+key)
}

func (b below) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	return b.Bucket.Get(ctx, b.prefix+key, offset, length)
}

func (b below) Folders(ctx context.Context, folder string) ([]string, error) {
	return b.Bucket.Folders(ctx, b.prefix+folder)
}

func (b below) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		for o, err := range b.Bucket.List(ctx, b.prefix+prefix) {
			o.Key = strings.TrimPrefix(o.Key, b.prefix)
			if !yield(o, err) {
				return
			}
		}
	}
}

func scan(t *testing.T, a *Archive, o ScanOptions) (ids []events.ID, errs []error) {
	t.Helper()
	for located, err := range New(a.Bucket).Scan(t.Context(), o) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ids = append(ids, located.TapeID())
		if f, err := a.Front(t.Context(), located.Place); err != nil || f.TapeID() != located.TapeID() {
			t.Errorf("the place of tape %s leads to %v, %v", located.TapeID(), f, err)
		}
	}
	if len(errs) == 0 {
		if listed := list(t, a, o); !slices.Equal(listed, ids) {
			t.Errorf("Tapes lists %v, Scan has %v", listed, ids)
		}
	}
	return ids, errs
}

func list(t *testing.T, a *Archive, o ScanOptions) (ids []events.ID) {
	t.Helper()
	for listed, err := range New(a.Bucket).Tapes(t.Context(), o) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, listed.ID)
		if f, err := a.Front(t.Context(), listed.Place); err != nil || f.TapeID() != listed.ID {
			t.Errorf("the place of tape %s leads to %v, %v", listed.ID, f, err)
		}
	}
	return ids
}

func TestScan(t *testing.T) {
	onArchives(t, func(t *testing.T, a *Archive, reel bool) {
		cart := events.Service{Cluster: "local", Namespace: "shop", Service: "cart"}
		bank := events.Service{Cluster: "other", Namespace: "bank", Service: "orders"}
		var ids []events.ID
		for i, s := range []events.Service{orders, cart, orders, bank, orders} {
			tape := newTape(t, s, noon.Add(time.Duration(i)*10*time.Hour), i)
			ids = append(ids, tape.TapeID())
			putAll(t, a, reel, tape)
			putAll(t, a, true, tape) // a copy of a redelivery is not seen
		}
		hours := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }
		for _, c := range []struct {
			name string
			ScanOptions
			want []int
		}{
			{"all", ScanOptions{}, []int{0, 1, 2, 3, 4}},
			{"service", ScanOptions{Service: orders}, []int{0, 2, 4}},
			{"service by name alone", ScanOptions{Service: events.Service{Service: "orders"}}, []int{0, 2, 3, 4}},
			{"namespace", ScanOptions{Service: events.Service{Namespace: "bank"}}, []int{3}},
			{"nothing", ScanOptions{Service: events.Service{Cluster: "nowhere"}}, nil},
			{"from", ScanOptions{From: hours(10)}, []int{1, 2, 3, 4}},
			{"to", ScanOptions{To: hours(20)}, []int{0, 1, 2}},
			{"from and to", ScanOptions{From: hours(9), To: hours(21)}, []int{1, 2}},
			{"between tapes", ScanOptions{From: hours(11), To: hours(19)}, nil},
		} {
			t.Run(c.name, func(t *testing.T) {
				for _, newest := range []bool{false, true} {
					c.Newest = newest
					got, errs := scan(t, a, c.ScanOptions)
					var want []events.ID
					for _, i := range c.want {
						want = append(want, ids[i])
					}
					if newest {
						slices.Reverse(want)
					}
					if newest || reel { // copies and reels lie in the hour of their writing
						slices.SortFunc(got, func(x, y events.ID) int { return slices.Compare(x[:], y[:]) })
						slices.SortFunc(want, func(x, y events.ID) int { return slices.Compare(x[:], y[:]) })
					}
					if !slices.Equal(got, want) || errs != nil {
						t.Errorf("newest first %v: got %v and errors %v, want %v", newest, got, errs, want)
					}
				}
			})
		}
	})
}

func TestScanOrder(t *testing.T) {
	a, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var want []events.ID
	for i := range 40 {
		s := orders
		s.Namespace = []string{"a", "b", "c"}[i%3]
		tape := newTape(t, s, noon.Add(time.Duration(i)*11*time.Minute), 0)
		putAll(t, a, false, tape)
		want = append(want, tape.TapeID())
	}
	for range 2 {
		if got, errs := scan(t, a, ScanOptions{Newest: newestFirst(want)}); !slices.Equal(got, want) || errs != nil {
			t.Errorf("got %v and errors %v, want %v", got, errs, want)
		}
		slices.Reverse(want)
	}
}

// newestFirst says whether ids run from new to old.
func newestFirst(ids []events.ID) bool { return ids[0].Time().After(ids[1].Time()) }

func TestScanStops(t *testing.T) {
	a, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		putAll(t, a, i%2 == 0, newTape(t, orders, noon.Add(time.Duration(i)*time.Second), 1))
	}
	for stop := range 3 {
		n := 0
		for range a.Scan(t.Context(), ScanOptions{}) {
			if n++; n > stop {
				break
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range a.Scan(ctx, ScanOptions{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after a cancel: got error %v", err)
		}
		break
	}
}

// Damaged objects and strange ones are errors or not seen; the others are.
func TestScanOfDamagedArchive(t *testing.T) {
	root := t.TempDir()
	a, err := Open(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	good := newTape(t, orders, noon, 3)
	damaged := newTape(t, orders, noon, 3)
	renamed := newTape(t, orders, noon, 3)
	putAll(t, a, false, good, damaged, renamed)
	reel := putAll(t, a, true, newTape(t, orders, noon, 1))[0].Object
	truncate(t, filepath.Join(root, a.Key(damaged.Header)), 100)
	truncate(t, filepath.Join(root, reel), 100)
	other := events.NewID(noon)
	if err := os.Rename(filepath.Join(root, a.Key(renamed.Header)), filepath.Join(root, tapeKey(orders, other))); err != nil {
		t.Fatal(err)
	}
	for _, stranger := range []string{"tapes/readme.txt", "tapes/a/b/c/2026/13/45/99/x.tape", "reels/a/b/2026/01/02/03/x_y.reel",
		filepath.Dir(a.Key(good.Header)) + "/notes.txt"} {
		if err := a.Put(t.Context(), stranger, []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	ids, errs := scan(t, a, ScanOptions{})
	if !slices.Equal(ids, []events.ID{good.TapeID()}) {
		t.Errorf("got %v, want only the good tape", ids)
	}
	if len(errs) != 3 {
		t.Errorf("got %d errors, want 3: %v", len(errs), errs)
	}
	for _, err := range errs {
		if !errors.Is(err, events.ErrTape) {
			t.Errorf("error %v does not wrap ErrTape", err)
		}
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// A copy in a reel stands in for one that is damaged.
func TestFindAnotherCopy(t *testing.T) {
	root := t.TempDir()
	a, err := Open(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	tape := newTape(t, orders, time.Now(), 3)
	putAll(t, a, false, tape)
	truncate(t, filepath.Join(root, a.Key(tape.Header)), 10)
	if _, err := New(a.Bucket).Find(t.Context(), orders, tape.TapeID()); !errors.Is(err, events.ErrTape) {
		t.Errorf("the only copy is damaged: got error %v, want one that wraps ErrTape", err)
	}
	putAll(t, a, true, tape)
	fresh := New(a.Bucket)
	p, err := fresh.Find(t.Context(), orders, tape.TapeID())
	if err != nil {
		t.Fatal(err)
	}
	checkTape(t, fresh, p, tape)
}
