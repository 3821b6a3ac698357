package scenario

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
)

// writer writes the pieces of one version.
type writer struct {
	bucket   tapes.Bucket
	manifest *Manifest

	sessions    pieceBuilder
	sessionList TestTable

	credentials credentialList

	mocks      pieceBuilder
	mockList   MockTable
	dependency string // of the open piece of mocks
	number     int    // of the next piece of this dependency
}

func (w *writer) addSession(ctx context.Context, s *Session) error {
	frame, err := w.sessions.add(s)
	if err != nil {
		return fmt.Errorf("write session %s: %w", s.Id, err)
	}
	w.sessionList.Sessions = append(w.sessionList.Sessions, &SessionPlace{
		Id: s.Id, Hash: SessionHash(s.Id), Start: s.Start, Tests: uint32(len(s.Tests)), Frame: frame,
	})
	w.credentials.add(s)
	w.manifest.Sessions++
	w.manifest.Tests += len(s.Tests)
	if w.sessions.full() {
		return w.closeTests(ctx)
	}
	return nil
}

func (w *writer) closeTests(ctx context.Context) error {
	if len(w.sessionList.Sessions) == 0 {
		return nil
	}
	b, err := w.sessions.close(kindTests, &w.sessionList)
	if err != nil {
		return fmt.Errorf("write tests: %w", err)
	}
	piece, err := w.put(ctx, "tests/", len(w.manifest.TestPieces), b)
	if err != nil {
		return err
	}
	piece.Records = len(w.sessionList.Sessions)
	w.manifest.TestPieces = append(w.manifest.TestPieces, piece)
	w.sessions, w.sessionList = pieceBuilder{}, TestTable{}
	return nil
}

// addMock takes the mocks of one dependency after those of another.
func (w *writer) addMock(ctx context.Context, k *Mock) error {
	if k.Dependency != w.dependency {
		if err := w.closeMocks(ctx); err != nil {
			return err
		}
		w.dependency, w.number = k.Dependency, 0
	}
	frame, err := w.mocks.add(k)
	if err != nil {
		return fmt.Errorf("write mock %x: %w", k.Exchange.GetId(), err)
	}
	w.mockList.Mocks = append(w.mockList.Mocks, &MockPlace{
		Exact: k.Exact, Shape: k.Shape, Route: k.Route, Time: k.Exchange.GetRequest().GetFirstByte(), Frame: frame,
	})
	w.manifest.Mocks++
	if w.mocks.full() {
		return w.closeMocks(ctx)
	}
	return nil
}

func (w *writer) closeMocks(ctx context.Context) error {
	n := len(w.mockList.Mocks)
	if n == 0 {
		return nil
	}
	b, err := w.mocks.close(kindMocks, &w.mockList)
	if err != nil {
		return fmt.Errorf("write mocks of %s: %w", w.dependency, err)
	}
	piece, err := w.put(ctx, "mocks/"+events.Token(w.dependency)+"/", w.number, b)
	if err != nil {
		return err
	}
	piece.Dependency, piece.Records = w.dependency, n
	piece.First, piece.Last = hex.EncodeToString(w.mockList.Mocks[0].Route), hex.EncodeToString(w.mockList.Mocks[n-1].Route)
	w.manifest.MockPieces = append(w.manifest.MockPieces, piece)
	w.number++
	w.mocks, w.mockList = pieceBuilder{}, MockTable{}
	return nil
}

func (w *writer) put(ctx context.Context, folder string, number int, b []byte) (Piece, error) {
	sum := sha256.Sum256(b)
	p := Piece{Key: fmt.Sprintf("%s%04d-%x", folder, number, sum[:4]), Bytes: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
	key := Folder(w.manifest.Name, w.manifest.Version) + p.Key
	if err := w.bucket.Put(ctx, key, b); err != nil {
		return Piece{}, fmt.Errorf("write piece %s: %w", key, err)
	}
	return p, nil
}

// finish writes the manifest, with which the version exists. Where another
// worker was faster its version stands and is returned.
func (w *writer) finish(ctx context.Context) (*Manifest, error) {
	if err := w.closeTests(ctx); err != nil {
		return nil, err
	}
	if err := w.closeMocks(ctx); err != nil {
		return nil, err
	}
	m := w.manifest
	m.note(&w.credentials)
	raw, err := m.encode()
	if err != nil {
		return nil, err
	}
	err = w.bucket.Put(ctx, Folder(m.Name, m.Version)+manifestKey, raw)
	if errors.Is(err, tapes.ErrDifferent) {
		s, err := Open(ctx, w.bucket, m.Name, m.Version)
		if err != nil {
			return nil, err
		}
		m = s.Manifest()
	} else if err != nil {
		return nil, fmt.Errorf("write manifest of %s: %w", m.Name, err)
	}
	return m, Point(ctx, w.bucket, m)
}

// Point makes the version findable as the newest one. It may be called again.
func Point(ctx context.Context, b tapes.Bucket, m *Manifest) error {
	if err := b.Put(ctx, latestKey(m), []byte(m.Version+"\n")); err != nil {
		return fmt.Errorf("name newest version of %s: %w", m.Name, err)
	}
	return nil
}
