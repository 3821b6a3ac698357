package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/wire/http1"
)

// counted counts the bytes that are read from a bucket.
type counted struct {
	tapes.Bucket
	bytes int64
}

func (c *counted) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	b, err := c.Bucket.Get(ctx, key, offset, length)
	c.bytes += int64(len(b))
	return b, err
}

// many records n one-test sessions with bodies of size random bytes.
func many(n, size int) *recorder {
	r := newRecorder()
	random := rand.NewChaCha8([32]byte{1})
	for range n {
		r.turn()
		body := make([]byte, size)
		random.Read(body)
		r.inbound("GET", "/x", nil, "", 200, fields{"Content-Type", "application/octet-stream"}, string(body))
	}
	return r
}

func TestPiecesAreBoundedAndShared(t *testing.T) {
	r := many(60, 512<<10)
	bucket := &counted{Bucket: openBucket(t)}
	m := r.build(t, bucket, Options{})
	if len(m.TestPieces) < 3 || len(m.TestPieces) > 5 {
		t.Errorf("%d pieces of 30 MiB in all, want about 4", len(m.TestPieces))
	}
	s := openScenario(t, bucket)
	all := readTests(t, s, Share{})
	if !slices.IsSortedFunc(all, func(a, b *Session) int { return int(a.Start - b.Start) }) || len(all) != 60 {
		t.Errorf("%d sessions, want 60 in order of start", len(all))
	}
	bucket.bytes = 0
	half := len(readTests(t, s, Share{To: 1 << 30}))
	if bucket.bytes > 16<<20 {
		t.Errorf("read %d MiB of 30 for a quarter", bucket.bytes>>20)
	}
	rest := len(readTests(t, s, Share{From: 1 << 30}))
	if half+rest != 60 || half < 5 || half > 30 {
		t.Errorf("shares of %d and %d sessions, want 60 in all", half, rest)
	}
}

func TestMissingAndDamagedPieces(t *testing.T) {
	r := newRecorder()
	r.shop(1, 1041)
	memory := map[string][]byte{}
	m := r.build(t, memoryBucket(memory), Options{})
	key := Folder(m.Name, m.Version) + m.TestPieces[0].Key
	good := memory[key]
	for n := 0; n < len(good); n += 7 {
		for _, bad := range [][]byte{good[:n], flipped(good, n)} {
			memory[key] = bad
			var failed error
			for _, err := range openScenario(t, memoryBucket(memory)).Tests(t.Context(), Share{}) {
				failed = err
			}
			if !errors.Is(failed, ErrFormat) {
				t.Fatalf("damaged at %d: error %v, want ErrFormat", n, failed)
			}
		}
	}
	delete(memory, key)
	for _, err := range openScenario(t, memoryBucket(memory)).Tests(t.Context(), Share{}) {
		if !errors.Is(err, tapes.ErrNotFound) {
			t.Errorf("error %v, want ErrNotFound", err)
		}
	}
}

func flipped(b []byte, n int) []byte {
	c := bytes.Clone(b)
	c[n] ^= 0x41
	return c
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	bucket := openBucket(t)
	for _, version := range []string{"", "abc"} {
		if _, err := Open(t.Context(), bucket, "nothing", version); !errors.Is(err, ErrNotFound) {
			t.Errorf("version %q: error %v, want ErrNotFound", version, err)
		}
	}
}

