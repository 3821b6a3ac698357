package traffic

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

// Account is what the ledger knows of a source. A source is one run of one
// capture for one workload, and counts from its beginning; all its numbers are
// as of its newest tape in the ledger.
type Account struct {
	Source events.ID `json:"source"`
	events.Service
	Version  string    `json:"version,omitempty"`
	Instance string    `json:"instance,omitempty"`
	LastTape time.Time `json:"last_tape"` // when the newest was closed
	Ended    bool      `json:"ended"`     // the source said that this was its last

	Begun   int64            `json:"begun"`
	Indexed int64            `json:"indexed"`
	Dead    int64            `json:"dead"`
	Purged  int64            `json:"purged"`
	Dropped int64            `json:"dropped"`
	Drops   map[string]int64 `json:"drops,omitempty"` // Dropped by reason
	Open    int64            `json:"open"`
	// Missing were taped and are not in the index: still in the stream or in a
	// spool, or lost.
	Missing      int64 `json:"missing"`
	MissingTapes int64 `json:"missing_tapes"` // the same in tapes, of those before the newest
	SpooledTapes int64 `json:"spooled_tapes"` // in the source's spool when the newest was closed

	Tapes      int64 `json:"tapes"`      // in the index
	Unarchived int64 `json:"unarchived"` // of those, not known to be in the archive

	// Acknowledged is when an operator said that no more will come, with what
	// was missing then.
	Acknowledged time.Time `json:"acknowledged,omitzero"`
	LostTapes    int64     `json:"lost_tapes,omitempty"`
	Lost         int64     `json:"lost,omitempty"`
}

// Unaccounted is begun - (indexed + dead + purged + dropped + open + missing): what the
// source itself lost sight of. Zero is right.
func (a *Account) Unaccounted() int64 {
	return a.Begun - a.Indexed - a.Dead - a.Purged - a.Dropped - a.Open - a.Missing
}

// Audit gives the account of each source that was heard of since a time (zero:
// ever), in the order of their ids.
func (r *Reader) Audit(ctx context.Context, since time.Time) ([]Account, error) {
	rows, err := r.pool.Query(ctx, `
		select t.source, w.cluster, w.namespace, w.service, w.version, w.instance,
			t.closed_at, s.last, t.begun, s.indexed, s.dead, s.purged, t.dropped, t.drops::text, t.open,
			t.taped - s.indexed - s.dead - s.purged, t.number - s.tapes, t.spooled_tapes, s.tapes, s.unarchived,
			k.acknowledged_at, coalesce(k.tapes, 0), coalesce(k.exchanges, 0)
		from (
			select source, count(*) as tapes, bool_or(last) as last,
				sum(exchanges - dead - purged)::int8 as indexed, sum(dead)::int8 as dead, sum(purged)::int8 as purged,
				count(*) filter (where p.tape is null) as unarchived
			from tapes left join places p on p.tape = tapes.id
			where source in (select source from tapes where closed_at >= $1)
			group by source
		) s
		cross join lateral (select * from tapes where source = s.source order by number desc, id desc limit 1) t
		join workloads w on w.id = t.workload_id
		left join acknowledged k on k.source = t.source
		order by t.source`, since)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	accounts, err := pgx.CollectRows(rows, scanAccount)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return accounts, nil
}

func scanAccount(row pgx.CollectableRow) (a Account, err error) {
	var source [16]byte
	var drops string
	var acknowledged *time.Time
	err = row.Scan(&source, &a.Cluster, &a.Namespace, &a.Service.Service, &a.Version, &a.Instance,
		&a.LastTape, &a.Ended, &a.Begun, &a.Indexed, &a.Dead, &a.Purged, &a.Dropped, &drops, &a.Open,
		&a.Missing, &a.MissingTapes, &a.SpooledTapes, &a.Tapes, &a.Unarchived, &acknowledged, &a.LostTapes, &a.Lost)
	if err != nil {
		return a, err
	}
	a.Source, a.Acknowledged = source, valueOf(acknowledged)
	return a, json.Unmarshal([]byte(drops), &a.Drops)
}
