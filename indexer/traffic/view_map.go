package traffic

import (
	"cmp"
	"maps"
	"slices"

	"tapedeck/events"
)

// Graph is the service map.
type Graph struct {
	Range
	Nodes []Node `json:"nodes"` // every end of an edge, and services that were called by nobody
	Edges []Edge `json:"edges"` // by requests, most first
}

// NodeKind says what a node is.
type NodeKind string

// The kinds of nodes.
const (
	ServiceNode    NodeKind = "service"
	DependencyNode NodeKind = "dependency" // a host that no known service answers for
	ClientNode     NodeKind = "client"     // everyone who calls and was not recorded
)

// Node is a service, a dependency or the client.
type Node struct {
	ID      string          `json:"id"` // unique in the graph
	Kind    NodeKind        `json:"kind"`
	Name    string          `json:"name"`              // short: service or host
	Service *events.Service `json:"service,omitempty"` // of services
	// Totals are of the calls into it.
	Totals
	Quantiles
}

// Edge is calls from one node to another, each counted once, whether it was
// recorded at the caller, at the callee or at both.
type Edge struct {
	From      string   `json:"from"` // a node's id
	To        string   `json:"to"`
	Protocols []string `json:"protocols"`
	Seen      Seen     `json:"seen"`
	Totals             // as the caller saw it, where it was recorded there
	Quantiles
	// Network is the mean difference of a call's two durations; absent where
	// it was not recorded at both sides.
	Network *Micros `json:"network_us,omitempty"`
}

// Micros is a duration in µs that may be negative: clocks tick differently.
type Micros int64

// Seen says at which side calls were recorded.
type Seen string

// The sides.
const (
	AtCaller Seen = "caller"
	AtCallee Seen = "callee"
	AtBoth   Seen = "both"
)

const (
	maxEdges = 2000
	clientID = "client"
)

// used is an endpoint with what was counted of it in the range.
type used struct {
	endpointInfo
	totals
}

// call is evidence: outbound exchanges of one endpoint that arrived as inbound
// exchanges of the other one, known by the same span.
type call struct {
	outbound, inbound int64 // endpoint ids
	count             int64
	differenceMicros  int64 // sum of the outbound less the inbound durations
}

// topology is what maps are made of.
type topology struct {
	dictionary []endpointInfo // every known endpoint: who answers to which host
	used       []used
	calls      []call
	// chosen are the endpoints of which the selector chooses an exchange; nil
	// for all. An edge is shown when one of its endpoints is chosen.
	chosen map[int64]bool
}

// arrival is what outbound and inbound exchanges of the same call have in common.
type arrival struct {
	events.Service
	protocol, method, template string
	replay                     bool
}

// arrived are the inbound exchanges of one arrival, with the outbound ones
// that explain them.
type arrived struct {
	totals
	explained totals
	callers   map[edgeKey]bool
	chosen    bool
}

type edgeKey struct{ from, to string }

type edgeSum struct {
	totals
	protocols          map[string]bool
	caller, callee     bool
	chosen             bool
	matched, gapMicros int64 // calls seen at both sides, sum of their differences
	arrivals           map[arrival]bool
}

type mapper struct {
	*topology
	resolver *resolver
	arrivals map[arrival]*arrived
	edges    map[edgeKey]*edgeSum
	nodes    map[string]*nodeSum
}

type nodeSum struct {
	Node
	totals
}

// graph draws the map.
func (t *topology) graph() ([]Node, []Edge) {
	m := &mapper{
		topology: t, resolver: newResolver(t.dictionary, t.calls),
		arrivals: map[arrival]*arrived{}, edges: map[edgeKey]*edgeSum{}, nodes: map[string]*nodeSum{},
	}
	for i := range t.used {
		if u := &t.used[i]; u.direction == events.Direction_INBOUND {
			m.inbound(u)
		}
	}
	for i := range t.used {
		if u := &t.used[i]; u.direction == events.Direction_OUTBOUND {
			m.outbound(u)
		}
	}
	m.meet()
	m.clients()
	return m.result()
}

func (m *mapper) isChosen(u *used) bool { return m.chosen == nil || m.chosen[u.id] }

func (m *mapper) inbound(u *used) {
	key := arrival{u.Service, u.protocol, u.method, u.template, u.replay}
	a := m.arrivals[key]
	if a == nil {
		a = &arrived{callers: map[edgeKey]bool{}}
		m.arrivals[key] = a
	}
	a.totals.add(&u.totals)
	a.chosen = a.chosen || m.isChosen(u)
	m.service(u.Service).add(&u.totals)
}

