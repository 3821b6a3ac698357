package replayer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/replayer/report"
	"tapedeck/scenariogen/scenario"
	"tapedeck/wire/http1"
)

// Options say what Run replays. Scenario and Request.Target are needed.
type Options struct {
	Request  events.ReplayRequest // with its id; scenario and version are those of Scenario
	Scenario *scenario.Scenario
	Targets  Targets        // what may be reached; the zero value: loopback
	Share    scenario.Share // of the sessions; the zero value: all
	Shard    int            // the share's number, in its progress
	NoMarker bool           // send no tapedeck-replay header: the target must not be under capture then
	// Archive gets the details under replays/<id>/. Nil: there are none.
	Archive tapes.Bucket
	// Progress is called every second, and once more at the end with Final
	// set, from one goroutine. Nil: nobody looks.
	Progress func(events.ReplayProgress)
	// Ready is waited for when everything is loaded, before the first request.
	// Nil: it begins at once.
	Ready func(context.Context) error
	// Mocks are asked for their counts at the end; an error says which are
	// missing. Nil: nothing was mocked.
	Mocks func(context.Context) ([]events.MockResult, error)
	// Isolation says what keeps the target from its real dependencies:
	// "proved", "declared", or "" = what the request declares.
	Isolation string
	Secrets   *scenario.Secrets // what tokens of redaction stand for; nil: none is known
	Log       *slog.Logger      // default: none
}

// Run replays a scenario and returns what came of it. Whatever keeps it from
// running is a result with the verdict error and the reason; when ctx is
// cancelled it stops within a second and the result is incomplete. An error
// only says that the details could not be stored.
func Run(ctx context.Context, o Options) (events.ReplayResult, error) {
	outcome, err := replay(ctx, o)
	if err != nil {
		outcome = failedReport(ctx, o, err)
	}
	if o.Archive == nil {
		return report.Fit(outcome.Result), nil
	}
	// What was measured is kept, also when ctx is done.
	keep, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return keepDetails(keep, o.Archive, outcome)
}

// failedReport is that of a replay that could not run.
func failedReport(ctx context.Context, o Options, err error) report.Report {
	r := newResult(o)
	r.EndedAt = time.Now().UTC()
	facts := report.Facts{Failure: err.Error()}
	if ctx.Err() != nil {
		facts = report.Facts{Stopped: stopReason(ctx)}
	}
	r.Verdict, r.Reason = report.Judge(&r, facts)
	return report.Report{Result: r}
}

func newResult(o Options) events.ReplayResult {
	r := events.ReplayResult{
		ID: o.Request.ID, Scenario: o.Request.Scenario, Version: o.Request.Version, Target: o.Request.Target, By: o.Request.By,
		StartedAt: time.Now().UTC(),
	}
	if o.Scenario != nil {
		m := o.Scenario.Manifest()
		r.Scenario, r.Version = m.Name, m.Version
	}
	return r
}

// run is a replay under way.
type run struct {
	Options
	target *url.URL
	rules  scenario.Rules
	edits  *edits
	goals  []goal
	plan   *Plan
	pool   *http1.Pool
	tally  *tally
	begin  time.Time
	cancel context.CancelCauseFunc
}

// errFatal is the cause of a replay that a session ended.
type errFatal struct{ error }

func (e errFatal) Unwrap() error { return e.error }

func replay(ctx context.Context, o Options) (report.Report, error) {
	r, err := prepare(ctx, o)
	if err != nil {
		return report.Report{}, err
	}
	defer r.pool.Close()
	if r.Ready != nil {
		err := r.Ready(ctx)
		if err != nil && ctx.Err() != nil {
			return r.conclude(ctx, newResult(r.Options), 0), nil
		}
		if err != nil {
			return report.Report{}, err
		}
	}
	sending, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.cancel = cancel
	result := newResult(r.Options)
	r.begin = time.Now()
	stopProgress := r.reportProgress()
	err = r.sendAll(sending)
	elapsed := time.Since(r.begin)
	stopProgress()
	if fatal, ok := errors.AsType[errFatal](context.Cause(sending)); ok {
		return report.Report{}, fatal.error
	}
	if err != nil {
		return report.Report{}, err
	}
	return r.conclude(ctx, result, elapsed), nil
}

// prepare checks everything that can be checked before the first request.
func prepare(ctx context.Context, o Options) (*run, error) {
	r := &run{Options: o, tally: newTally()}
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	if o.Scenario == nil {
		return nil, errors.New("replay without a scenario")
	}
	if err := checkRequest(&o.Request); err != nil {
		return nil, err
	}
	var err error
	if r.target, err = parseTarget(o.Request.Target); err != nil {
		return nil, err
	}
	if err := r.Targets.Check(ctx, r.target); err != nil {
		return nil, err
	}
	if r.edits, err = newEdits(&o.Request); err != nil {
		return nil, err
	}
	if r.goals, err = parseGoals(o.Request.Goals); err != nil {
		return nil, err
	}
	if err := checkCredentials(&o); err != nil {
		return nil, err
	}
	r.rules = o.Scenario.Manifest().Rules
	r.pool = &http1.Pool{
		Target: r.target, Max: o.Request.Load.Connections, Timeout: o.Request.Load.Timeout, Control: r.Targets.Control(r.target),
	}
	return r, r.makePlan(ctx)
}

// makePlan reads when each request was recorded. The sessions themselves are
// read again when it is their turn: memory stays small.
func (r *run) makePlan(ctx context.Context) error {
	var recorded [][]int64
	for s, err := range r.Scenario.Tests(ctx, r.Share) {
		if err != nil {
			return fmt.Errorf("read scenario: %w", err)
		}
		times := make([]int64, len(s.Tests))
		for i, t := range s.Tests {
			times[i] = t.Exchange.GetRequest().GetFirstByte()
		}
		recorded = append(recorded, times)
	}
	plan, err := NewPlan(r.Request.Load, recorded)
	if err != nil {
		return err
	}
	r.plan = plan
	r.tally.plan(plan.Total(), r.leftOut())
	return nil
}

// truncatedRequest is why scenariogen leaves a test out whose request can't be
// sent: the scenario is a part of what was recorded.
const truncatedRequest = "request body was truncated"

// leftOut is the number of recorded requests that can't be sent.
func (r *run) leftOut() int {
	if !r.Share.All() && r.Share.From != 0 {
		return 0 // the first share counts them
	}
	return r.Scenario.Manifest().Skipped[truncatedRequest]
}
