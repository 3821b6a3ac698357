package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tapedeck/events"
)

// endpointCount is what a recording holds of one endpoint.
type endpointCount struct {
	direction                       events.Direction
	service, host, method, template string
	exchanges                       int
	statuses                        map[string]int
	durations                       []time.Duration
}

// countEndpoints groups rows, inbound first, the busiest first.
func countEndpoints(rows []events.Row) []*endpointCount {
	byKey := map[int64]*endpointCount{}
	var all []*endpointCount
	for i := range rows {
		r := &rows[i]
		c := byKey[r.EndpointID()]
		if c == nil {
			c = &endpointCount{direction: r.Direction, service: r.Service, host: r.Host, method: r.Method, template: r.Template, statuses: map[string]int{}}
			byKey[r.EndpointID()] = c
			all = append(all, c)
		}
		c.exchanges++
		c.statuses[statusText(r)]++
		c.durations = append(c.durations, r.Duration)
	}
	slices.SortFunc(all, func(a, b *endpointCount) int {
		if a.direction != b.direction {
			return int(a.direction) - int(b.direction)
		}
		if a.exchanges != b.exchanges {
			return b.exchanges - a.exchanges
		}
		return strings.Compare(a.method+a.template, b.method+b.template)
	})
	return all
}

// statusText is the status, or in a word why there is none.
func statusText(r *events.Row) string {
	switch {
	case r.Open:
		return "open"
	case r.Status == "":
		return r.Class.Name()
	}
	return r.Status
}

// text lists the statuses: "200×12 404×1".
func (c *endpointCount) text() string {
	var parts []string
	for status, n := range c.statuses {
		parts = append(parts, fmt.Sprintf("%s×%d", status, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func (c *endpointCount) median() time.Duration {
	d := slices.Sorted(slices.Values(c.durations))
	return d[len(d)/2]
}

const endpointsShown = 20

// printEndpoints draws what was recorded, by endpoint.
func printEndpoints(env *Env, counts []*endpointCount) {
	t := &table{head: []string{"COUNT", "P50", "", "SERVICE", "METHOD", "ENDPOINT", "STATUS"}}
	for _, c := range counts[:min(len(counts), endpointsShown)] {
		arrow, where := "→", c.template
		if c.direction == events.Direction_OUTBOUND {
			arrow, where = "⇢", c.host+c.template
		}
		t.add(cell{text: fmt.Sprint(c.exchanges), right: true}, cell{text: shortDuration(c.median()), right: true},
			cell{text: arrow, color: faint}, cell{text: c.service}, cell{text: printable([]byte(c.method))},
			cell{text: printable([]byte(where))}, cell{text: c.text()})
	}
	t.print(env)
	if more := len(counts) - endpointsShown; more > 0 {
		fmt.Fprintf(env.Stdout, "… and %s more\n", plural(more, "endpoint"))
	}
}

// dependenciesOf are the hosts that outbound exchanges went to.
func dependenciesOf(rows []events.Row) []string {
	var hosts []string
	for i := range rows {
		if rows[i].Direction == events.Direction_OUTBOUND && !slices.Contains(hosts, rows[i].Host) {
			hosts = append(hosts, rows[i].Host)
		}
	}
	slices.Sort(hosts)
	return hosts
}
