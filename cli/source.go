package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
	"tapedeck/wire/sse"
)

// source is where exchanges are found: in the index where there is one, else
// in the tapes themselves, which takes as long as there are tapes. Exchanges
// with their bodies come from the archive either way.
type source struct {
	archive *tapes.Archive
	index   *traffic.Reader // nil: scan the tapes
	damaged map[tapes.Place]error
}

// openSource opens the archive and, with --database, the index.
func openSource(ctx context.Context, f *service.Flags) (*source, error) {
	archive, err := readArchive(ctx, f)
	if err != nil {
		return nil, err
	}
	s := &source{archive: archive, damaged: map[tapes.Place]error{}}
	if f.Database == "" {
		return s, nil
	}
	if s.index, err = traffic.OpenReader(ctx, f.Database); err != nil {
		return nil, service.Hint(err, databaseHint)
	}
	return s, nil
}

const databaseHint = "is the database running, and --database right? Leave it out to read the archive alone; without Docker: deploy/local/timescale.sh start DIR"

// openArchive opens the archive to write; a folder is made.
func openArchive(ctx context.Context, f *service.Flags) (*tapes.Archive, error) {
	if f.Archive == "" {
		if err := f.MakeData(); err != nil {
			return nil, err
		}
	}
	archive, err := tapes.Open(ctx, f.ArchiveURL())
	return archive, service.Hint(err, archiveHint)
}

// readArchive opens the archive to read: looking makes no folder. An index
// can be looked at without an archive.
func readArchive(ctx context.Context, f *service.Flags) (*tapes.Archive, error) {
	if folder, local := archiveFolder(f.ArchiveURL()); local && f.Database == "" {
		if _, err := os.Stat(folder); err != nil {
			err = fmt.Errorf("nothing is recorded in %s", cmp.Or(f.Archive, f.Data))
			return nil, service.Hint(err, "record something: tapedeck record --inbound 8080=localhost:3000 -- CMD; or name another place with --data DIR or --archive URL")
		}
	}
	archive, err := tapes.Open(ctx, f.ArchiveURL())
	return archive, service.Hint(err, archiveHint)
}

