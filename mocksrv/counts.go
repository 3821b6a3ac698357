package mocksrv

import (
	"maps"
	"slices"
	"sync"

	"tapedeck/events"
	"tapedeck/scenariogen/scenario"
)

const (
	maxMisses    = 20  // shown of each dependency; all are counted
	maxStrangers = 100 // hosts that are counted apart
	otherHosts   = "(other hosts)"
)

// counts are what the mock of one dependency saw.
type counts struct {
	mu     sync.Mutex
	result events.MockResult
}

func (c *counts) serve(level scenario.Level) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.Served++
	if level == scenario.Redacted {
		c.result.Redacted++
	}
}

func (c *counts) passThrough() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.PassedThrough++
}

func (c *counts) miss(m events.MockMiss) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.Missed++
	if len(c.result.Misses) < maxMisses {
		c.result.Misses = append(c.result.Misses, m)
	}
}

func (c *counts) soFar(name, address string) events.MockResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.result
	r.Dependency, r.Address, r.Misses = name, address, slices.Clone(r.Misses)
	return r
}

// Results are the counts so far: of each dependency, then of the hosts that
// were called through the proxy without being one.
func (s *Server) Results() []events.MockResult {
	var all []events.MockResult
	for _, d := range s.sorted() {
		all = append(all, d.soFar(d.Name, d.listener.Addr().String()))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, host := range slices.Sorted(maps.Keys(s.strangers)) {
		all = append(all, s.strangers[host].soFar(host, ""))
	}
	return all
}

// stranger counts for a host that is no dependency.
func (s *Server) stranger(host string) *counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.strangers[host]
	if c == nil && len(s.strangers) >= maxStrangers {
		host = otherHosts
		c = s.strangers[host]
	}
	if c == nil {
		c = &counts{}
		s.strangers[host] = c
	}
	return c
}
