package replayer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tapedeck/events"
	"tapedeck/internal/jobs"
	"tapedeck/internal/service"
	"tapedeck/replayer/report"
	"tapedeck/scenariogen/scenario"
)

// checkRequest refuses what can't be done, so that nothing that was asked for
// is left out in silence.
func checkRequest(r *events.ReplayRequest) error {
	switch {
	case r.Target == "":
		return errors.New("request without a target")
	case len(r.Chaos) > 0:
		return errors.New("chaos rules can't be applied by this version")
	}
	return checkID(r.ID)
}

// checkID holds that an id fits into a header and a key.
func checkID(id string) error {
	if id == "" || len(id) > 128 {
		return fmt.Errorf("id of the replay has %d characters, want 1 to 128", len(id))
	}
	for _, c := range id {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("id %q of the replay has characters beside printable ASCII", id)
		}
	}
	return nil
}

// refusal says why the request is not run, "" when it may be.
func (j *job) refusal() string {
	sent := sentAt(j.msg)
	deadline := j.request.Deadline
	if deadline.IsZero() {
		deadline = sent.Add(beginWithin)
	}
	if err := checkRequest(&j.request); err != nil {
		return err.Error()
	}
	switch {
	case time.Now().After(deadline):
		return fmt.Sprintf("the request is too old: sent at %s, to begin before %s", sent.UTC().Format(time.RFC3339), deadline.UTC().Format(time.RFC3339))
	case j.request.Scenario == "":
		return "request without a scenario"
	case j.request.Load.Connections > j.MaxConnections:
		return fmt.Sprintf("load asks for %d connections, the replayer's --max-connections is %d", j.request.Load.Connections, j.MaxConnections)
	case j.request.Load.Duration > j.MaxDuration:
		return fmt.Sprintf("load asks for %s, the replayer's --max-duration is %s", j.request.Load.Duration, j.MaxDuration)
	}
	return ""
}

func (j *job) refused(reason string) events.ReplayResult {
	r := newResult(Options{Request: j.request})
	r.EndedAt = r.StartedAt
	r.Verdict, r.Reason = report.Judge(&r, report.Facts{Failure: reason})
	return report.Fit(r)
}

// unopened answers for a scenario that is not there; an archive that can't be
// read may come back.
func (j *job) unopened(ctx context.Context, shard *jobs.Lease, err error) (events.ReplayResult, error) {
	known := errors.Is(err, scenario.ErrNotFound) || errors.Is(err, scenario.ErrFormat)
	if !known && service.Deliveries(j.msg) < events.GiveUpAfter {
		return events.ReplayResult{}, errors.Join(err, shard.Release(ctx))
	}
	return j.refused(err.Error()), nil
}
