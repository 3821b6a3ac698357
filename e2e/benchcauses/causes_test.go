package main

import (
	"context"
	"log/slog"
	"testing"

	"tapedeck/cli/demo"
	"tapedeck/events"
)

// startHere runs a service of the shop in this process.
func startHere(ctx context.Context, c demo.Config) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- demo.Run(ctx, c, slog.New(slog.DiscardHandler)) }()
	return func() error {
		cancel()
		return <-ended
	}, nil
}

// record records visits of three customers and returns the links that the
// tapes' indexes hold.
func record(t *testing.T, ignoreTraces bool) (rows []recorded, links []link) {
	t.Helper()
	crowd := demo.Crowd{Visitors: 3, Visits: 4, Products: 1000, Flat: 10, Seed: 1}
	s := &shop{products: crowd.Products, customers: crowd.Visitors, start: startHere, ignoreTraces: ignoreTraces}
	rows, err := s.record(t.Context(), func(ctx context.Context, base string) error {
		_, err := crowd.Drive(ctx, base)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if links, err = judge(rows); err != nil {
		t.Fatal(err)
	}
	return rows, links
}

func TestCausesByTraceAreCertain(t *testing.T) {
	rows, links := record(t, false)
	for _, l := range links {
		if !l.right || l.CauseConfidence != 1 {
			t.Errorf("%s %s of %s: cause %s with %.2f, want %s with 1", l.Method, l.Path, l.Service, l.Cause, l.CauseConfidence, l.truth.ID)
		}
	}
	for _, r := range rows {
		if r.Row.Direction == events.Direction_INBOUND && (!r.Cause.IsZero() || r.CauseConfidence != 0) {
			t.Errorf("inbound %s %s has a cause", r.Method, r.Path)
		}
	}
}

func TestCausesWithoutTraces(t *testing.T) {
	_, links := record(t, true)
	told, right := share(links, 0.9)
	t.Logf("%d calls: at 0.9 %d links, %d of them right", len(links), told, right)
	if float64(right) < 0.95*float64(told) || float64(right) < 0.7*float64(len(links)) {
		t.Errorf("%d calls: at 0.9 %d links, %d of them right", len(links), told, right)
	}
	for _, l := range links {
		if (l.CauseConfidence == 0) != l.Cause.IsZero() || l.CauseConfidence != 0 && (l.CauseConfidence < 0.5 || l.CauseConfidence >= 1) {
			t.Errorf("%s %s: cause %s with confidence %v", l.Method, l.Path, l.Cause, l.CauseConfidence)
		}
	}
}

func TestJudgeNeedsOneTruth(t *testing.T) {
	rows, _ := record(t, false)
	for i := range rows {
		if rows[i].Row.Direction == events.Direction_INBOUND && rows[i].Service == "gateway" {
			twin := rows[i]
			if _, err := judge(append(rows, twin)); err == nil {
				t.Error("two causes in one trace are no truth, and were taken for one")
			}
			rows[i].Trace[0]++ // as if it were of another trace
			break
		}
	}
	for i := range rows { // a charge of somebody else's order
		if rows[i].Path == "/v1/charges" {
			rows[i].Request.Body.Data = []byte(`{"reference":"another"}`)
		}
	}
	if _, err := judge(rows); err == nil {
		t.Error("a charge for another order was taken for an effect of its trace's")
	}
}
