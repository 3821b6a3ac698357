package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

// evidence is what is found in the stores.
type evidence struct {
	archived map[int][]events.ID // exchanges by the number of their request, each once
	indexed  map[int][]events.ID // rows by the number of their request
	corrupt  []string            // what can't be read, or is not what was sent
	partial  map[string]int      // exchanges whose body has pieces missing, by life
	accounts []traffic.Account
	letters  map[int]int // dead letters of each poison
	dead     []string    // those of anything else
	spooled  int         // tapes
	waiting  uint64      // tapes in CAPTURED, events in ARCHIVED
}

// settle looks until nothing is wrong any more, or until the deadline; then the
// findings are the last.
func (s *stack) settle(ctx context.Context, l *load, deadline time.Time) (*evidence, []string, error) {
	for {
		// What moves is looked at first: reading all stores is a load itself.
		spooled, waiting := s.spooled(), s.waiting(ctx)
		moving := spooled > 0 || waiting > 0
		if !moving || time.Now().After(deadline) {
			e, err := s.look(ctx)
			if err != nil {
				return nil, nil, err
			}
			e.spooled, e.waiting = spooled, waiting
			findings := append(check(s.oracle(l), e), s.misbehaved()...)
			if len(findings) == 0 {
				findings = s.audit(ctx)
			}
			if len(findings) == 0 || time.Now().After(deadline) {
				return e, findings, nil
			}
		}
		if !service.Sleep(ctx, 500*time.Millisecond) {
			return nil, nil, ctx.Err()
		}
	}
}

// audit asks the product itself whether everything is accounted for.
func (s *stack) audit(ctx context.Context) []string {
	out, err := exec.CommandContext(ctx, s.tapedeck, "admin", "audit", "--nats", s.nats.ConnectedUrl(), "--database", s.database.dsn,
		"--archive", s.archiveURL(), "--data", filepath.Join(s.folder, "audit")).CombinedOutput()
	if err != nil {
		return []string{fmt.Sprintf("admin audit: %v: %s", err, out)}
	}
	return nil
}

func (s *stack) spooled() int {
	n := 0
	for i := range s.captures {
		files, _ := filepath.Glob(filepath.Join(s.spool(i), "*.tape"))
		n += len(files)
	}
	return n
}

func (s *stack) waiting(ctx context.Context) uint64 {
	var n uint64
	for _, name := range []string{events.StreamCaptured, events.StreamArchived} {
		stream, err := s.js.Stream(ctx, name)
		if err != nil {
			return 1 // not known: not yet
		}
		n += stream.CachedInfo().State.Msgs
	}
	return n
}

func (s *stack) look(ctx context.Context) (*evidence, error) {
	e := &evidence{archived: map[int][]events.ID{}, indexed: map[int][]events.ID{}, partial: map[string]int{}}
	if err := s.lookIntoArchive(ctx, e); err != nil {
		return nil, err
	}
	if err := s.lookIntoIndex(ctx, e); err != nil {
		return nil, err
	}
	var err error
	if e.letters, e.dead, err = s.letters(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

func (s *stack) lookIntoArchive(ctx context.Context, e *evidence) error {
	archive, err := tapes.Open(ctx, s.archiveURL())
	if err != nil {
		return err
	}
	seen := map[events.ID]bool{}
	for located, err := range archive.Scan(ctx, tapes.ScanOptions{}) {
		if err != nil {
			e.corrupt = append(e.corrupt, err.Error())
			continue
		}
		tape, err := archive.Tape(ctx, located.Place)
		if err == nil {
			err = tape.Verify()
		}
		if err != nil {
			e.corrupt = append(e.corrupt, err.Error())
			continue
		}
		for _, entry := range tape.Index.Entries {
			id := events.ID(entry.Id)
			n, err := numberOf(entry.Path)
			if entry.Kind != events.Kind_EXCHANGE || seen[id] || err != nil {
				continue
			}
			seen[id] = true
			e.archived[n] = append(e.archived[n], id)
		}
		e.readBodies(ctx, archive, tape)
	}
	return nil
}

// readBodies compares the answers on a tape with what the origin sends.
func (e *evidence) readBodies(ctx context.Context, archive *tapes.Archive, tape *events.Tape) {
	w := tape.Header.Workload
	of := events.Service{Cluster: w.Cluster, Namespace: w.Namespace, Service: w.Service}
	for record, err := range tape.Records() {
		x := record.GetExchange()
		if err != nil || x == nil || x.Response == nil || x.Response.Status != "200" {
			continue
		}
		n, err := numberOf(x.Request.Target)
		if err != nil {
			continue
		}
		if err := archive.Complete(ctx, of, x); err != nil {
			e.partial[w.Instance]++
			continue
		}
		if b := x.Response.Body; b.Kept == b.Size && !bytes.Equal(b.Data, bodyOf(n)) {
			e.corrupt = append(e.corrupt, fmt.Sprintf("the answer of request %d in tape %s is not the origin's", n, tape.TapeID()))
		}
	}
}

func (s *stack) lookIntoIndex(ctx context.Context, e *evidence) error {
	reader, err := traffic.OpenReader(ctx, s.database.dsn)
	if err != nil {
		return err
	}
	defer reader.Close()
	if e.accounts, err = reader.Audit(ctx, time.Time{}); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.database.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "select id, path from exchanges")
	if err != nil {
		return err
	}
	var id [16]byte
	var path string
	_, err = pgx.ForEachRow(rows, []any{&id, &path}, func() error {
		n, err := numberOf(path)
		if err == nil {
			e.indexed[n] = append(e.indexed[n], id)
		}
		return nil
	})
	return err
}

// misbehaved are the processes that crashed or would not end, and faults that
// could not be undone.
func (s *stack) misbehaved() []string {
	found := append([]string{}, s.broken...)
	for _, one := range s.slots() {
		found = append(found, one.panics()...)
	}
	return found
}
