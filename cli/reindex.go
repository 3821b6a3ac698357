package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

type adminReindex struct {
	service.Flags
	From   string `placeholder:"TIME" help:"Only tapes begun since then: 24h, 15:04, 2006-01-02 or 2006-01-02T15:04:05Z. Default: all."`
	To     string `placeholder:"TIME" help:"Only tapes begun before."`
	DryRun bool   `help:"Say how many are missing, and write nothing."`
	All    bool   `help:"Make the whole index anew, of all archived tapes, beside the one in use, and take its place: after damage, or to have what a newer version makes of tapes. Indexers may be at work. Needs a user who may make schemas, and room for a second index."`
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// Run is done with what the ledger has, so it may be stopped and run again at
// any moment, beside indexers at work.
func (c *adminReindex) Run(ctx context.Context, env *Env) error {
	o, err := c.options(time.Now())
	if err != nil {
		return err
	}
	r, err := openReindex(ctx, env, &c.Flags, "admin reindex", c.DryRun)
	if err != nil {
		return err
	}
	defer r.close()
	if c.All {
		err = r.rebuild(ctx)
	} else {
		err = r.run(ctx, o)
	}
	if ctx.Err() != nil {
		err = service.Hint(fmt.Errorf("admin reindex: stopped: %w", context.Cause(ctx)), "what was indexed stays: run it again to go on")
	}
	return errors.Join(r.report(c.Output), err)
}

func (c *adminReindex) options(now time.Time) (o tapes.ScanOptions, err error) {
	if c.All && (c.DryRun || c.From != "" || c.To != "") {
		return o, exit(2, service.Hint(errors.New("--all is about all tapes: it has no range and no dry run"), "leave out --from, --to and --dry-run"))
	}
	for flag, to := range map[string]struct {
		text string
		time *time.Time
	}{"--from": {c.From, &o.From}, "--to": {c.To, &o.To}} {
		if to.text == "" {
			continue
		}
		if *to.time, err = parseTime(to.text, now); err != nil {
			return o, fmt.Errorf("%s: %w", flag, err)
		}
	}
	return o, nil
}

// Bounds of one step of a reindex.
const (
	reindexTapes = 1000 // asked of the ledger at once
	reindexReads = 16   // fronts read at once
	reindexRows  = 20_000
)

// reindexing brings archived tapes into the index that its ledger does not have.
type reindexing struct {
	env     *Env
	archive *tapes.Archive
	reader  *traffic.Reader
	store   *traffic.Store   // nil: it only counts
	fresh   *traffic.Rebuild // nil: it is about the index in use
	line    liveLine
	done    reindexed
}

// reindexed is what a reindex has done.
type reindexed struct {
	Seen      int `json:"tapes"`     // in the archive
	Missing   int `json:"missing"`   // of those, not in the ledger
	Indexed   int `json:"indexed"`   // of those, written now
	Exchanges int `json:"exchanges"` // written now
	Dead      int `json:"dead"`      // that the database can't hold
	Damaged   int `json:"damaged"`   // objects that can't be read

	Swapped *traffic.Swapped `json:"swapped,omitempty"` // what a new index was completed with
}

// openReindex opens archive and index, the index for writing only if it is no
// dry run: who looks migrates nothing and needs no more than to read.
func openReindex(ctx context.Context, env *Env, f *service.Flags, command string, dry bool) (*reindexing, error) {
	if f.Database == "" {
		return nil, needDatabase(command)
	}
	r := &reindexing{env: env, line: liveLine{env: env}}
	var err error
	if r.archive, err = readArchive(ctx, f); err != nil {
		return nil, err
	}
	if r.reader, err = traffic.OpenReader(ctx, f.Database); err != nil {
		return nil, service.Hint(err, databaseHint)
	}
	if dry {
		return r, nil
	}
	if r.store, err = traffic.Open(ctx, f.Database); err == nil {
		_, err = r.store.Migrate(ctx)
	}
	if err != nil {
		r.close()
		return nil, service.Hint(err, databaseHint)
	}
	return r, nil
}

func (r *reindexing) close() {
	r.reader.Close()
	if r.store != nil {
		r.store.Close()
	}
}

func (r *reindexing) run(ctx context.Context, o tapes.ScanOptions) error {
	defer r.line.clear()
	r.done = reindexed{}
	if err := r.bury(ctx); err != nil {
		return err
	}
	var listed []tapes.Listed
	for t, err := range r.archive.Tapes(ctx, o) {
		if err := r.damaged(err); err != nil {
			return err
		}
		if err == nil {
			listed = append(listed, t)
		}
		if len(listed) == reindexTapes {
			if err := r.step(ctx, listed); err != nil {
				return err
			}
			listed = listed[:0]
		}
	}
	if err := r.step(ctx, listed); err != nil {
		return err
	}
	return r.merge(ctx)
}

// damaged tells of an object that can't be read, and goes on; other errors end.
func (r *reindexing) damaged(err error) error {
	if !errors.Is(err, events.ErrTape) && !errors.Is(err, tapes.ErrNotFound) {
		return err
	}
	r.done.Damaged++
	r.line.clear()
	fmt.Fprintf(r.env.Stderr, "left out: %s\n", oneLine(err.Error()))
	return nil
}

// step asks the ledger for some tapes and indexes those that it does not have.
func (r *reindexing) step(ctx context.Context, listed []tapes.Listed) error {
	ids := make([]events.ID, len(listed))
	for i, t := range listed {
		ids[i] = t.ID
	}
	known, err := r.reader.Known(ctx, ids)
	if err != nil {
		return err
	}
	r.done.Seen += len(listed)
	var missing []tapes.Listed
	for _, t := range listed {
		if !known[t.ID].Indexed {
			missing = append(missing, t)
		}
	}
	r.done.Missing += len(missing)
	if r.store != nil {
		if err = r.index(ctx, missing); err == nil {
			err = r.place(ctx, listed, known)
		}
	}
	r.line.draw(fmt.Sprintf("  %s looked at, %s missing, %s indexed", plural(r.done.Seen, "tape"), plural(r.done.Missing, "tape"), plural(r.done.Indexed, "tape")))
	return err
}

func (r *reindexing) index(ctx context.Context, missing []tapes.Listed) error {
	for len(missing) > 0 {
		n := min(len(missing), reindexReads)
		fronts, err := r.fronts(ctx, missing[:n])
		if err == nil {
			err = r.remember(ctx, fronts)
		}
		if err != nil {
			return err
		}
		missing = missing[n:]
		for len(fronts) > 0 {
			n, rows := 0, 0
			for n < len(fronts) && (n == 0 || rows+len(fronts[n].Index.Entries) <= reindexRows) {
				rows += len(fronts[n].Index.Entries)
				n++
			}
			if err := r.write(ctx, fronts[:n]); err != nil {
				return err
			}
			fronts = fronts[n:]
		}
	}
	return nil
}

// fronts reads what can be read.
func (r *reindexing) fronts(ctx context.Context, listed []tapes.Listed) ([]traffic.Received, error) {
	fronts, errs := make([]*events.Front, len(listed)), make([]error, len(listed))
	var g errgroup.Group
	for i, t := range listed {
		g.Go(func() error {
			fronts[i], errs[i] = r.archive.Front(ctx, t.Place)
			return nil
		})
	}
	g.Wait()
	var good []traffic.Received
	for i, f := range fronts {
		err := errs[i]
		if err == nil && f.TapeID() != listed[i].ID {
			err = fmt.Errorf("%s: %w: it is tape %s", listed[i].Place, events.ErrTape, f.TapeID())
		}
		if err == nil {
			err = refusedAsDamage(traffic.Check(f))
		}
		if err != nil {
			if err := r.damaged(err); err != nil {
				return nil, err
			}
			continue
		}
		good = append(good, traffic.Received{Front: f, At: time.Unix(0, f.Header.ClosedAt)})
	}
	return good, nil
}

// refusedAsDamage: a tape that no index takes is left out as a damaged one is.
func refusedAsDamage(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", events.ErrTape, err)
}

func (r *reindexing) write(ctx context.Context, list []traffic.Received) error {
	stored, err := r.store.Write(ctx, list, r.refused)
	if err != nil {
		return err
	}
	for _, s := range stored {
		if s.New {
			r.done.Indexed++
			r.done.Exchanges += s.Exchanges
			r.done.Dead += s.Dead
		}
	}
	return nil
}

// bury tells the index of what was purged before it was made.
func (r *reindexing) bury(ctx context.Context) error {
	if r.store == nil {
		return nil
	}
	all, err := r.archive.Purges(ctx)
	for _, p := range all {
		err = errors.Join(err, buryInIndex(ctx, r.store, p))
	}
	return err
}

// refused tells of what the database can't hold: the tape keeps it.
func (r *reindexing) refused(_ context.Context, dead []traffic.Dead) error {
	r.line.clear()
	for _, d := range dead {
		fmt.Fprintf(r.env.Stderr, "exchange %s of tape %s can't be indexed: %s\n", d.Row.ID, d.Row.Tape, oneLine(d.Reason.Error()))
	}
	return nil
}

// place notes where tapes lie of which the archiver's word was lost.
func (r *reindexing) place(ctx context.Context, listed []tapes.Listed, known map[events.ID]traffic.Known) error {
	var places []events.Archived
	for _, t := range listed {
		if !known[t.ID].Archived && t.Length > 0 {
			places = append(places, events.Archived{Object: t.Object, Tapes: []events.ArchivedTape{{ID: t.ID, Offset: t.Offset, Length: t.Length}}})
		}
	}
	if len(places) == 0 {
		return nil
	}
	return r.store.Archived(ctx, places)
}

// merge brings the rollup parts of what was written into their levels, in case
// no indexer is at work.
func (r *reindexing) merge(ctx context.Context) error {
	for r.done.Indexed > 0 {
		if n, err := r.store.Merge(ctx); err != nil || n < traffic.MergeParts {
			return err
		}
	}
	return nil
}

func (r *reindexing) report(output string) error {
	if output == "json" {
		return printJSON(r.env.Stdout, r.done)
	}
	d := r.done
	text := fmt.Sprintf("%s in the archive, %d not in the index", plural(d.Seen, "tape"), d.Missing)
	switch {
	case d.Missing == 0:
		text += ": nothing to do"
	case r.store == nil:
		text += "; without --dry-run they are indexed"
	default:
		text += fmt.Sprintf(": indexed %s with %s", plural(d.Indexed, "tape"), plural(d.Exchanges, "exchange"))
	}
	if s := d.Swapped; s != nil {
		text += fmt.Sprintf("; %s with %s came from the old index, which is gone", plural(s.Tapes, "tape"), plural(s.Exchanges, "exchange"))
		if s.Forgotten > 0 {
			text += fmt.Sprintf("; %s that only its rollups still knew are not counted any more", plural(s.Forgotten, "exchange"))
		}
	}
	var but []string
	if d.Dead > 0 {
		but = append(but, plural(d.Dead, "exchange")+" that the database can't hold")
	}
	if d.Damaged > 0 {
		but = append(but, plural(d.Damaged, "object")+" that can't be read")
	}
	if len(but) > 0 {
		text += "; left out: " + strings.Join(but, ", ")
	}
	fmt.Fprintln(r.env.Stdout, text)
	return nil
}
