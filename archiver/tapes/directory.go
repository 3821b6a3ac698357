package tapes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// directory is a Bucket in a folder: one file an object. Files and folders are
// readable by their owner only, for they hold recorded traffic.
type directory struct{ root string }

var _ Bucket = (*directory)(nil)

const (
	temporary    = ".tmp" // in the root: files that are being written
	temporaryAge = time.Hour
)

func openDirectory(root string) (*directory, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("archive %s: %w", root, err)
	}
	d := &directory{root}
	d.removeLeftovers()
	return d, nil
}

// removeLeftovers deletes what a killed process was writing. Failing at it
// harms nobody.
func (d *directory) removeLeftovers() {
	entries, err := os.ReadDir(filepath.Join(d.root, temporary))
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > temporaryAge {
			os.Remove(filepath.Join(d.root, temporary, e.Name()))
		}
	}
}

func (d *directory) path(key string) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	return filepath.Join(d.root, filepath.FromSlash(key)), nil
}

// Put writes a temporary file, syncs it, and gives it its name in one step.
func (d *directory) Put(_ context.Context, key string, b []byte) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	if done, err := sameFile(path, key, b); done || err != nil {
		return err
	}
	file, err := d.writeTemporary(b)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	defer os.Remove(file)
	if err := makeFolders(filepath.Dir(path)); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := give(file, path); errors.Is(err, fs.ErrExist) {
		_, err := sameFile(path, key, b) // another writer was faster
		return err
	} else if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// Replace renames a synced file over what lies there.
func (d *directory) Replace(_ context.Context, key string, b []byte) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	file, err := d.writeTemporary(b)
	if err != nil {
		return fmt.Errorf("replace %s: %w", key, err)
	}
	defer os.Remove(file)
	if err = makeFolders(filepath.Dir(path)); err == nil {
		err = os.Rename(file, path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", key, err)
	}
	return nil
}

// Delete removes a file; its folders stay.
func (d *directory) Delete(_ context.Context, key string) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// sameFile says whether the file is there already with these bytes.
func sameFile(path, key string, b []byte) (bool, error) {
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("put %s: %w", key, err)
	case !bytes.Equal(old, b):
		return false, fmt.Errorf("put %s: %w", key, ErrDifferent)
	}
	// Whoever wrote it may have died before it was durable.
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return false, fmt.Errorf("put %s: %w", key, err)
	}
	return true, nil
}

func (d *directory) writeTemporary(b []byte) (path string, err error) {
	folder := filepath.Join(d.root, temporary)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(folder, "put-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// give names a file, never replacing another: a hard link is made or fails as
// a whole. Where the file system has none, a rename must do; two writers of
// one key then have equal bytes unless something else is wrong.
func give(file, path string) error {
	err := os.Link(file, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	return os.Rename(file, path)
}

// makeFolders makes a folder and its parents, each durable in its own parent.
func makeFolders(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	parent := filepath.Dir(path)
	if err := makeFolders(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(parent)
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *directory) Get(_ context.Context, key string, offset, length int64) ([]byte, error) {
	path, err := d.path(key)
	if err != nil {
		return nil, err
	}
	if err := checkRange(offset); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("get %s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	b, err := readAtMost(f, length)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return b, nil
}

func (d *directory) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		folder := prefix[:strings.LastIndexByte(prefix, '/')+1]
		err := filepath.WalkDir(filepath.Join(d.root, filepath.FromSlash(folder)), func(path string, e fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, fs.ErrNotExist): // nothing there, or gone since its folder was read
				return nil
			case err != nil:
				return err
			case e.IsDir() && e.Name() == temporary:
				return filepath.SkipDir
			case !e.Type().IsRegular():
				return nil
			}
			rel, err := filepath.Rel(d.root, path)
			if err != nil {
				return err
			}
			key := filepath.ToSlash(rel)
			info, err := e.Info()
			if err != nil || !strings.HasPrefix(key, prefix) {
				return err
			}
			if !yield(ObjectInfo{key, info.Size(), info.ModTime()}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(ObjectInfo{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

func (d *directory) Folders(_ context.Context, folder string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.root, filepath.FromSlash(folder)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	var names []string
	for _, e := range entries { // ReadDir sorts
		if e.IsDir() && e.Name() != temporary {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// CheckWritable fails where nothing can be written.
func (d *directory) CheckWritable(context.Context) error {
	path, err := d.writeTemporary(nil)
	if err != nil {
		return fmt.Errorf("archive %s is not writable: %w", d.root, err)
	}
	return os.Remove(path)
}

func (d *directory) String() string { return d.root }