// archiveFolder is the folder that the address of an archive names.
func archiveFolder(address string) (folder string, local bool) {
	if !strings.Contains(address, "://") {
		return address, true
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "file" {
		return "", false
	}
	return u.Path, true
}

func (s *source) close() {
	if s.index != nil {
		s.index.Close()
	}
}

// views answer questions about exchanges since from.
func (s *source) views(ctx context.Context, from time.Time) traffic.Views {
	if s.index != nil {
		return s.index
	}
	return &traffic.Scan{Rows: func() iter.Seq2[events.Row, error] { return s.scan(ctx, from) }}
}

// scan reads the rows of all tapes that may hold exchanges since from. A tape
// that can't be read hides its own rows only.
func (s *source) scan(ctx context.Context, from time.Time) iter.Seq2[events.Row, error] {
	options := tapes.ScanOptions{Newest: true}
	if !from.IsZero() {
		options.From = from.Add(-time.Minute) // a tape is begun before its exchanges, by seconds
	}
	return func(yield func(events.Row, error) bool) {
		for located, err := range s.archive.Scan(ctx, options) {
			if errors.Is(err, events.ErrTape) {
				s.damaged[located.Place] = err
				continue
			}
			if err != nil {
				yield(events.Row{}, err)
				return
			}
			rows, err := traffic.RowsOf(located.Front)
			if err != nil {
				s.damaged[located.Place] = err
				continue
			}
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// damage names a tape that could not be read, nil when all could.
func (s *source) damage() error {
	for place, err := range s.damaged {
		err = fmt.Errorf("%s could not be read, e.g. %s: %w", plural(len(s.damaged), "tape"), place.Object, err)
		return service.Hint(err, "all others are shown; put the object back from a copy or move it out of the archive, and see that --archive is the right one")
	}
	return nil
}

// query chooses exchanges.
type query struct {
	traffic.Query
	text string // in path, headers or bodies, lower case; "": any
}

// rows finds the newest limit exchanges, the oldest of them first.
func (s *source) rows(ctx context.Context, q query, limit int) ([]events.Row, error) {
	views := s.views(ctx, q.From)
	var rows []events.Row
	page := traffic.ListQuery{Query: q.Query, Limit: min(limit, traffic.MaxPage)}
	if q.text != "" {
		page.Limit = traffic.MaxPage
	}
	for {
		found, err := views.List(ctx, page)
		if err != nil {
			return nil, err
		}
		for _, r := range found.Exchanges {
			if !s.contains(ctx, r, q.text) {
				continue
			}
			if rows = append(rows, r); len(rows) == limit {
				break
			}
		}
		if found.Next.IsZero() || len(rows) == limit {
			slices.Reverse(rows)
			return rows, nil
		}
		page.Cursor = found.Next
	}
}

// contains looks for text in the path, the headers and the bodies. What can't
// be read is noted and does not contain it.
func (s *source) contains(ctx context.Context, r events.Row, text string) bool {
	if text == "" || strings.Contains(strings.ToLower(r.Path), text) {
		return true
	}
	if r.Open {
		return false
	}
	x, err := s.exchange(ctx, r)
	if err != nil {
		s.damaged[tapes.Place{Object: r.Tape.String()}] = err
		return false
	}
	return holds(x, text) || s.says(ctx, r, x, text)
}

// says looks for text in the messages of a stream.
func (s *source) says(ctx context.Context, r events.Row, x *events.Exchange, text string) bool {
	messages, err := s.messages(ctx, r, x)
	if err != nil {
		s.damaged[tapes.Place{Object: r.Tape.String()}] = err
	}
	return slices.ContainsFunc(messages, func(m *events.Message) bool { return bytes.Contains(bytes.ToLower(m.Data), []byte(text)) })
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

// searched is how many of the newest exchanges are looked through for the end
// of an id.
const searched = 100_000

// row finds one exchange by its id or the end of it.
func (s *source) row(ctx context.Context, id string) (events.Row, error) {
	views := s.views(ctx, time.Time{})
	if whole, err := events.ParseID(id); err == nil {
		found, err := views.Get(ctx, whole)
		if errors.Is(err, traffic.ErrNotFound) {
			return events.Row{}, noExchange(id)
		}
		if err != nil {
			return events.Row{}, err
		}
		return found.Row, nil
	}
	everything, err := selector.Parse(`{replay=~".*"}`)
	if err != nil {
		return events.Row{}, err
	}
	want := strings.ToLower(strings.ReplaceAll(id, "-", ""))
	all, err := s.rows(ctx, query{Query: traffic.Query{Selector: everything}}, searched)
	if err != nil {
		return events.Row{}, err
	}
	var found []events.Row
	for _, r := range all {
		if strings.HasSuffix(strings.ReplaceAll(r.ID.String(), "-", ""), want) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return events.Row{}, noExchange(id)
	}
	return events.Row{}, service.Hint(fmt.Errorf("%d exchanges end in %s", len(found), id), "write more of the id: tapedeck traffic -o json prints it whole")
}

func noExchange(id string) error {
	return service.Hint(fmt.Errorf("exchange %s: no such exchange", id), "tapedeck traffic lists them with the ends of their ids")
}

// exchange reads one exchange with its whole bodies.
func (s *source) exchange(ctx context.Context, r events.Row) (*events.Exchange, error) {
	x, err := s.read(ctx, r)
	if err != nil {
		return nil, err
	}
	return x, s.complete(ctx, r, x)
}

// shown reads one exchange with its whole bodies and the messages of a stream;
// of one that has not ended, the messages alone.
func (s *source) shown(ctx context.Context, r events.Row) (*events.Exchange, []*events.Message, error) {
	if r.Open {
		messages, err := s.messages(ctx, r, nil)
		return nil, messages, err
	}
	x, err := s.read(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	messages, err := s.messages(ctx, r, x)
	if err != nil {
		return nil, nil, err
	}
	if sse.Is(x.GetResponse().GetHeaders()) && len(messages) > 0 {
		return x, messages, nil // they are the body
	}
	return x, messages, s.complete(ctx, r, x)
}

func (s *source) read(ctx context.Context, r events.Row) (*events.Exchange, error) {
	at := events.Service{Cluster: r.Cluster, Namespace: r.Namespace, Service: r.Service}
	place, err := s.place(ctx, at, r)
	if err != nil {
		return nil, service.Hint(fmt.Errorf("read exchange %s: %w", r.ID, err), behindHint)
	}
	x, err := s.archive.Exchange(ctx, place, r)
	if err != nil {
		return nil, fmt.Errorf("read exchange %s: %w", r.ID, err)
	}
	return x, nil
}

func (s *source) complete(ctx context.Context, r events.Row, x *events.Exchange) error {
	at := events.Service{Cluster: r.Cluster, Namespace: r.Namespace, Service: r.Service}
	if err := s.archive.Complete(ctx, at, x); err != nil {
		return fmt.Errorf("read exchange %s: %w", r.ID, err)
	}
	return nil
}

// place finds the tape of a row: the index knows, and the archive can search.
func (s *source) place(ctx context.Context, at events.Service, r events.Row) (tapes.Place, error) {
	if s.index != nil {
		if found, err := s.index.Get(ctx, r.ID); err == nil && found.Place != nil {
			return tapes.Place(*found.Place), nil
		}
	}
	return s.archive.Find(ctx, at, r.Tape)
}
