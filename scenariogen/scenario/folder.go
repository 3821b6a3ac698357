package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
)

// The files of an exported scenario, to read, edit and commit:
//
//	manifest.json
//	tests/000001-<session>.json                         one a session, in order of start
//	mocks/<dependency>/000001-<method>-<endpoint>.json  one a mock
//
// Bodies are JSON or text where that gives the same bytes again, else base64.
const (
	manifestFile = "manifest.json"
	testsFolder  = "tests"
	mocksFolder  = "mocks"
	maxFile      = 512 << 20
)

// ExportFolder writes the scenario as a folder of readable files. A folder
// that holds an earlier export is written anew; one that holds anything else
// is refused.
func ExportFolder(ctx context.Context, s *Scenario, dir string) error {
	if err := clearExport(dir); err != nil {
		return fmt.Errorf("export scenario %s: %w", s.manifest.Name, err)
	}
	if err := exportRecords(ctx, s, dir); err != nil {
		return fmt.Errorf("export scenario %s to %s: %w", s.manifest.Name, dir, err)
	}
	m := *s.manifest
	m.TestPieces, m.MockPieces = nil, nil
	if err := writeJSON(filepath.Join(dir, manifestFile), &m); err != nil {
		return fmt.Errorf("export scenario %s: %w", m.Name, err)
	}
	return nil
}

func clearExport(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, manifestFile)); err != nil {
		return fmt.Errorf("folder %s holds other files: choose an empty one", dir)
	}
	folders := []string{filepath.Join(dir, testsFolder)}
	dependencies, err := os.ReadDir(filepath.Join(dir, mocksFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, d := range dependencies {
		folders = append(folders, filepath.Join(dir, mocksFolder, d.Name()))
	}
	for _, folder := range folders {
		if err := removeJSON(folder); err != nil {
			return err
		}
	}
	return nil
}

func removeJSON(folder string) error {
	files, err := jsonFiles(folder)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return nil
}

// jsonFiles are the paths of the JSON files of a folder, sorted; none where
// there is no folder.
func jsonFiles(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") && !e.IsDir() {
			files = append(files, filepath.Join(folder, e.Name()))
		}
	}
	return files, nil
}

func exportRecords(ctx context.Context, s *Scenario, dir string) error {
	n := 0
	for session, err := range s.Tests(ctx, Share{}) {
		if err != nil {
			return err
		}
		file, err := newSessionFile(session)
		if err != nil {
			return err
		}
		n++
		if err := writeJSON(filepath.Join(dir, testsFolder, fileName(n, session.Id)), file); err != nil {
			return err
		}
	}
	for _, d := range s.manifest.Dependencies {
		n = 0
		for mock, err := range s.Mocks(ctx, d.Name) {
			if err != nil {
				return err
			}
			file, err := newMockFile(mock)
			if err != nil {
				return err
			}
			n++
			name := fileName(n, strings.ToLower(mock.Exchange.Request.Method)+mock.Template)
			if err := writeJSON(filepath.Join(dir, mocksFolder, events.Token(d.Name), name), file); err != nil {
				return err
			}
		}
	}
	return nil
}

// fileName keeps letters and digits of a text, at most 48.
func fileName(n int, text string) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case b.Len() >= 48:
		case c < 128 && charClass(byte(c)) != 0:
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return fmt.Sprintf("%06d-%s.json", n, strings.TrimSuffix(b.String(), "-"))
}

func writeJSON(path string, v any) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func readJSON(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(raw) > maxFile {
		return formatError("%s is over the bound of %d bytes", path, maxFile)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return formatError("%s: %v", path, err)
	}
	return nil
}

// OpenFolder opens an exported scenario. All files are read once to find
// mistakes before a replay begins; counts are those of the files.
func OpenFolder(dir string) (*Scenario, error) {
	raw, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open scenario folder %s: %w: it has no %s", dir, ErrNotFound, manifestFile)
	}
	if err != nil {
		return nil, fmt.Errorf("open scenario folder: %w", err)
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("open scenario folder %s: %w", dir, err)
	}
	s := &Scenario{manifest: m, store: folderStore{dir}}
	if err := s.count(); err != nil {
		return nil, fmt.Errorf("open scenario folder %s: %w", dir, err)
	}
	return s, nil
}

func (s *Scenario) count() error {
	m := s.manifest
	m.Sessions, m.Tests, m.Mocks = 0, 0, 0
	var credentials credentialList
	for session, err := range s.Tests(context.Background(), Share{}) {
		if err != nil {
			return err
		}
		credentials.add(session)
		m.Sessions++
		m.Tests += len(session.Tests)
	}
	for i := range m.Dependencies {
		d := &m.Dependencies[i]
		d.Mocks = 0
		for _, err := range s.Mocks(context.Background(), d.Name) {
			if err != nil {
				return err
			}
			d.Mocks++
		}
		m.Mocks += d.Mocks
	}
	m.Credentials = credentials.sorted()
	return nil
}

// folderStore reads the files of an export.
type folderStore struct{ dir string }

func (s folderStore) tests(ctx context.Context, _ *Manifest, share Share) iter.Seq2[*Session, error] {
	return func(yield func(*Session, error) bool) {
		files, err := jsonFiles(filepath.Join(s.dir, testsFolder))
		if err != nil {
			yield(nil, err)
			return
		}
		for _, path := range files {
			session, err := readSession(ctx, path)
			if err == nil && !share.Has(SessionHash(session.Id)) {
				continue
			}
			if !yield(session, err) || err != nil {
				return
			}
		}
	}
}

func readSession(ctx context.Context, path string) (*Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var f sessionFile
	if err := readJSON(path, &f); err != nil {
		return nil, err
	}
	s, err := f.parse()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s folderStore) mocks(ctx context.Context, _ *Manifest, dependency string) iter.Seq2[*Mock, error] {
	return func(yield func(*Mock, error) bool) {
		files, err := jsonFiles(filepath.Join(s.dir, mocksFolder, events.Token(dependency)))
		if err != nil {
			yield(nil, err)
			return
		}
		for _, path := range files {
			mock, err := readMock(ctx, path)
			if !yield(mock, err) || err != nil {
				return
			}
		}
	}
}

func readMock(ctx context.Context, path string) (*Mock, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var f exchangeFile
	if err := readJSON(path, &f); err != nil {
		return nil, err
	}
	k, err := f.parseMock()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// Import writes a scenario, of a folder as a rule, into the archive as the
// version that the request id makes.
func Import(ctx context.Context, b tapes.Bucket, s *Scenario, name, request string) (*Manifest, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	m := *s.manifest
	m.Name, m.Request, m.Version, m.CreatedAt = name, request, Version(request), time.Now().UTC()
	m.Sessions, m.Tests, m.Mocks, m.TestPieces, m.MockPieces = 0, 0, 0, nil, nil
	w := &writer{bucket: b, manifest: &m}
	for session, err := range s.Tests(ctx, Share{}) {
		if err == nil {
			err = w.addSession(ctx, session)
		}
		if err != nil {
			return nil, fmt.Errorf("import scenario %s: %w", name, err)
		}
	}
	for _, d := range m.Dependencies {
		for mock, err := range s.Mocks(ctx, d.Name) {
			if err == nil {
				err = w.addMock(ctx, mock)
			}
			if err != nil {
				return nil, fmt.Errorf("import scenario %s: %w", name, err)
			}
		}
	}
	done, err := w.finish(ctx)
	if err != nil {
		return nil, fmt.Errorf("import scenario %s: %w", name, err)
	}
	return done, nil
}
