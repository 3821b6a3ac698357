package traffic

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// shop is traffic of a gateway that calls orders, which calls catalog and an
// outside payment API; somebody calls catalog directly as well.
type shop struct {
	traced   bool
	captured []string // services
}

func (s shop) tapes(t *testing.T) []Received {
	t.Helper()
	lists := map[string][]exchange{}
	record := func(service string, direction events.Direction, host, template string, at time.Time, length time.Duration, span byte) {
		if !slices.Contains(s.captured, service) {
			return
		}
		e := entryAt(at)
		e.DurationUs = length.Microseconds()
		if s.traced {
			e.TraceId, e.SpanId = make([]byte, 16), make([]byte, 8)
			e.TraceId[0], e.SpanId[0], e.SpanId[7] = 1, span, byte(len(lists[service])/8)
		}
		lists[service] = append(lists[service], exchange{e, &events.Endpoint{
			Direction: direction, Protocol: "http", Host: host, Method: "GET", Template: template,
		}})
	}
	in, out := events.Direction_INBOUND, events.Direction_OUTBOUND
	for i := range 4 {
		at := noon.Add(time.Duration(i) * time.Second)
		n := byte(10 * i)
		record("gateway", in, "shop.example", "/checkout", at, 100*time.Millisecond, n+1)
		record("gateway", out, "orders.shop.svc:8080", "/orders", at.Add(time.Millisecond), 80*time.Millisecond, n+2)
		record("orders", in, "orders.shop.svc:8080", "/orders", at.Add(2*time.Millisecond), 78*time.Millisecond, n+2)
		record("orders", out, "catalog", "/items/{id}", at.Add(3*time.Millisecond), 10*time.Millisecond, n+3)
		record("catalog", in, "catalog", "/items/{id}", at.Add(4*time.Millisecond), 9*time.Millisecond, n+3)
		record("orders", out, "pay.example", "/charge", at.Add(20*time.Millisecond), 50*time.Millisecond, n+4)
	}
	record("catalog", in, "catalog.internal", "/items/{id}", noon.Add(time.Minute), 5*time.Millisecond, 200)
	var tapes []Received
	for _, service := range s.captured {
		tapes = append(tapes, newSource(service).tape(t, noon.Add(2*time.Minute), lists[service]))
	}
	return tapes
}

func describe(g *Graph) []string {
	var list []string
	for _, e := range g.Edges {
		network := ""
		if e.Network != nil {
			network = fmt.Sprintf(", network %dµs", *e.Network)
		}
		list = append(list, fmt.Sprintf("%s → %s: %d seen at %s%s", e.From, e.To, e.Requests, e.Seen, network))
	}
	slices.Sort(list)
	return list
}

var everyone = []string{"gateway", "orders", "catalog"}

func TestServiceMapOfTheShop(t *testing.T) {
	complete := []string{
		"c1/shop/gateway → c1/shop/orders: 4 seen at both, network 2000µs",
		"c1/shop/orders → c1/shop/catalog: 4 seen at both, network 1000µs",
		"c1/shop/orders → host:pay.example: 4 seen at caller",
		"client → c1/shop/catalog: 1 seen at callee",
		"client → c1/shop/gateway: 4 seen at callee",
	}
	// Nobody knows which of the five calls of catalog came from whom: no
	// difference of the two sides.
	untraced := slices.Clone(complete)
	untraced[1] = "c1/shop/orders → c1/shop/catalog: 4 seen at both"
	for _, c := range []struct {
		name string
		shop
		selector string
		want     []string
	}{
		{"with trace headers", shop{true, everyone}, "", complete},
		{"without", shop{false, everyone}, "", untraced},
		{"callers only", shop{true, []string{"gateway"}}, "", []string{
			"c1/shop/gateway → host:orders.shop.svc:8080: 4 seen at caller",
			"client → c1/shop/gateway: 4 seen at callee",
		}},
		{"callees only", shop{true, []string{"orders", "catalog"}}, "", []string{
			complete[1], complete[2], complete[3],
			"client → c1/shop/orders: 4 seen at callee",
		}},
		{"edges of one service", shop{true, everyone}, "service=gateway", []string{complete[0], complete[4]}},
		{"edges into a dependency", shop{true, everyone}, "host=pay.example", []string{complete[2]}},
		{"nothing chosen", shop{true, everyone}, "status=500", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := selector.Parse(c.selector)
			if err != nil {
				t.Fatal(err)
			}
			g, err := scanOf(t, c.tapes(t)).Map(t.Context(), Query{Selector: e})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, describe(g)); diff != "" {
				t.Errorf("edges (-want +got):\n%s", diff)
			}
			ids := map[string]bool{}
			for _, n := range g.Nodes {
				ids[n.ID] = true
			}
			for _, edge := range g.Edges {
				if !ids[edge.From] || !ids[edge.To] {
					t.Errorf("edge %s → %s has an end that is no node", edge.From, edge.To)
				}
			}
		})
	}
}

func TestDependenciesOfTheShop(t *testing.T) {
	l, err := scanOf(t, shop{true, everyone}.tapes(t)).Dependencies(t.Context(), Query{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range l.Dependencies {
		target := "outside"
		if d.Target != nil {
			target = d.Target.Service
		}
		got = append(got, fmt.Sprintf("%s → %s (%s): %d", d.Service.Service, d.Host, target, d.Requests))
	}
	want := []string{
		"gateway → orders.shop.svc:8080 (orders): 4",
		"orders → catalog (catalog): 4",
		"orders → pay.example (outside): 4",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dependencies (-want +got):\n%s", diff)
	}
}

func TestResolveHosts(t *testing.T) {
	service := func(namespace, name string) events.Service {
		return events.Service{Cluster: "c1", Namespace: namespace, Service: name}
	}
	in := func(id int64, s events.Service, host string) endpointInfo {
		return endpointInfo{id: id, direction: events.Direction_INBOUND, Service: s, host: host}
	}
	gateway, cart := service("shop", "gateway"), service("shop", "cart")
	r := newResolver([]endpointInfo{
		in(1, gateway, "shop.example"), in(2, cart, "shop.example"), // the gateway hands its host on
		in(3, cart, "10.0.0.7:80"), in(4, service("other", "cart"), ""), in(5, service("shop", "orders"), "orders.local"),
	}, nil)
	for host, want := range map[string]string{
		"shop.example":                    "",
		"10.0.0.7:80":                     "shop/cart",
		"10.0.0.8":                        "",
		"orders.local":                    "shop/orders",
		"cart":                            "shop/cart",
		"cart:8080":                       "shop/cart",
		"cart.other":                      "other/cart",
		"cart.other.svc":                  "other/cart",
		"cart.other.svc.cluster.local:80": "other/cart",
		"cart.other.example":              "",
		"unknown":                         "",
		"":                                "",
	} {
		got := ""
		if s, ok := r.service(&endpointInfo{id: 99, direction: events.Direction_OUTBOUND, Service: service("shop", "web"), host: host}); ok {
			got = s.Namespace + "/" + s.Service
		}
		if got != want {
			t.Errorf("host %q is %q, want %q", host, got, want)
		}
	}
}
