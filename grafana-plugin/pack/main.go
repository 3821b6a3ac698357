// Command pack writes a built plugin as the zip that Grafana installs: the
// folder's files below the plugin's id, binaries executable.
//
//	go run ./pack FOLDER ID ZIP
package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("want FOLDER ID ZIP")
	}
	folder, id, name := os.DirFS(args[0]), args[1], args[2]
	// Written aside: a zip that is there is whole.
	file, err := os.Create(name + ".part")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if err := errors.Join(pack(file, folder, id), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.Rename(file.Name(), name)
}

func pack(to io.Writer, folder fs.FS, id string) error {
	w := zip.NewWriter(to)
	err := fs.WalkDir(folder, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return add(w, folder, name, path.Join(id, name))
	})
	return errors.Join(err, w.Close())
}

func add(w *zip.Writer, folder fs.FS, name, as string) error {
	// The first time that a zip can hold: equal files make an equal zip.
	header := &zip.FileHeader{Name: as, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
	header.SetMode(0o644)
	if strings.HasPrefix(path.Base(name), "gpx_") {
		header.SetMode(0o755)
	}
	to, err := w.CreateHeader(header)
	if err != nil {
		return err
	}
	from, err := folder.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(to, from)
	return err
}
