package main

import (
	"archive/zip"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPack(t *testing.T) {
	folder, out := t.TempDir(), filepath.Join(t.TempDir(), "plugin.zip")
	for name, mode := range map[string]fs.FileMode{"plugin.json": 0o600, "gpx_x_linux_amd64": 0o700, "img/logo.svg": 0o600} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := run([]string{folder, "some-id", out}); err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(out)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	got := map[string]string{}
	for _, f := range z.File {
		got[f.Name] = f.Mode().String()
	}
	want := map[string]string{"some-id/plugin.json": "-rw-r--r--", "some-id/gpx_x_linux_amd64": "-rwxr-xr-x", "some-id/img/logo.svg": "-rw-r--r--"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPackFailsWithoutFolder(t *testing.T) {
	out := filepath.Join(t.TempDir(), "plugin.zip")
	if err := run([]string{filepath.Join(t.TempDir(), "missing"), "id", out}); err == nil {
		t.Error("packed a missing folder")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("left a zip behind")
	}
}
