package traffic

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"tapedeck/events"
)

// Received is a tape to be indexed, as far as its front.
type Received struct {
	*events.Front
	// At is when the queue got the tape; closed_at for one from the archive.
	At time.Time
}

// clockTolerance is how much later than its message an exchange may claim to be.
const clockTolerance = 5 * time.Minute

// prepared is a tape whose rows are ready to be written.
type prepared struct {
	Received
	id        events.ID
	workload  int64
	endpoints []int64 // by Index.endpoints
	rows      []row   // kind exchange
	opens     []row   // kind open
	dead      int
	purged    int // exchanges of the tape that were purged
}

// row is an entry, with what the index makes of it.
type row struct {
	tape     *prepared
	entry    *events.Entry
	time     int64 // Unix µs of the first byte
	endpoint int64
	flags    uint32
}

// Check says whether a tape can be stored at all; errors wrap ErrRefused.
func Check(f *events.Front) error {
	for i, p := range f.Index.Endpoints {
		if p.Direction != events.Direction_INBOUND && p.Direction != events.Direction_OUTBOUND {
			return fmt.Errorf("%w: tape %s: endpoint %d has no direction", ErrRefused, f.TapeID(), i)
		}
	}
	return nil
}

// prepare cleans texts and times and names the dictionary rows, in d.
func prepare(r Received, d *dictionary) (*prepared, error) {
	if err := Check(r.Front); err != nil {
		return nil, err
	}
	w := cleanWorkload(r.Header.Workload)
	p := &prepared{Received: r, id: r.TapeID(), purged: int(r.Header.Purged)}
	key := events.Row{Cluster: w.Cluster, Namespace: w.Namespace, Service: w.Service, Version: w.Version, Instance: w.Instance}
	p.workload = key.WorkloadID()
	d.workloads[p.workload] = w
	for _, raw := range r.Index.Endpoints {
		e := cleanEndpoint(raw)
		key.Direction, key.Protocol, key.Host, key.Method, key.Template, key.Replay =
			e.Direction, e.Protocol, e.Host, e.Method, e.Template, e.Replay
		id := key.EndpointID()
		p.endpoints = append(p.endpoints, id)
		d.endpoints[id] = endpoint{w, e}
	}
	for _, e := range r.Index.Entries {
		p.add(e)
	}
	return p, nil
}

func (p *prepared) add(e *events.Entry) {
	x := row{tape: p, entry: e, time: floorDiv(int64(e.Time), 1000), endpoint: p.endpoints[e.Endpoint], flags: e.Flags}
	late := int64(e.Time) > p.At.Add(clockTolerance).UnixNano()
	switch e.Kind {
	case events.Kind_EXCHANGE:
		if late {
			// A clock in 2031 would lead every list for years; the tape keeps
			// what it said.
			x.time, x.flags = p.At.UnixMicro(), x.flags|uint32(events.Flag_CLOCK)
		}
		p.rows = append(p.rows, x)
	case events.Kind_OPEN:
		// With a corrected time it would never meet its exchange's row.
		if !late {
			p.opens = append(p.opens, x)
		}
	}
}

// timeRange is of the rows written, in Unix µs; ok is false without rows.
func (p *prepared) timeRange() (first, last int64, ok bool) {
	first, last = math.MaxInt64, math.MinInt64
	for _, r := range p.rows {
		first, last = min(first, r.time), max(last, r.time)
	}
	return first, last, len(p.rows) > 0
}

// sortRows puts rows into the order of time, so that indexes grow at their end.
func sortRows(rows []row) {
	slices.SortFunc(rows, func(a, b row) int {
		if c := cmp.Compare(a.time, b.time); c != 0 {
			return c
		}
		return bytes.Compare(a.entry.Id, b.entry.Id)
	})
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
