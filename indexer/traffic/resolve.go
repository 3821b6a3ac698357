package traffic

import (
	"cmp"
	"net"
	"slices"
	"strings"

	"tapedeck/events"
)

// resolver says which service answers to the host of an outbound endpoint:
//
//  1. the service that the same spans arrived at,
//  2. the service that the spans of other endpoints of the same host arrived at,
//  3. the only service that is called by that host,
//  4. a known service by its Kubernetes name, seen from the caller.
//
// Else it stays a host.
type resolver struct {
	endpoints map[int64]*endpointInfo
	evidence  map[int64][]call          // by outbound endpoint, most calls first
	learnt    map[hostKey]*hostServices // 2
	called    map[hostKey]*hostServices // 3
	known     map[events.Service]bool
}

type hostKey struct{ cluster, host string }

// hostServices are the services that were seen behind a host.
type hostServices struct{ counts map[events.Service]int64 }

func newResolver(dictionary []endpointInfo, calls []call) *resolver {
	r := &resolver{
		endpoints: map[int64]*endpointInfo{}, evidence: map[int64][]call{},
		learnt: map[hostKey]*hostServices{}, called: map[hostKey]*hostServices{}, known: map[events.Service]bool{},
	}
	for i := range dictionary {
		e := &dictionary[i]
		r.endpoints[e.id] = e
		r.known[e.Service] = true
		if e.direction == events.Direction_INBOUND && e.host != "" {
			count(r.called, e, e.Service, 1)
		}
	}
	for _, c := range calls {
		out, in := r.endpoints[c.outbound], r.endpoints[c.inbound]
		if out == nil || in == nil {
			continue
		}
		r.evidence[c.outbound] = append(r.evidence[c.outbound], c)
		count(r.learnt, out, in.Service, c.count)
	}
	for _, list := range r.evidence {
		slices.SortFunc(list, func(a, b call) int {
			return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.inbound, b.inbound))
		})
	}
	return r
}

func count(hosts map[hostKey]*hostServices, e *endpointInfo, s events.Service, n int64) {
	k := hostKey{e.Cluster, e.host}
	if hosts[k] == nil {
		hosts[k] = &hostServices{map[events.Service]int64{}}
	}
	hosts[k].counts[s] += n
}

// inbound is the endpoint that the spans of an outbound one arrived at; nil
// when there are none.
func (r *resolver) inbound(outbound int64) *endpointInfo {
	if list := r.evidence[outbound]; len(list) > 0 {
		return r.endpoints[list[0].inbound]
	}
	return nil
}

func (r *resolver) service(e *endpointInfo) (events.Service, bool) {
	if in := r.inbound(e.id); in != nil {
		return in.Service, true
	}
	k := hostKey{e.Cluster, e.host}
	if s, ok := r.learnt[k].most(); ok {
		return s, true
	}
	if s, ok := r.called[k].only(e.Service); ok {
		return s, true
	}
	return r.kubernetes(e)
}

// most is the service seen most often.
func (h *hostServices) most() (best events.Service, ok bool) {
	if h == nil {
		return best, false
	}
	for s, n := range h.counts {
		if !ok || n > h.counts[best] || n == h.counts[best] && compareServices(s, best) < 0 {
			best, ok = s, true
		}
	}
	return best, ok
}

// only is the one service that answers to the host, the caller itself left
// out: a gateway hands its own host on to those behind it.
func (h *hostServices) only(caller events.Service) (only events.Service, ok bool) {
	if h == nil {
		return only, false
	}
	for s := range h.counts {
		if s == caller {
			continue
		}
		if ok {
			return events.Service{}, false
		}
		only, ok = s, true
	}
	return only, ok
}

// kubernetes reads orders, orders.shop and orders.shop.svc.cluster.local.
func (r *resolver) kubernetes(e *endpointInfo) (events.Service, bool) {
	host := e.host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if net.ParseIP(host) != nil {
		return events.Service{}, false
	}
	s := events.Service{Cluster: e.Cluster, Namespace: e.Namespace}
	labels := strings.Split(host, ".")
	s.Service = labels[0]
	if len(labels) > 1 {
		s.Namespace = labels[1]
	}
	if len(labels) > 2 && labels[2] != "svc" {
		return events.Service{}, false
	}
	return s, r.known[s]
}
