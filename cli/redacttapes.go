package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/capture"
	"tapedeck/capture/redact"
	"tapedeck/events"
	"tapedeck/internal/service"
)

// inKind is what IN names.
type inKind uint8

const (
	inFile inKind = iota
	inTape
	inArchive
)

func kindOf(name string) (inKind, error) {
	if name == "-" {
		return inFile, nil
	}
	if strings.Contains(name, "://") {
		return inArchive, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return 0, errors.Unwrap(err) // the caller names it
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return inArchive, nil
	}
	var magic [events.TapePrefix]byte
	if _, err := io.ReadFull(f, magic[:]); err == nil {
		if _, err := events.FrontSize(magic[:]); err == nil {
			return inTape, nil
		}
	}
	return inFile, nil
}

// tape redacts a tape that lies alone.
func (c *redactFile) tape(ctx context.Context, engines *redact.Offline) (int, error) {
	in, err := loneTape(ctx, c.In)
	if err != nil {
		return 0, err
	}
	defer in.close()
	r := rewriter(engines, in.archive)
	for t, err := range in.all {
		if err == nil {
			err = r.Look(t)
		}
		if err != nil {
			return 0, err
		}
		b, err := r.Tape(ctx, t)
		if errors.Is(err, tapes.ErrNotArchived) {
			return 0, service.Hint(err, "a body in it goes on in another tape: redact the archive that they lie in")
		}
		if err == nil {
			err = os.WriteFile(c.Out, b, 0o600)
		}
		if err != nil {
			return 0, service.Hint(err, redact.MissingKeyHint)
		}
	}
	return r.Exchanges(), nil
}

func rewriter(engines *redact.Offline, from *tapes.Archive) *capture.Rewriter {
	return capture.NewRewriter(engines, func(ctx context.Context, w *events.Workload, x *events.Exchange, b *events.Body) ([]byte, error) {
		return from.Body(ctx, events.Service{Cluster: w.Cluster, Namespace: w.Namespace, Service: w.Service}, x, b)
	})
}

// archive redacts all tapes of an archive, or of its last recording, into a
// new one.
func (c *redactFile) archive(ctx context.Context, engines *redact.Offline) (int, error) {
	in, err := openTapes(ctx, c.In, c.Last)
	if err != nil {
		return 0, err
	}
	to, err := c.newArchive(ctx)
	if err != nil {
		return 0, err
	}
	r := rewriter(engines, in.archive)
	for t, err := range in.all {
		if err == nil {
			err = r.Look(t)
		}
		if err != nil {
			return 0, err
		}
	}
	for t, err := range in.all {
		if err == nil {
			err = rewriteTape(ctx, r, t, to)
		}
		if err != nil {
			return 0, err
		}
	}
	return r.Exchanges(), nil
}

func rewriteTape(ctx context.Context, r *capture.Rewriter, t *events.Tape, to *tapes.Archive) error {
	b, err := r.Tape(ctx, t)
	if err != nil {
		return service.Hint(err, redact.MissingKeyHint)
	}
	redacted, err := events.ParseTape(b)
	if err == nil {
		_, err = to.PutTape(ctx, redacted)
	}
	return err
}

// newArchive is one without tapes: those of another have the same ids.
func (c *redactFile) newArchive(ctx context.Context) (*tapes.Archive, error) {
	if c.Out == "-" {
		return nil, service.Hint(errors.New("an archive can't go to standard output"), "name a new folder as OUT")
	}
	to, err := tapes.Open(ctx, c.Out)
	if err != nil {
		return nil, service.Hint(err, archiveHint)
	}
	for _, folder := range []string{"tapes/", "reels/"} {
		found, err := to.Folders(ctx, folder)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			return nil, service.Hint(fmt.Errorf("%s: there are tapes in it", c.Out), "name a new folder as OUT")
		}
	}
	return to, nil
}

// inTapes are tapes to read, in the order of their times, and where the bodies
// in them go on.
type inTapes struct {
	archive *tapes.Archive
	all     iter.Seq2[*events.Tape, error]
	close   func()
}

// loneTape opens a tape that lies alone, as an archive of its own.
func loneTape(ctx context.Context, name string) (*inTapes, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	t, err := events.ParseTape(b)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "tapedeck-redact-")
	if err != nil {
		return nil, err
	}
	in := &inTapes{close: func() { os.RemoveAll(folder) }, all: func(yield func(*events.Tape, error) bool) { yield(t, nil) }}
	if in.archive, err = tapes.Open(ctx, folder); err == nil {
		_, err = in.archive.PutTape(ctx, t)
	}
	if err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// openTapes opens an archive, which may lie in a data folder, or only what its
// last recording has written.
func openTapes(ctx context.Context, name string, last bool) (*inTapes, error) {
	wanted := func(*events.Front) bool { return true }
	if last {
		r, err := lastRecording(name)
		if err != nil {
			return nil, err
		}
		wanted = r.holds
	}
	if inside := filepath.Join(name, "archive"); !strings.Contains(name, "://") {
		if info, err := os.Stat(inside); err == nil && info.IsDir() {
			name = inside
		}
	}
	archive, err := tapes.Open(ctx, name)
	if err != nil {
		return nil, service.Hint(err, archiveHint)
	}
	return &inTapes{archive: archive, close: func() {}, all: func(yield func(*events.Tape, error) bool) {
		for located, err := range archive.Scan(ctx, tapes.ScanOptions{}) {
			var t *events.Tape
			if err == nil && !wanted(located.Front) {
				continue
			}
			if err == nil {
				t, err = archive.Tape(ctx, located.Place)
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}}, nil
}

// holds says that exchanges of the recording are in a tape.
func (r *recording) holds(f *events.Front) bool {
	if !slices.Contains(r.Services, f.Header.Workload.Service) {
		return false
	}
	return slices.ContainsFunc(f.Index.Entries, func(e *events.Entry) bool {
		at := time.Unix(0, int64(e.Time))
		return !at.Before(r.From) && (r.To.IsZero() || !at.After(r.To))
	})
}