func TestVersionsAndNames(t *testing.T) {
	bucket := openBucket(t)
	r := newRecorder()
	r.shop(1, 1041)
	for i, request := range []string{"one", "two", "one"} {
		b := NewBuilder(Options{Name: "check out/ü", Version: Version(request), Request: request, Protocols: protocols(), CreatedAt: began.AddDate(0, 0, i)})
		for i := range r.all {
			if err := b.Add(&r.rows[i], r.all[i]); err != nil {
				t.Fatal(err)
			}
		}
		m, err := b.Finish(t.Context(), bucket)
		if err != nil {
			t.Fatal(err)
		}
		if m.Version != Version(request) || m.CreatedAt.After(began.AddDate(0, 0, 1)) {
			t.Errorf("request %s again made %s of %s", request, m.Version, m.CreatedAt)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	versions, err := Versions(t.Context(), bucket, "check out/ü")
	if err != nil || !slices.Equal(versions, []string{Version("one"), Version("two")}) {
		t.Errorf("versions %v, %v", versions, err)
	}
	names, err := Names(t.Context(), bucket)
	if err != nil || !slices.Equal(names, []string{"check out/ü"}) {
		t.Errorf("names %v, %v", names, err)
	}
	s, err := Open(t.Context(), bucket, "check out/ü", "")
	if err != nil || s.Manifest().Version != Version("two") {
		t.Errorf("newest %v, %v", s.Manifest(), err)
	}
}

// memoryBucket is a bucket in a map.
type memoryBucket map[string][]byte

func (m memoryBucket) Put(_ context.Context, key string, b []byte) error {
	if old, ok := m[key]; ok && !bytes.Equal(old, b) {
		return tapes.ErrDifferent
	}
	m[key] = bytes.Clone(b)
	return nil
}

func (m memoryBucket) Replace(_ context.Context, key string, b []byte) error {
	m[key] = bytes.Clone(b)
	return nil
}

func (m memoryBucket) Delete(_ context.Context, key string) error {
	delete(m, key)
	return nil
}

func (m memoryBucket) Get(_ context.Context, key string, offset, length int64) ([]byte, error) {
	b, ok := m[key]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", key, tapes.ErrNotFound)
	}
	b = b[min(offset, int64(len(b))):]
	if length >= 0 {
		b = b[:min(length, int64(len(b)))]
	}
	return bytes.Clone(b), nil
}

func (m memoryBucket) List(_ context.Context, prefix string) iter.Seq2[tapes.ObjectInfo, error] {
	return func(yield func(tapes.ObjectInfo, error) bool) {
		for key, b := range m {
			if strings.HasPrefix(key, prefix) && !yield(tapes.ObjectInfo{Key: key, Size: int64(len(b))}, nil) {
				return
			}
		}
	}
}

func (m memoryBucket) Folders(_ context.Context, folder string) ([]string, error) {
	var out []string
	for key := range m {
		rest, ok := strings.CutPrefix(key, folder)
		if name, _, more := strings.Cut(rest, "/"); ok && more && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// FuzzPiece holds that no bytes panic a reader or cost much memory, and that
// what is read is valid.
func FuzzPiece(f *testing.F) {
	r := newRecorder()
	r.shop(1, 1041)
	memory := map[string][]byte{}
	m := r.build(f, memoryBucket(memory), Options{})
	piece := Folder(m.Name, m.Version) + m.TestPieces[0].Key
	f.Add(memory[piece])
	f.Add([]byte(pieceMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		for session, err := range (bucketStore{memoryBucket{piece: b}}).tests(t.Context(), m, Share{}) {
			if err != nil {
				return
			}
			values := NewValues(session)
			for i, test := range session.Tests {
				x, _ := values.Request(i)
				x.Response = test.Exchange.Response
				Compare(test.Exchange, x, session.Rules(DefaultRules(), i, values))
				values.Learn(i, x)
			}
		}
	})
}

// FuzzJSON holds that leaves are where they say: replacing one by itself
// changes nothing, by another text only that.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,"x",null,true,{}],"b c":{"d":[]}}`, "[]", `"x"`, "1e5", `{"":{"":1}}`, " [ 1 , 2 ] "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		leaves, err := jsonLeaves(data)
		if err != nil {
			return
		}
		for _, l := range leaves[:min(len(leaves), 20)] {
			raw := string(data[l.start:l.end])
			if l.kind == kindNumber && raw != l.text {
				t.Errorf("%s: %q at %d is not %q", l.path, raw, l.start, l.text)
			}
			if l.kind != kindText || l.text == "" {
				continue
			}
			b := &events.Body{Data: data}
			message{side: "response", body: b}.put("response.body."+l.path, l.text, "replaced!")
			again, err := jsonLeaves(b.Data)
			if err != nil || len(again) != len(leaves) {
				t.Fatalf("%q became %q: %v", data, b.Data, err)
			}
		}
	})
}

// FuzzSession holds that a session from anywhere can be replayed, compared and
// learned from without a panic, and that its own answers pass.
func FuzzSession(f *testing.F) {
	r := newRecorder()
	r.shop(1, 1041)
	r.odd()
	for _, s := range r.sessions(f) {
		raw, err := proto.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := new(Session)
		if proto.Unmarshal(raw, s) != nil || s.validate() != nil || len(s.Tests) > 20 {
			return
		}
		Learn(s, nil)
		if err := s.validate(); err != nil {
			t.Fatal(err)
		}
		values := NewValues(s)
		for i, test := range s.Tests {
			x, _ := values.Request(i)
			x.Response = test.Exchange.Response
			if d := Compare(test.Exchange, x, s.Rules(DefaultRules(), i, values)); len(d) > 0 && !Truncated(d) {
				t.Fatalf("its own answer differs: %v\n%s", d, test)
			}
			values.Learn(i, x)
			k := &Mock{Exchange: test.Exchange}
			k.Echoes = Echoes(k)
			m := NewMatcher(new(http1.Protocol).Signature)
			m.Add(k)
			m.Match(x)
			k.Answer(x)
		}
	})
}
