package scenariogen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/scenariogen/scenario"
)

// Create makes the scenario that a request asks for, in this process. Without
// deps.JetStream it takes what lies in the archive now. A request that no
// scenario can be made of is a *scenario.InvalidError; one that was answered
// before gets the same version again.
func Create(ctx context.Context, cfg Config, deps Deps, req events.ScenarioRequest) (events.ScenarioReady, error) {
	return create(ctx, cfg, deps, req, time.Now())
}

func create(ctx context.Context, cfg Config, deps Deps, req events.ScenarioRequest, asked time.Time) (events.ScenarioReady, error) {
	chosen, err := check(&req)
	if err != nil {
		return events.ScenarioReady{}, err
	}
	made, err := existing(ctx, deps, req)
	if made != nil || err != nil {
		return ready(made), err
	}
	m, err := build(ctx, cfg, deps, req, chosen, asked)
	if _, invalid := errors.AsType[*scenario.InvalidError](err); err != nil && !invalid {
		return events.ScenarioReady{}, fmt.Errorf("make scenario %s: %w", req.Name, err)
	}
	return ready(m), err
}

func ready(m *scenario.Manifest) events.ScenarioReady {
	if m == nil {
		return events.ScenarioReady{}
	}
	return m.Ready()
}

// check refuses what can't be asked, and says how it can.
func check(req *events.ScenarioRequest) (*selector.Expr, error) {
	if err := scenario.CheckName(req.Name); err != nil {
		return nil, err
	}
	if !req.To.IsZero() && !req.From.Before(req.To) {
		return nil, &scenario.InvalidError{Reason: fmt.Sprintf("the time range from %s to %s is empty", req.From.Format(time.RFC3339), req.To.Format(time.RFC3339))}
	}
	e, err := selector.Parse(req.Selector)
	if err != nil {
		return nil, &scenario.InvalidError{Reason: "selector: " + err.Error()}
	}
	if req.ID == "" {
		req.ID = events.NewID(time.Now()).String()
	}
	return selector.ExcludeReplays(e), nil
}

// existing finds the version when it was made before, and makes sure that it
// is named as one.
func existing(ctx context.Context, deps Deps, req events.ScenarioRequest) (*scenario.Manifest, error) {
	s, err := scenario.Open(ctx, deps.Archive, req.Name, scenario.Version(req.ID))
	if errors.Is(err, scenario.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.Manifest(), scenario.Point(ctx, deps.Archive, s.Manifest())
}

func build(ctx context.Context, cfg Config, deps Deps, req events.ScenarioRequest, chosen *selector.Expr, asked time.Time) (*scenario.Manifest, error) {
	warnings, err := settle(ctx, cfg, deps, req, asked)
	if err != nil {
		return nil, err
	}
	b := scenario.NewBuilder(scenario.Options{
		Name: req.Name, Version: scenario.Version(req.ID), Request: req.ID, By: req.By, Selector: req.Selector,
		Protocols: deps.Protocols, TempDir: cfg.TempDir,
	})
	defer b.Close()
	r := reader{deps: deps, chosen: chosen, from: req.From, to: req.To, add: b.Add}
	if err := r.read(ctx); err != nil {
		return nil, err
	}
	b.Warn(append(warnings, r.warnings()...)...)
	return b.Finish(ctx, deps.Archive)
}
