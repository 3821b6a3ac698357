package wire

import (
	"strings"
	"testing"
)

func TestTemplate(t *testing.T) {
	for path, want := range map[string]string{
		"/":              "/",
		"":               "",
		"*":              "*",
		"/users":         "/users",
		"/users/123":     "/users/{id}",
		"/users/123/":    "/users/{id}/",
		"/users/007/x/9": "/users/{id}/x/{id}",
		"/v1/orders":     "/v1/orders",
		"/api/v2.1/x":    "/api/v2.1/x",
		"/o/0192a0c4-7f3e-7cc3-98c4-dc0c0c07398f":     "/o/{uuid}",
		"/o/0192A0C4-7F3E-7CC3-98C4-DC0C0C07398F.pdf": "/o/{uuid}.pdf",
		"/c/da39a3ee5e6b4b0d3255bfef95601890afd80709": "/c/{hash}",
		"/deadbeef/x":                     "/deadbeef/x",
		"/day/2026-11-23":                 "/day/{date}",
		"/at/2026-11-23T10:00:00Z":        "/at/{date}",
		"/at/2026-11-23T10:00:00.5+01:00": "/at/{date}",
		"/at/2026-11-23T10:00:00.000Z":    "/at/{date}",
		"/t/" + TokenPrefix + "0a1b2c3d_" + strings.Repeat("0f", 16): "/t/{token}",
		"/s/9xKj3LmQ8vZt2RwY7pNb":                                    "/s/{token}",
		"/blog/red-shoes-for-children-and-others":                    "/blog/red-shoes-for-children-and-others",
		"/users/a@example.com":                                       "/users/{email}",
		"/users/a%40example.com":                                     "/users/{email}",
		"/img/17.png":                                                "/img/{id}.png",
		"/order-17/line_3":                                           "/order-{id}/line_{id}",
		"/bucket/object-12.bin":                                      "/bucket/object-{id}.bin",
		"/a/b/c/d/e/f/g/h/i/j/k/l/m/n":                               "/a/b/c/d/e/f/g/h/i/j/k/l/{rest}",
		"/a//1":                                                      "/a//{id}",
		"/files/archive.tar.gz":                                      "/files/archive.tar.gz",
		"/song.mp3":                                                  "/song.mp3",
	} {
		if got := Template(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// FuzzTemplate: a template is its own template, and never longer than it must be.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"/users/123", "/a/b-1.x/2026-01-01", "/x/y@z", "////", "/{id}/{rest}", "/%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		once := Template(path)
		if twice := Template(once); twice != once {
			t.Errorf("%q: once %q, twice %q", path, once, twice)
		}
		if n := strings.Count(once, "/"); n > maxTemplateSegments {
			t.Errorf("%q has %d slashes", once, n)
		}
	})
}

func BenchmarkTemplate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Template("/api/v1/items/123/details")
	}
}
