package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

type adminAudit struct {
	service.Flags
	Since  string `default:"24h" placeholder:"TIME" help:"Look at sources that were heard of, and tapes that were closed, since then: 24h, 15:04, 2006-01-02. Default: ${default}."`
	Repair bool   `help:"Index archived tapes that the index does not have, as admin reindex does."`
	// Sources that will not come back are problems until someone says so.
	Acknowledge []string `placeholder:"SOURCE" help:"Say that no more will come of these sources, by the ids that the audit prints: their silence and what is missing of them now is lost, counted as that, and no problem any more."`
	Output      string   `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// unheard is how long a source that has not ended may be silent: without
// traffic it sends a tape every 30 s.
const unheard = 2 * time.Minute

// Run reconciles, for each source: begun = indexed + dead + purged + dropped + open + on
// their way (in JetStream, or in the source's spool), and the archive with the
// ledger.
func (c *adminAudit) Run(ctx context.Context, env *Env) error {
	since, err := parseTime(c.Since, time.Now())
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	r, err := openReindex(ctx, env, &c.Flags, "admin audit", !c.Repair)
	if err != nil {
		return err
	}
	defer r.close()
	if err := c.acknowledge(ctx, r); err != nil {
		return err
	}
	a, err := c.take(ctx, env, r, since.UTC())
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = printJSON(env.Stdout, a)
	} else {
		a.print(env, c.NATS != "")
	}
	if n := len(a.Problems); n > 0 {
		err = errors.Join(err, exit(1, fmt.Errorf("admin audit: %s", plural(n, "problem"))))
	}
	return err
}

// lookAgain is how long what looks like a fault has to be there.
const lookAgain = time.Second

// take audits, and again after some seconds when something is wrong: the books
// are read one after the other while traffic flows, and what was on its way
// between two of them would look lost.
func (c *adminAudit) take(ctx context.Context, env *Env, r *reindexing, since time.Time) (*audit, error) {
	first, err := c.once(ctx, env, r, since)
	if err != nil || len(first.Problems) == 0 || !service.Sleep(ctx, lookAgain) {
		return first, err
	}
	again, err := c.once(ctx, env, r, since)
	if err != nil {
		return nil, err
	}
	again.Reindexed.Indexed += first.Reindexed.Indexed
	again.Reindexed.Exchanges += first.Reindexed.Exchanges
	again.Problems = slices.DeleteFunc(again.Problems, func(p problem) bool {
		return !slices.ContainsFunc(first.Problems, func(q problem) bool { return p.What == q.What && p.Source == q.Source })
	})
	return again, nil
}

func (c *adminAudit) once(ctx context.Context, env *Env, r *reindexing, since time.Time) (*audit, error) {
	a := &audit{Since: since}
	err := a.askStream(ctx, c, env)
	if err == nil {
		err = a.askArchive(ctx, r)
	}
	if err == nil {
		a.Sources, err = r.reader.Audit(ctx, since)
	}
	if err != nil {
		return nil, err
	}
	a.judge(time.Now())
	return a, nil
}

// audit is the books of recorded traffic.
type audit struct {
	Since   time.Time         `json:"since"`
	Sources []traffic.Account `json:"sources"`
	// Waiting are the tapes in JetStream that a sink has not done; nil: no
	// NATS was named.
	Waiting  map[string]uint64 `json:"waiting,omitempty"`
	Indexed  int               `json:"indexed_tapes"`
	Archived int               `json:"archived_tapes"`
	// Unarchived are in the index and not in the archive, and nobody has said
	// that they were; Deleted were.
	Unarchived int `json:"unarchived_tapes"`
	Deleted    int `json:"deleted_tapes"`
	// Acknowledged sources are silent and were said to be lost, with Lost
	// exchanges that are missing.
	Acknowledged int       `json:"acknowledged_sources"`
	Lost         int64     `json:"lost_exchanges"`
	Reindexed    reindexed `json:"reindex"`
	Problems     []problem `json:"problems"`
}

// problem is something that is unaccounted for.
type problem struct {
	What   string          `json:"what"`
	Source events.ID       `json:"source,omitzero"`
	Of     *events.Service `json:"service,omitempty"`
	Text   string          `json:"text"`
	hint   string
}

func (a *audit) askStream(ctx context.Context, c *adminAudit, env *Env) error {
	if c.NATS == "" {
		return nil
	}
	conn, js, err := service.Connect(c.NATS, "audit", c.Logger(env.Stderr))
	if err != nil {
		return err
	}
	defer conn.Close()
	a.Waiting = map[string]uint64{}
	for _, durable := range []string{events.DurableArchiver, events.DurableIndexer} {
		consumer, err := js.Consumer(ctx, events.StreamCaptured, durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
			continue // admin doctor tells
		}
		if err != nil {
			return fmt.Errorf("ask %s of %s: %w", durable, events.StreamCaptured, err)
		}
		info := consumer.CachedInfo()
		a.Waiting[durable] = info.NumPending + uint64(info.NumAckPending)
	}
	return nil
}

// askArchive holds the ledger against what the archive has.
func (a *audit) askArchive(ctx context.Context, r *reindexing) error {
	ledger := map[events.ID]traffic.LedgerTape{}
	if err := r.reader.Ledger(ctx, a.Since, func(t traffic.LedgerTape) { ledger[t.ID] = t }); err != nil {
		return err
	}
	a.Indexed = len(ledger)
	// A tape is begun before it is closed; of an idle source, long before.
	o := tapes.ScanOptions{From: a.Since.Add(-time.Hour)}
	for t, err := range r.archive.Tapes(ctx, o) {
		if err != nil && !errors.Is(err, events.ErrTape) {
			return err
		}
		if _, indexed := ledger[t.ID]; err == nil && indexed {
			a.Archived++
			delete(ledger, t.ID)
		}
	}
	for _, t := range ledger {
		if t.Archived {
			a.Deleted++
		} else {
			a.Unarchived++
		}
	}
	err := r.run(ctx, o)
	a.Reindexed = r.done
	return err
}

func (a *audit) judge(now time.Time) {
	a.Problems = []problem{}
	waiting := a.Waiting[events.DurableIndexer]
	onTheirWay := waiting
	for i := range a.Sources {
		s := &a.Sources[i]
		if n := s.Unaccounted(); n != 0 {
			a.find("unaccounted", s, fmt.Sprintf("%s in no count", plural(int(n), "exchange")), "the capture lost sight of them: please report it with its log")
		}
		// Tapes that a full spool dropped are missing, too; their exchanges are
		// counted as dropped.
		lost := min(s.Lost, max(s.Missing, 0))
		missing := uint64(max(0, s.MissingTapes-s.SpooledTapes-s.LostTapes))
		if s.Missing == lost {
			missing = 0
		}
		a.Lost += lost
		if missing > onTheirWay {
			hint := "a dead letter may have the reason: tapedeck admin dlq list"
			if a.Waiting == nil {
				hint = "they may be in the stream: --nats URL looks"
			}
			a.find("missing", s, fmt.Sprintf("%s with %s neither in the index nor on their way", plural(int(missing), "tape"), plural(int(s.Missing-lost), "exchange")), hint)
		}
		onTheirWay -= min(onTheirWay, missing)
		silent := now.Sub(s.LastTape)
		switch {
		case s.Ended || silent <= unheard || waiting > 0:
		case isAcknowledged(s):
			a.Acknowledged++
		default:
			a.find("silent", s, fmt.Sprintf("not heard of for %s: it did not say that it ended, and what it recorded since is unknown", shortDuration(silent)),
				"a capture that was killed says so when it is started again with the same --data; if it never will be: tapedeck admin audit --acknowledge "+s.Source.String())
		}
	}
	if a.Deleted > 0 {
		a.find("deleted", nil, fmt.Sprintf("%s in the index and archived once, no longer in the archive", plural(a.Deleted, "tape")), "their exchanges have no bodies any more: was the archive's retention shorter than --since?")
	}
	if n := a.Unarchived; n > 0 && uint64(n) > a.Waiting[events.DurableArchiver] {
		a.find("unarchived", nil, fmt.Sprintf("%s in the index and not in the archive", plural(n, "tape")), "is an archiver running? admin doctor shows what waits")
	}
	if n := a.Reindexed.Missing - a.Reindexed.Indexed; n > 0 && uint64(n) > waiting {
		a.find("unindexed", nil, fmt.Sprintf("%s in the archive and not in the index", plural(n, "tape")), "tapedeck admin audit --repair indexes them")
	}
	if n := a.Reindexed.Damaged; n > 0 {
		a.find("damaged", nil, fmt.Sprintf("%s of the archive can't be read", plural(n, "object")), "named above")
	}
}

func (a *audit) find(what string, s *traffic.Account, text, hint string) {
	p := problem{What: what, Text: text, hint: hint}
	if s != nil {
		p.Source, p.Of = s.Source, &s.Service
	}
	a.Problems = append(a.Problems, p)
}

func (a *audit) print(env *Env, asked bool) {
	t := table{head: []string{"SERVICE", "SOURCE", "LAST TAPE", "BEGUN", "INDEXED", "DEAD", "PURGED", "DROPPED", "OPEN", "ON THE WAY", ""}}
	number := func(n int64) cell { return cell{text: fmt.Sprint(n), right: true} }
	for _, s := range a.Sources {
		note := ""
		if s.Ended {
			note = "ended"
		} else if isAcknowledged(&s) {
			note = "acknowledged"
		}
		t.add(cell{text: s.Namespace + "/" + s.Service.Service}, cell{text: s.Source.String()}, cell{text: s.LastTape.Local().Format(time.DateTime)},
			number(s.Begun), number(s.Indexed), number(s.Dead), number(s.Purged), number(s.Dropped), number(s.Open), number(s.Missing), cell{text: strings.TrimSpace(note + " " + drops(s.Drops)), color: faint})
	}
	if len(a.Sources) > 0 {
		t.print(env)
	}
	fmt.Fprintf(env.Stdout, "%s, %s in the index, %d of them in the archive", plural(len(a.Sources), "source"), plural(a.Indexed, "tape"), a.Archived)
	if asked {
		fmt.Fprintf(env.Stdout, "; in JetStream %d for the indexer, %d for the archiver", a.Waiting[events.DurableIndexer], a.Waiting[events.DurableArchiver])
	}
	fmt.Fprintln(env.Stdout)
	if a.Acknowledged > 0 || a.Lost > 0 {
		fmt.Fprintf(env.Stdout, "acknowledged as lost: %s, %s\n", plural(a.Acknowledged, "source"), plural(int(a.Lost), "exchange"))
	}
	if n := a.Reindexed.Indexed; n > 0 {
		fmt.Fprintf(env.Stdout, "repaired: indexed %s with %s\n", plural(n, "tape"), plural(a.Reindexed.Exchanges, "exchange"))
	}
	if len(a.Problems) == 0 {
		fmt.Fprintln(env.Stdout, env.paint(green, "everything is accounted for"))
	}
	for _, p := range a.Problems {
		about := ""
		if p.Of != nil {
			about = fmt.Sprintf("%s/%s, source %s: ", p.Of.Namespace, p.Of.Service, p.Source)
		}
		fmt.Fprintf(env.Stdout, "%s  %s%s\n      → %s\n", env.paint(red, p.What), about, p.Text, p.hint)
	}
}

// drops are the reasons that exchanges were not taped for.
func drops(reasons map[string]int64) string {
	var list []string
	for reason, n := range reasons {
		list = append(list, fmt.Sprintf("%s %d", reason, n))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
