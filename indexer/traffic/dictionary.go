package traffic

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"tapedeck/events"
)

// maxKnown bounds the memory for dictionary ids (16 bytes each).
const maxKnown = 1 << 20

// known remembers which dictionary rows are in the database. It is filled
// after their commit only, and forgotten at any failure: a database that
// failed over may have lost them.
type known struct {
	mu  sync.Mutex
	ids map[int64]struct{}
}

func (k *known) has(id int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.ids[id]
	return ok
}

func (k *known) add(d *dictionary) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ids == nil || len(k.ids) > maxKnown {
		k.ids = map[int64]struct{}{}
	}
	for id := range d.workloads {
		k.ids[id] = struct{}{}
	}
	for id := range d.endpoints {
		k.ids[id] = struct{}{}
	}
}

func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids = nil
}

// dictionary holds the workloads and endpoints that tapes name, by id.
type dictionary struct {
	workloads map[int64]*events.Workload
	endpoints map[int64]endpoint
}

type endpoint struct {
	workload *events.Workload
	*events.Endpoint
}

func newDictionary() *dictionary {
	return &dictionary{map[int64]*events.Workload{}, map[int64]endpoint{}}
}

// unknown is what of d may be missing in the database.
func (d *dictionary) unknown(k *known) *dictionary {
	missing := newDictionary()
	for id, w := range d.workloads {
		if !k.has(id) {
			missing.workloads[id] = w
		}
	}
	for id, p := range d.endpoints {
		if !k.has(id) {
			missing.endpoints[id] = p
		}
	}
	return missing
}

// define writes the dictionary rows that may be missing, in a short
// transaction of its own and sorted: so nobody waits for another's COPY, and
// two indexers can't deadlock.
func (s *Store) define(ctx context.Context, all *dictionary) error {
	d := all.unknown(&s.known)
	if len(d.workloads)+len(d.endpoints) == 0 {
		return nil
	}
	err := transaction(ctx, s.pool, func(tx pgx.Tx) error {
		if err := insertWorkloads(ctx, tx, d.workloads); err != nil {
			return err
		}
		return insertEndpoints(ctx, tx, d.endpoints)
	})
	if err != nil {
		return fmt.Errorf("write dictionary: %w", err)
	}
	s.known.add(d)
	return nil
}

func insertWorkloads(ctx context.Context, tx pgx.Tx, rows map[int64]*events.Workload) error {
	ids := slices.Sorted(maps.Keys(rows))
	var fields [5][]string
	for _, id := range ids {
		w := rows[id]
		for i, v := range []string{w.Cluster, w.Namespace, w.Service, w.Version, w.Instance} {
			fields[i] = append(fields[i], v)
		}
	}
	_, err := tx.Exec(ctx, `
		insert into workloads (id, cluster, namespace, service, version, instance)
		select * from unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
		on conflict do nothing`,
		ids, fields[0], fields[1], fields[2], fields[3], fields[4])
	return err
}

func insertEndpoints(ctx context.Context, tx pgx.Tx, rows map[int64]endpoint) error {
	ids := slices.Sorted(maps.Keys(rows))
	var fields [8][]string
	var replay []bool
	for _, id := range ids {
		p := rows[id]
		w := p.workload
		for i, v := range []string{p.Direction.Name(), w.Cluster, w.Namespace, w.Service, p.Protocol, p.Host, p.Method, p.Template} {
			fields[i] = append(fields[i], v)
		}
		replay = append(replay, p.Replay)
	}
	_, err := tx.Exec(ctx, `
		insert into endpoints (id, replay, direction, cluster, namespace, service, protocol, host, method, template)
		select * from unnest($1::int8[], $2::bool[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
		on conflict do nothing`,
		ids, replay, fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], fields[6], fields[7])
	return err
}
