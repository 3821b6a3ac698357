package tapes

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/internal/s3test"
)

// onBuckets runs a test on every kind of bucket.
func onBuckets(t *testing.T, test func(*testing.T, Bucket)) {
	t.Run("directory", func(t *testing.T) {
		a, err := Open(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		test(t, a.Bucket)
	})
	t.Run("s3", func(t *testing.T) {
		s := s3test.Start(t, "archive")
		s.Setenv(t)
		a, err := Open(t.Context(), s.URL("archive", "some/prefix"))
		if err != nil {
			t.Fatal(err)
		}
		test(t, a.Bucket)
	})
}

func TestBucket(t *testing.T) {
	onBuckets(t, func(t *testing.T, b Bucket) {
		t.Run("put and get", func(t *testing.T) { testPutGet(t, b) })
		t.Run("written once", func(t *testing.T) { testWrittenOnce(t, b) })
		t.Run("missing", func(t *testing.T) { testMissing(t, b) })
		t.Run("writers at once", func(t *testing.T) { testWriters(t, b) })
		t.Run("list", func(t *testing.T) { testList(t, b) })
		t.Run("bad keys", func(t *testing.T) { testBadKeys(t, b) })
	})
}

func testPutGet(t *testing.T, b Bucket) {
	for _, size := range []int{0, 1, 1000, 9 << 20} {
		key := fmt.Sprintf("put/%%2F-_A/%d.bin", size)
		want := bytes.Repeat([]byte("tapedeck!"), size/9+1)[:size]
		if err := b.Put(t.Context(), key, want); err != nil {
			t.Fatal(err)
		}
		for _, r := range []struct{ offset, length int64 }{{0, -1}, {0, 0}, {0, 10}, {5, 3}, {5, -1}, {int64(size) - 1, 100}, {int64(size), 1}, {int64(size) + 7, -1}, {3, 1 << 50}} {
			if r.offset < 0 {
				continue
			}
			got, err := b.Get(t.Context(), key, r.offset, r.length)
			if err != nil {
				t.Fatalf("get %d bytes from %d of %d: %v", r.length, r.offset, size, err)
			}
			if want := slice(want, r.offset, r.length); !bytes.Equal(got, want) {
				t.Errorf("get %d bytes from %d of %d: got %d bytes, want %d", r.length, r.offset, size, len(got), len(want))
			}
		}
	}
	if _, err := b.Get(t.Context(), "put/x", -1, 5); err == nil {
		t.Error("a negative offset was read")
	}
}

func slice(b []byte, offset, length int64) []byte {
	b = b[min(offset, int64(len(b))):]
	if length >= 0 {
		b = b[:min(length, int64(len(b)))]
	}
	return b
}

func testWrittenOnce(t *testing.T, b Bucket) {
	for range 2 { // the second time it is there already
		if err := b.Put(t.Context(), "once/a", []byte("one")); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"two", "", "one and more"} {
		if err := b.Put(t.Context(), "once/a", []byte(other)); !errors.Is(err, ErrDifferent) {
			t.Errorf("put of %q over %q: got error %v, want ErrDifferent", other, "one", err)
		}
	}
	if got, err := b.Get(t.Context(), "once/a", 0, -1); err != nil || string(got) != "one" {
		t.Errorf("got %q, %v; want what was written first", got, err)
	}
}

func testMissing(t *testing.T, b Bucket) {
	for _, length := range []int64{-1, 0, 10} {
		if _, err := b.Get(t.Context(), "nothing/here", 0, length); !errors.Is(err, ErrNotFound) {
			t.Errorf("get %d bytes of a missing object: got error %v, want ErrNotFound", length, err)
		}
	}
	for o, err := range b.List(t.Context(), "nothing/") {
		t.Errorf("list of nothing: got %v, %v", o, err)
	}
	if names, err := b.Folders(t.Context(), "nothing/"); len(names) != 0 || err != nil {
		t.Errorf("folders of nothing: got %v, %v", names, err)
	}
}

// Of writers of different bytes one wins, and the others are told.
func testWriters(t *testing.T, b Bucket) {
	const writers = 8
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		wg.Go(func() { errs[i] = b.Put(t.Context(), "race/a", []byte{byte(i / 2)}) })
	}
	wg.Wait()
	got, err := b.Get(t.Context(), "race/a", 0, -1)
	if err != nil || len(got) != 1 {
		t.Fatalf("got %v, %v", got, err)
	}
	for i, err := range errs {
		if won := byte(i/2) == got[0]; won && err != nil || !won && !errors.Is(err, ErrDifferent) {
			t.Errorf("writer %d of %d: won %v, error %v", i/2, got[0], won, err)
		}
	}
}

