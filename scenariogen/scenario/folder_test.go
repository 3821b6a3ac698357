package scenario

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"tapedeck/events"
)

// odd is a session with bodies and headers that text files have trouble with.
func (r *recorder) odd() {
	for _, body := range []string{"", "text\r\nwith ends \u2028 <&>", `{"a": 1}`, `{"a":1}` + "\n", `{"a":"<&>\u2028"}`, "null", "\x00\xff", `"json text"`, "[1,2.50,1e3]", "\n"} {
		r.inbound("POST", "/echo?x=%20&y", fields{"X-Odd", "a\xffb", "X-Odd", ""}, body, 200, nil, body)
	}
	x := r.inbound("GET", "/big", nil, "", 200, nil, "half")
	x.Response.Body.Size, x.Response.Body.Hmac = 99, []byte{1, 2}
	x.Response.Trailers = fields{"X-Sum", "1"}.list()
	r.outbound("[::1]:9000", "GET", "/a/../b//c", "", 200, "\xfe")
}

func TestFolderRoundTrip(t *testing.T) {
	r := newRecorder()
	r.shop(1, 1041)
	r.odd()
	bucket := openBucket(t)
	r.build(t, bucket, Options{})
	dir := filepath.Join(t.TempDir(), "an export [1]")
	original := openScenario(t, bucket)
	for range 2 { // the second time over the first
		if err := ExportFolder(t.Context(), original, dir); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	sameRecords(t, original, folder)
	other := openBucket(t)
	for _, name := range []string{"", "../../evil", "a b", "-flag"} {
		if _, err := Import(t.Context(), other, folder, name, "i0"); err == nil {
			t.Errorf("a folder is imported as %q", name)
		}
	}
	m, err := Import(t.Context(), other, folder, "imported", "i1")
	if err != nil {
		t.Fatal(err)
	}
	imported, err := Open(t.Context(), other, "imported", "")
	if err != nil {
		t.Fatal(err)
	}
	if m.Version != Version("i1") || imported.Manifest().Tests != original.Manifest().Tests {
		t.Errorf("imported %+v", m)
	}
	sameRecords(t, original, imported)
}

func sameRecords(t *testing.T, a, b *Scenario) {
	t.Helper()
	one, two := readTests(t, a, Share{}), readTests(t, b, Share{})
	if len(one) != len(two) {
		t.Fatalf("%d and %d sessions", len(one), len(two))
	}
	for i := range one {
		if !proto.Equal(one[i], two[i]) {
			t.Errorf("session %d differs:\n%s\n%s", i, one[i], two[i])
		}
	}
	for _, d := range a.Manifest().Dependencies {
		one, two := readMocks(t, a, d.Name), readMocks(t, b, d.Name)
		if len(one) != len(two) || len(one) == 0 {
			t.Fatalf("%d and %d mocks of %s", len(one), len(two), d.Name)
		}
		for i := range one {
			if !proto.Equal(one[i], two[i]) {
				t.Errorf("mock %d of %s differs:\n%s\n%s", i, d.Name, one[i], two[i])
			}
		}
	}
}

func TestEditedFolderIsWhatIsReplayed(t *testing.T) {
	r := newRecorder()
	r.inbound("GET", "/price", nil, "", 200, nil, `{"price":10}`)
	bucket := openBucket(t)
	r.build(t, bucket, Options{})
	dir := t.TempDir()
	if err := ExportFolder(t.Context(), openScenario(t, bucket), dir); err != nil {
		t.Fatal(err)
	}
	files, err := jsonFiles(filepath.Join(dir, "tests"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte(`"price": 10`)) {
		t.Errorf("the body is not readable:\n%s", raw)
	}
	if err := os.WriteFile(files[0], bytes.Replace(raw, []byte(`"price": 10`), []byte(`"price": 1000`), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	body := readTests(t, s, Share{})[0].Tests[0].Exchange.Response.Body
	if string(body.Data) != `{"price":1000}` || incomplete(body) {
		t.Errorf("body %s of %d bytes", body.Data, body.Size)
	}
}

func TestFolderMistakesAreNamed(t *testing.T) {
	r := newRecorder()
	r.shop(1, 1041)
	bucket := openBucket(t)
	r.build(t, bucket, Options{})
	spoil := map[string]func(dir string) error{
		"manifest.json": func(dir string) error { return os.Remove(filepath.Join(dir, "manifest.json")) },
		"tests": func(dir string) error {
			files, err := jsonFiles(filepath.Join(dir, "tests"))
			if err != nil {
				return err
			}
			return os.WriteFile(files[0], []byte(`{"tests":[{}]`), 0o644)
		},
	}
	for what, do := range spoil {
		dir := t.TempDir()
		if err := ExportFolder(t.Context(), openScenario(t, bucket), dir); err != nil {
			t.Fatal(err)
		}
		if err := do(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFolder(dir); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("spoiled %s: error %v", what, err)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letter.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ExportFolder(t.Context(), openScenario(t, bucket), dir); err == nil {
		t.Error("exported into a folder with other files")
	}
}

func FuzzBodyFile(f *testing.F) {
	for _, s := range []string{"", "null", `{"a":1}` + "\n", "\xff", `{"a":1.0}`, "[]\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := newBodyFile(&events.Body{Data: data}).data()
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%q became %q, %v", data, got, err)
		}
	})
}
