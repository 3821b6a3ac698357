package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
	"tapedeck/scenariogen/scenario"
)

type adminPurge struct {
	service.Flags
	Selector string `arg:"" help:"Which exchanges, e.g. '{service=\"shop\" && path=~\"/users/42.*\"}'. Replays of them are found as well, if it fits them."`
	From     string `placeholder:"TIME" help:"Only exchanges begun since then: 24h, 15:04, 2006-01-02 or 2006-01-02T15:04:05Z. Default: all."`
	To       string `placeholder:"TIME" help:"Only exchanges begun before."`
	DryRun   bool   `help:"Say what would be removed, and remove nothing."`
	Yes      bool   `help:"Really remove them, for ever."`
	Output   string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// Run first ends what an earlier purge has left undone. It may be stopped and
// run again at any moment, beside everything else at work.
func (c *adminPurge) Run(ctx context.Context, env *Env) error {
	q, err := c.query(time.Now())
	if err != nil {
		return err
	}
	if c.DryRun == c.Yes {
		return exit(2, service.Hint(errors.New("admin purge: what is removed can't be brought back"), "--dry-run says how much it is, --yes removes it"))
	}
	p, err := openPurge(ctx, env, &c.Flags, c.DryRun)
	if err != nil {
		return err
	}
	defer p.close()
	err = p.run(ctx, q)
	if ctx.Err() != nil {
		err = service.Hint(fmt.Errorf("admin purge: stopped: %w", context.Cause(ctx)), "run it again to go on: what has a tombstone is not shown any more, and still has to be removed")
	}
	return errors.Join(p.report(c.Output), err)
}

func (c *adminPurge) query(now time.Time) (q traffic.Query, err error) {
	for flag, to := range map[string]struct {
		text string
		time *time.Time
	}{"--from": {c.From, &q.From}, "--to": {c.To, &q.To}} {
		if to.text == "" {
			continue
		}
		if *to.time, err = parseTime(to.text, now); err != nil {
			return q, fmt.Errorf("%s: %w", flag, err)
		}
	}
	if strings.TrimSpace(c.Selector) == "" {
		return q, exit(2, service.Hint(errors.New("admin purge: the selector is empty"), "'{}' is everything"))
	}
	q.Selector, err = parseSelector(c.Selector)
	return q, err
}

// purging removes exchanges from index, archive and scenarios.
type purging struct {
	env     *Env
	archive *tapes.Archive
	reader  *traffic.Reader // nil: there is no index
	store   *traffic.Store  // nil: there is no index, or it only counts
	dry     bool
	line    liveLine
	done    purged
}

// purged is what a purge has done, or would do.
type purged struct {
	DryRun    bool              `json:"dry_run"`
	Resumed   int               `json:"resumed"`   // exchanges that an earlier purge had left undone
	Exchanges int               `json:"exchanges"` // found
	Tapes     int               `json:"tapes"`     // that may hold something of them
	Objects   int               `json:"objects"`   // of the archive, written anew
	Rows      int               `json:"rows"`      // of the index, removed
	Open      int               `json:"open_rows"` // of exchanges that had not ended, removed
	Scenarios []scenario.Purged `json:"scenarios"`
	Damaged   int               `json:"damaged"` // objects that can't be read
}

func openPurge(ctx context.Context, env *Env, f *service.Flags, dry bool) (*purging, error) {
	p := &purging{env: env, dry: dry, line: liveLine{env: env}, done: purged{DryRun: dry, Scenarios: []scenario.Purged{}}}
	var err error
	if p.archive, err = readArchive(ctx, f); err != nil || f.Database == "" {
		return p, err
	}
	if p.reader, err = traffic.OpenReader(ctx, f.Database); err != nil {
		return nil, service.Hint(err, databaseHint)
	}
	if dry {
		return p, nil
	}
	if p.store, err = traffic.Open(ctx, f.Database); err == nil {
		_, err = p.store.Migrate(ctx)
	}
	if err != nil {
		p.close()
		return nil, service.Hint(err, databaseHint)
	}
	return p, nil
}

func (p *purging) close() {
	if p.reader != nil {
		p.reader.Close()
	}
	if p.store != nil {
		p.store.Close()
	}
}

func (p *purging) run(ctx context.Context, q traffic.Query) error {
	defer p.line.clear()
	if !p.dry {
		if err := p.resume(ctx); err != nil {
			return err
		}
	}
	list, err := p.find(ctx, q)
	if err != nil {
		return err
	}
	p.done.Exchanges, p.done.Tapes = len(list), countTapes(list)
	if p.dry {
		gone := (&tapes.Purge{Tombstones: list}).Gone()
		p.done.Scenarios, err = scenario.Purge(ctx, p.archive, gone, true)
		return err
	}
	for some := range slices.Chunk(list, tapes.MaxPurged) {
		one, err := p.archive.Bury(ctx, some)
		if err == nil {
			err = p.apply(ctx, one)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// resume ends purges that were stopped, and tells an index of those that it has
// not heard of: it was lost, or not named.
func (p *purging) resume(ctx context.Context) error {
	all, err := p.archive.Purges(ctx)
	if err != nil {
		return err
	}
	for _, one := range all {
		if one.Done {
			err = buryInIndex(ctx, p.store, one)
		} else {
			p.done.Resumed += len(one.Tombstones)
			err = p.apply(ctx, one)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// apply removes what has tombstones: from the index, which readers of it honour
// with its commit; when everybody has heard of it, from the archive; last from
// scenarios. Each step finds nothing to do where it was done before.
func (p *purging) apply(ctx context.Context, one *tapes.Purge) error {
	if p.store != nil {
		rows, err := p.store.Purge(ctx, indexTombstones(one))
		if err != nil {
			return err
		}
		p.done.Rows, p.done.Open = p.done.Rows+rows.Exchanges, p.done.Open+rows.Open
	}
	if !service.Sleep(ctx, tapes.TombstoneAge) {
		return ctx.Err()
	}
	objects, err := p.archive.Erase(ctx, one, p.moved)
	p.done.Objects += objects
	if err != nil {
		return err
	}
	scenarios, err := scenario.Purge(ctx, p.archive, one.Gone(), false)
	p.done.Scenarios = append(p.done.Scenarios, scenarios...)
	if err != nil {
		return err
	}
	return p.archive.Finish(ctx, one)
}

func (p *purging) moved(ctx context.Context, old string, now []events.Archived) error {
	p.line.draw("  written anew: " + old)
	if p.store == nil {
		return nil
	}
	return p.store.Moved(ctx, old, now)
}

func indexTombstones(p *tapes.Purge) []traffic.Tombstone {
	list := make([]traffic.Tombstone, len(p.Tombstones))
	for i, t := range p.Tombstones {
		list[i] = traffic.Tombstone{Exchange: t.Exchange, Time: t.Time}
	}
	return list
}

// buryInIndex tells an index of a purge, if it has not heard of it.
func buryInIndex(ctx context.Context, store *traffic.Store, p *tapes.Purge) error {
	if store == nil || len(p.Tombstones) == 0 {
		return nil
	}
	known, err := store.Buried(ctx, p.Tombstones[0].Exchange)
	if err == nil && !known {
		_, err = store.Purge(ctx, indexTombstones(p))
	}
	return err
}

func countTapes(list []tapes.Tombstone) int {
	all := map[events.ID]bool{}
	for _, t := range list {
		for _, tape := range t.Tapes {
			all[tape] = true
		}
	}
	return len(all)
}
