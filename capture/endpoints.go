package capture

import (
	"hash/maphash"
	"log/slog"
	"sync"

	"tapedeck/events"
)

// overflow is the template of the endpoint for what is beyond the bound.
const overflow = "{overflow}"

// endpoints bounds how many endpoints of its service a process makes. Until
// then an endpoint is a pure function of the exchange; beyond it, whatever is
// new has the overflow endpoint: of an inbound exchange one for all, of an
// outbound one that of its dependency, if that is known.
type endpoints struct {
	max     int // 0: no bound
	log     *slog.Logger
	metrics *metrics

	mu    sync.Mutex
	seed  maphash.Seed
	known map[uint64]struct{} // hashes of endpoints
	hosts map[uint64]struct{} // of their hosts
	full  bool
}

func newEndpoints(bound uint, log *slog.Logger, m *metrics) *endpoints {
	return &endpoints{max: int(bound), log: log, metrics: m, seed: maphash.MakeSeed(), known: map[uint64]struct{}{}, hosts: map[uint64]struct{}{}}
}

type endpointKey struct {
	direction                        events.Direction
	protocol, host, method, template string
	replay                           bool
}

// bound returns p, or the overflow endpoint in its place.
func (e *endpoints) bound(p *events.Endpoint) *events.Endpoint {
	if e == nil || e.max == 0 {
		return p
	}
	key := maphash.Comparable(e.seed, endpointKey{p.Direction, p.Protocol, p.Host, p.Method, p.Template, p.Replay})
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.known[key]; known {
		return p
	}
	host := maphash.String(e.seed, p.Host)
	if len(e.known) < e.max {
		e.known[key], e.hosts[host] = struct{}{}, struct{}{}
		return p
	}
	e.overflowed()
	o := &events.Endpoint{Direction: p.Direction, Protocol: p.Protocol, Template: overflow, Replay: p.Replay}
	if _, known := e.hosts[host]; known && p.Direction == events.Direction_OUTBOUND {
		o.Host = p.Host
	}
	return o
}

// overflowed counts, and says so once.
func (e *endpoints) overflowed() {
	e.metrics.overflowed.Inc()
	if !e.full {
		e.full = true
		e.log.Warn("too many endpoints; new ones are recorded as "+overflow, "max_endpoints", e.max,
			"hint", "name the paths with --openapi FILE, or raise --max-endpoints")
	}
}
