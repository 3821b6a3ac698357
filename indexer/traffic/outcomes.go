package traffic

import (
	"context"
	"fmt"
	"time"

	"tapedeck/events"
)

// StoreScenario keeps what a scenario.ready event said; data is its JSON.
func (s *Store) StoreScenario(ctx context.Context, v events.ScenarioReady, data []byte) error {
	_, err := s.pool.Exec(ctx, `
		insert into scenarios (name, version, id, created_at, error, data) values ($1, $2, $3, $4, $5, $6)
		on conflict (name, version) do update set
			id = excluded.id, created_at = excluded.created_at, error = excluded.error, data = excluded.data`,
		text(v.Name, maxName), text(v.Version, maxName), text(v.ID, maxName), v.CreatedAt, text(v.Error, maxPath), text(string(data), len(data)*3))
	if err != nil {
		return fmt.Errorf("store scenario %s: %w", v.Name, err)
	}
	return nil
}

// StoreReplay keeps what a replay.result event said; data is its JSON.
func (s *Store) StoreReplay(ctx context.Context, v events.ReplayResult, data []byte) error {
	_, err := s.pool.Exec(ctx, `
		insert into replays (id, scenario, version, target, verdict, started_at, ended_at, data) values ($1, $2, $3, $4, $5, $6, $7, $8)
		on conflict (id) do update set
			scenario = excluded.scenario, version = excluded.version, target = excluded.target, verdict = excluded.verdict,
			started_at = excluded.started_at, ended_at = excluded.ended_at, stored_at = now(), data = excluded.data`,
		text(v.ID, maxName), text(v.Scenario, maxName), text(v.Version, maxName), text(v.Target, maxPath), text(string(v.Verdict), maxName),
		optionalTime(v.StartedAt), optionalTime(v.EndedAt), text(string(data), len(data)*3))
	if err != nil {
		return fmt.Errorf("store replay %s: %w", v.ID, err)
	}
	return nil
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
