package traffic

import (
	"context"
	"fmt"
)

// Acknowledge notes that an operator knows that no more will come of the sources
// of these accounts, and what of them is missing.
func (s *Store) Acknowledge(ctx context.Context, accounts []Account) error {
	for _, a := range accounts {
		_, err := s.pool.Exec(ctx, `
			insert into acknowledged (source, exchanges, tapes) values ($1, $2, $3)
			on conflict (source) do update set acknowledged_at = now(), exchanges = excluded.exchanges, tapes = excluded.tapes`,
			[16]byte(a.Source), max(a.Missing, 0), max(a.MissingTapes, 0))
		if err != nil {
			return fmt.Errorf("acknowledge source %s: %w", a.Source, err)
		}
	}
	return nil
}
