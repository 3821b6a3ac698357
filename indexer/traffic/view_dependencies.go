package traffic

import (
	"cmp"
	"slices"

	"tapedeck/events"
)

// DependencyList is what services call.
type DependencyList struct {
	Range
	Dependencies []Dependency `json:"dependencies"` // by service, then by requests
}

// Dependency is a backend that outbound exchanges of a service go to.
type Dependency struct {
	events.Service        // the caller
	Host           string `json:"host"`
	Protocol       string `json:"protocol"`
	// Target is the service that answers to the host, when that is known.
	Target    *events.Service `json:"target,omitempty"`
	Endpoints int             `json:"endpoints"` // with exchanges in the range
	Totals
	Quantiles
}

type dependencyKey struct {
	events.Service
	host, protocol string
}

// dependencies are those of the used endpoints, all of which are outbound.
func (t *topology) dependencies() []Dependency {
	r := newResolver(t.dictionary, t.calls)
	sums := map[dependencyKey]*used{}
	endpoints := map[dependencyKey]int{}
	for i := range t.used {
		u := &t.used[i]
		k := dependencyKey{u.Service, u.host, u.protocol}
		if sums[k] == nil {
			sums[k] = &used{endpointInfo: u.endpointInfo}
		}
		sums[k].add(&u.totals)
		endpoints[k]++
	}
	list := []Dependency{}
	for k, u := range sums {
		d := Dependency{
			Service: k.Service, Host: k.host, Protocol: k.protocol, Endpoints: endpoints[k],
			Totals: u.totals.view(), Quantiles: quantiles(&u.histogram),
		}
		if s, ok := r.target(t, k); ok {
			d.Target = &s
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Dependency) int {
		return cmp.Or(
			cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Service.Service, b.Service.Service),
			cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Protocol, b.Protocol))
	})
	return list[:min(len(list), maxEdges)]
}

// target is the service that most requests of a dependency go to.
func (r *resolver) target(t *topology, k dependencyKey) (events.Service, bool) {
	seen := &hostServices{map[events.Service]int64{}}
	for i := range t.used {
		u := &t.used[i]
		if (dependencyKey{u.Service, u.host, u.protocol}) != k {
			continue
		}
		if s, ok := r.service(&u.endpointInfo); ok {
			seen.counts[s] += u.requests
		}
	}
	return seen.most()
}
