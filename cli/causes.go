package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

const (
	// maxEffects is how many calls of the service are looked at for effects.
	maxEffects = 10_000
	// effectsAfter is how long after its end an exchange may still have effects.
	effectsAfter = 2 * time.Second
)

// relations are the exchange that caused one, and those that it caused.
type relations struct {
	cause   *events.Row // nil: none, or not in the store
	effects []events.Row
}

func (s *source) relations(ctx context.Context, r *events.Row) (relations, error) {
	var of relations
	if !r.Cause.IsZero() {
		found, err := s.views(ctx, time.Time{}).Get(ctx, r.Cause)
		switch {
		case err == nil:
			of.cause = &found.Row
		case !errors.Is(err, traffic.ErrNotFound):
			return of, err
		}
	}
	if r.Direction != events.Direction_INBOUND {
		return of, nil
	}
	calls, err := selector.Parse(fmt.Sprintf(`{service=%q && direction=outbound && replay=~".*"}`, r.Service))
	if err != nil {
		return of, err
	}
	around := query{Query: traffic.Query{Selector: calls, From: r.Time, To: r.Time.Add(r.Duration + effectsAfter)}}
	if r.Open {
		around.To = time.Time{}
	}
	rows, err := s.rows(ctx, around, maxEffects)
	for i := range rows {
		if rows[i].Cause == r.ID {
			of.effects = append(of.effects, rows[i])
		}
	}
	return of, err
}

// facts are the relations as name and value.
func (of relations) facts(r *events.Row) [][2]string {
	var all [][2]string
	switch {
	case r.Cause.IsZero():
	case of.cause == nil:
		all = append(all, [2]string{"cause", fmt.Sprintf("%s, confidence %.2f (not in this store)", r.Cause, r.CauseConfidence)})
	default:
		all = append(all, [2]string{"cause", related(of.cause, r.CauseConfidence)})
	}
	for i := range of.effects {
		all = append(all, [2]string{"effect", related(&of.effects[i], of.effects[i].CauseConfidence)})
	}
	return all
}

func related(r *events.Row, confidence float32) string {
	return printable([]byte(fmt.Sprintf("%s %s %s%s, confidence %.2f", shortID(r.ID), r.Method, r.Host, r.Path, confidence)))
}