func testList(t *testing.T, b Bucket) {
	want := []string{"list/a/1", "list/a/2", "list/a-b/1", "list/b/c/d", "list/z"}
	for _, key := range want {
		if err := b.Put(t.Context(), key, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string][]string{"list/": want, "list/a": want[:3], "list/a/": want[:2], "list/b/c/d": want[3:4], "list/x": nil} {
		var got []string
		for o, err := range b.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			if o.Size != int64(len(o.Key)) || o.Modified.IsZero() {
				t.Errorf("object %+v, want size %d and a time", o, len(o.Key))
			}
			got = append(got, o.Key)
		}
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), got); diff != "" {
			t.Errorf("list %s (-want +got):\n%s", prefix, diff)
		}
	}
	for range b.List(t.Context(), "list/") {
		break // a caller may have enough
	}
	for folder, want := range map[string][]string{"list/": {"a", "a-b", "b"}, "list/a/": nil, "list/b/": {"c"}} {
		got, err := b.Folders(t.Context(), folder)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("folders of %s: got %v, %v; want %v", folder, got, err, want)
		}
	}
	top, err := b.Folders(t.Context(), "")
	if err != nil || !slices.Contains(top, "list") || slices.ContainsFunc(top, func(s string) bool { return s[0] == '.' }) {
		t.Errorf("folders at the top: got %v, %v", top, err)
	}
}

func testBadKeys(t *testing.T, b Bucket) {
	for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", ".tmp/a", "a/.", `a\b`, "a\x00"} {
		if err := b.Put(t.Context(), key, nil); err == nil {
			t.Errorf("put %q was accepted", key)
		}
		if _, err := b.Get(t.Context(), key, 0, -1); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("get %q: got error %v, want that the key is bad", key, err)
		}
	}
}

// What other stores answer to a conditional PUT.
func TestS3Stores(t *testing.T) {
	s := s3test.Start(t, "archive")
	s.Setenv(t)
	for _, c := range []struct {
		name   string
		status int
		code   string
		times  int32
	}{
		{"conflict with another writer", http.StatusConflict, "ConditionalRequestConflict", 3},
		{"condition not implemented", http.StatusNotImplemented, "NotImplemented", 1},
		{"condition not implemented, as 400", http.StatusBadRequest, "NotImplemented", 1},
		{"slow down", http.StatusServiceUnavailable, "SlowDown", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var answered atomic.Int32
			endpoint := inFrontOf(t, s, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut || r.Header.Get("If-None-Match") == "" || answered.Add(1) > c.times {
					return false
				}
				w.WriteHeader(c.status)
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>planted</Message></Error>", c.code)
				return true
			})
			b, err := openBucket("s3://archive/" + url.PathEscape(c.name) + "?endpoint=" + url.QueryEscape(endpoint))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := b.Put(t.Context(), "a", []byte("one")); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := b.Get(t.Context(), "a", 0, -1); err != nil || string(got) != "one" {
				t.Errorf("got %q, %v", got, err)
			}
			if answered.Load() < c.times {
				t.Errorf("the store was asked %d times, want at least %d", answered.Load(), c.times)
			}
		})
	}
}

// What is sent must suit stores that know no checksums in trailers.
func TestS3PlainPut(t *testing.T) {
	s := s3test.Start(t, "archive")
	s.Setenv(t)
	var put http.Header
	endpoint := inFrontOf(t, s, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			put = r.Header.Clone()
			put.Set("Length", fmt.Sprint(r.ContentLength))
		}
		return false
	})
	b, err := openBucket("s3://archive?endpoint=" + url.QueryEscape(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), "a", []byte("one")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Length": "3", "Content-Encoding": "", "X-Amz-Trailer": "", "If-None-Match": "*",
		"X-Amz-Checksum-Sha256": "dpLDrTVAu4A8Ags67mbNiIcSMjTqDG5xQ8Ct1z/0Me0="} {
		if got := put.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
}

// inFrontOf runs a proxy to s whose answer, when it returns true, is given
// instead of the server's.
func inFrontOf(t *testing.T, s *s3test.Server, answer func(http.ResponseWriter, *http.Request) bool) string {
	target, err := url.Parse(s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestOpen(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for location, want := range map[string]string{
		"":                                "no archive is named",
		"gs://bucket":                     `"gs" is neither s3 nor file`,
		"file://relative/path":            "absolute",
		"s3:///prefix":                    "names no bucket",
		"s3://bucket?endpoint=localhost":  "endpoint",
		"s3://bucket?endpoint=ftp://host": "endpoint",
		"s3://bucket?regoin=x":            `unknown parameter "regoin"`,
		"s3://bucket?path-style=maybe":    "path-style",
		file + "/below":                   "not a directory",
		"s3://bucket/p":                   "",
		"file://" + t.TempDir() + "/some%20folder": "",
		filepath.Join(t.TempDir(), "a", "b"):       "",
	} {
		_, err := Open(t.Context(), location)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("open %q: got error %v, want %q", location, err, want)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	if _, err := Open(t.Context(), "s3://bucket"); err == nil || !strings.Contains(err.Error(), "AWS_SECRET_ACCESS_KEY") {
		t.Errorf("without credentials: got error %v, want the variables to set", err)
	}
}

func TestDirectoryIsPrivate(t *testing.T) {
	root := filepath.Join(t.TempDir(), "archive")
	a, err := Open(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.CheckWritable(t.Context()); err != nil {
		t.Error(err)
	}
	if err := a.Put(t.Context(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{root: 0o700, root + "/a": 0o700, root + "/a/b": 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v; want mode %v", path, info.Mode(), err, want)
		}
	}
	left, err := os.ReadDir(filepath.Join(root, temporary))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
}