func (m *mapper) outbound(u *used) {
	from := m.service(u.Service)
	to, arrivesAs := m.target(u)
	e := m.edge(edgeKey{from.ID, to.ID})
	e.add(&u.totals)
	e.caller = true
	e.protocols[u.protocol] = true
	e.chosen = e.chosen || m.isChosen(u)
	a := m.arrivals[arrivesAs]
	if a == nil { // recorded here only
		to.add(&u.totals)
	} else {
		a.explained.add(&u.totals)
		a.callers[edgeKey{from.ID, to.ID}] = true
		e.callee = true
		e.arrivals[arrivesAs] = true
		e.chosen = e.chosen || a.chosen
	}
	for _, c := range m.resolver.evidence[u.id] {
		e.matched += c.count
		e.gapMicros += c.differenceMicros
	}
}

// target is the node that an outbound endpoint goes to, and as what it arrives
// there.
func (m *mapper) target(u *used) (*nodeSum, arrival) {
	s, known := m.resolver.service(&u.endpointInfo)
	if !known {
		return m.node(Node{ID: "host:" + u.host, Kind: DependencyNode, Name: u.host}), arrival{}
	}
	if i := m.resolver.inbound(u.id); i != nil {
		return m.service(s), arrival{i.Service, i.protocol, i.method, i.template, i.replay}
	}
	return m.service(s), arrival{s, u.protocol, u.method, u.template, u.replay}
}

// meet measures edges without spans: where every inbound exchange is explained
// by one caller, the sums of both sides can be compared.
func (m *mapper) meet() {
	for key, e := range m.edges {
		if e.matched > 0 {
			continue
		}
		for a := range e.arrivals {
			in := m.arrivals[a]
			if len(in.callers) == 1 && in.callers[key] && in.requests == in.explained.requests {
				e.matched += in.requests
				e.gapMicros += in.explained.durationMicros - in.durationMicros
			}
		}
	}
}

// clients draws what arrived and that no recorded caller sent.
func (m *mapper) clients() {
	for key, a := range m.arrivals {
		rest := a.unexplained()
		if rest.requests == 0 {
			continue
		}
		m.node(Node{ID: clientID, Kind: ClientNode, Name: "client"})
		e := m.edge(edgeKey{clientID, m.service(key.Service).ID})
		e.add(rest)
		e.callee = true
		e.protocols[key.protocol] = true
		e.chosen = e.chosen || a.chosen
	}
}

// unexplained is what remains of the inbound exchanges without the explained
// ones. Which of them remain is not known: durations are shared out evenly.
func (a *arrived) unexplained() *totals {
	n := a.requests - a.explained.requests
	if n <= 0 {
		return &totals{}
	}
	if a.explained.requests == 0 {
		return &a.totals
	}
	rest := &totals{
		requests: n, maxMicros: a.maxMicros, histogram: a.histogram,
		requestBytes:   max(0, a.requestBytes-a.explained.requestBytes),
		responseBytes:  max(0, a.responseBytes-a.explained.responseBytes),
		durationMicros: a.durationMicros / a.requests * n,
	}
	rest.client = min(n, max(0, a.client-a.explained.client))
	rest.server = min(n-rest.client, max(0, a.server-a.explained.server))
	rest.failed = min(n-rest.client-rest.server, max(0, a.failed-a.explained.failed))
	rest.ok = n - rest.client - rest.server - rest.failed
	return rest
}

func (m *mapper) service(s events.Service) *nodeSum {
	return m.node(Node{ID: s.Cluster + "/" + s.Namespace + "/" + s.Service, Kind: ServiceNode, Name: s.Service, Service: &s})
}

func (m *mapper) node(n Node) *nodeSum {
	if m.nodes[n.ID] == nil {
		m.nodes[n.ID] = &nodeSum{Node: n}
	}
	return m.nodes[n.ID]
}

func (m *mapper) edge(k edgeKey) *edgeSum {
	if m.edges[k] == nil {
		m.edges[k] = &edgeSum{protocols: map[string]bool{}, arrivals: map[arrival]bool{}}
	}
	return m.edges[k]
}

func (m *mapper) result() (nodes []Node, edges []Edge) {
	shown := map[string]bool{}
	for k, e := range m.edges {
		if !e.chosen {
			continue
		}
		edges = append(edges, e.view(k))
	}
	slices.SortFunc(edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	edges = edges[:min(len(edges), maxEdges)]
	for _, e := range edges {
		shown[e.From], shown[e.To] = true, true
	}
	for _, id := range slices.Sorted(maps.Keys(m.nodes)) {
		if n := m.nodes[id]; shown[id] {
			n.Node.Totals, n.Node.Quantiles = n.totals.view(), quantiles(&n.totals.histogram)
			nodes = append(nodes, n.Node)
		}
	}
	return nodes, edges
}

func (e *edgeSum) view(k edgeKey) Edge {
	v := Edge{
		From: k.from, To: k.to, Protocols: slices.Sorted(maps.Keys(e.protocols)),
		Seen: AtCaller, Totals: e.totals.view(), Quantiles: quantiles(&e.histogram),
	}
	switch {
	case e.caller && e.callee:
		v.Seen = AtBoth
	case e.callee:
		v.Seen = AtCallee
	}
	if e.matched > 0 {
		n := Micros(e.gapMicros / e.matched)
		v.Network = &n
	}
	return v
}
