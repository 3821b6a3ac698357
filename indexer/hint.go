package indexer

import (
	"slices"
	"time"

	"tapedeck/events"
)

// maxHintEndpoints bounds the hint's size well below the server's max_payload;
// the busiest are named.
const maxHintEndpoints = 200

// hint says what came with a tape: ended exchanges by endpoint.
func hint(f *events.Front) events.Indexed {
	w := f.Header.Workload
	h := events.Indexed{Service: events.Service{Cluster: w.Cluster, Namespace: w.Namespace, Service: w.Service}, Tape: f.TapeID()}
	counts := make([]events.IndexedEndpoint, len(f.Index.Endpoints))
	first, last := int64(0), int64(0)
	for _, e := range f.Index.Entries {
		if e.Kind != events.Kind_EXCHANGE {
			continue
		}
		at := int64(e.Time)
		if h.Exchanges == 0 {
			first, last = at, at
		}
		first, last = min(first, at), max(last, at)
		h.Exchanges++
		c := &counts[e.Endpoint]
		if c.Requests == 0 {
			describe(c, f, e)
		}
		c.Requests++
		if e.Class == events.StatusClass_SERVER || e.Class == events.StatusClass_FAILED {
			c.Errors++
		}
	}
	if h.Exchanges > 0 {
		h.From, h.To = time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
	}
	h.Endpoints = busiest(counts)
	return h
}

func describe(c *events.IndexedEndpoint, f *events.Front, e *events.Entry) {
	r := f.Row(e)
	c.ID, c.Direction, c.Protocol, c.Host, c.Method, c.Template, c.Replay =
		r.EndpointID(), r.Direction.Name(), r.Protocol, r.Host, r.Method, r.Template, r.Replay
}

func busiest(counts []events.IndexedEndpoint) []events.IndexedEndpoint {
	counts = slices.DeleteFunc(counts, func(c events.IndexedEndpoint) bool { return c.Requests == 0 })
	if len(counts) <= maxHintEndpoints {
		return counts
	}
	slices.SortStableFunc(counts, func(a, b events.IndexedEndpoint) int { return b.Requests - a.Requests })
	return counts[:maxHintEndpoints]
}
