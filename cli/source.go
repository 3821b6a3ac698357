package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/service"
)

// openSource opens the index where there is one, else the archive.
func openSource(ctx context.Context, f *service.Flags) (source, error) {
	archive, err := openArchive(ctx, f)
	if err != nil {
		return nil, err
	}
	return &archiveSource{archive: archive, places: map[events.ID]tapes.Place{}}, nil
}

func openArchive(ctx context.Context, f *service.Flags) (*tapes.Archive, error) {
	archive, err := tapes.Open(ctx, f.ArchiveURL())
	return archive, service.Hint(err, "name the archive with --archive s3://bucket/prefix?endpoint=… or file:///dir")
}

// archiveSource finds exchanges by reading the fronts of the tapes: no
// database is needed, and finding takes as long as there are tapes.
type archiveSource struct {
	archive *tapes.Archive
	places  map[events.ID]tapes.Place // of tapes whose rows were returned
}

func (s *archiveSource) close() {}

// each calls f with every row that q asks for, but for the text. A tape that
// can't be read hides its own rows only.
func (s *archiveSource) each(ctx context.Context, q query, f func(events.Row) error) error {
	options := tapes.ScanOptions{Service: events.Service{Service: q.service}, To: q.to}
	for located, err := range s.archive.Scan(ctx, options) {
		if errors.Is(err, events.ErrTape) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range located.Index.Entries {
			r := located.Row(e)
			if !q.fits(&r) {
				continue
			}
			s.places[r.Tape] = located.Place
			if err := f(r); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (s *archiveSource) rows(ctx context.Context, q query, limit int) ([]events.Row, error) {
	if limit < 1 {
		return nil, nil
	}
	ended, open := map[events.ID]events.Row{}, map[events.ID]events.Row{}
	err := s.each(ctx, q, func(r events.Row) error {
		if r.Open {
			open[r.ID] = r
			return nil
		}
		if q.text != "" {
			if ok, err := s.contains(ctx, r, q.text); err != nil || !ok {
				return err
			}
		}
		ended[r.ID] = r
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	rows := make([]events.Row, 0, len(ended))
	for _, r := range ended {
		rows = append(rows, r)
	}
	for id, r := range open {
		if _, ok := ended[id]; !ok && q.text == "" {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b events.Row) int {
		return cmpOr(a.Time.Compare(b.Time), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return rows[max(0, len(rows)-limit):], nil
}

func cmpOr(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

// contains looks for text in the path, the headers and the bodies.
func (s *archiveSource) contains(ctx context.Context, r events.Row, text string) (bool, error) {
	if strings.Contains(strings.ToLower(r.Path), text) {
		return true, nil
	}
	x, err := s.exchange(ctx, r)
	if err != nil {
		return false, err
	}
	return holds(x, text), nil
}

func holds(x *events.Exchange, text string) bool {
	found := func(b []byte) bool { return bytes.Contains(bytes.ToLower(b), []byte(text)) }
	message := func(headers []*events.Field, body *events.Body) bool {
		for _, h := range headers {
			if found(h.Name) || found(h.Value) {
				return true
			}
		}
		if body == nil {
			return false
		}
		plain, err := decodeBody(body.Data, events.HeaderValue(headers, "Content-Encoding"))
		return found(body.Data) || err == nil && found(plain)
	}
	q, a := x.Request, x.Response
	return q != nil && (found([]byte(q.Target)) || message(q.Headers, q.Body)) || a != nil && message(a.Headers, a.Body)
}

func (s *archiveSource) row(ctx context.Context, id string) (events.Row, error) {
	var found []events.Row
	want := strings.ToLower(strings.ReplaceAll(id, "-", ""))
	everything, err := parseSelector(`{replay=~".*"}`)
	if err != nil {
		return events.Row{}, err
	}
	err = s.each(ctx, query{selector: everything}, func(r events.Row) error {
		if strings.HasSuffix(strings.ReplaceAll(r.ID.String(), "-", ""), want) {
			found = append(found, r)
		}
		return nil
	})
	if err != nil {
		return events.Row{}, fmt.Errorf("read archive: %w", err)
	}
	return one(found, id)
}

// one is the only row of found; an ended exchange stands for its open entries.
func one(found []events.Row, id string) (events.Row, error) {
	slices.SortFunc(found, func(a, b events.Row) int {
		return cmpOr(bytes.Compare(a.ID[:], b.ID[:]), int(a.Kind)-int(b.Kind))
	})
	found = slices.CompactFunc(found, func(a, b events.Row) bool { return a.ID == b.ID })
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return events.Row{}, service.Hint(fmt.Errorf("exchange %s: %w", id, errNoExchange), "tapedeck traffic lists them with the ends of their ids")
	default:
		return events.Row{}, service.Hint(fmt.Errorf("%d exchanges end in %s", len(found), id), "write more of the id: tapedeck traffic -o json prints it whole")
	}
}

func (s *archiveSource) exchange(ctx context.Context, r events.Row) (*events.Exchange, error) {
	at := events.Service{Cluster: r.Cluster, Namespace: r.Namespace, Service: r.Service}
	place, ok := s.places[r.Tape]
	if !ok {
		var err error
		if place, err = s.archive.Find(ctx, at, r.Tape); err != nil {
			return nil, service.Hint(fmt.Errorf("read exchange %s: %w", r.ID, err), "the archiver may be behind: try again in a few seconds")
		}
	}
	x, err := s.archive.Exchange(ctx, place, r)
	if err != nil {
		return nil, fmt.Errorf("read exchange %s: %w", r.ID, err)
	}
	if err := s.archive.Complete(ctx, at, x); err != nil {
		return nil, fmt.Errorf("read exchange %s: %w", r.ID, err)
	}
	return x, nil
}
