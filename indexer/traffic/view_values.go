package traffic

import (
	"cmp"
	"maps"
	"slices"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// ServiceInfo is a service that was ever recorded.
type ServiceInfo struct {
	events.Service
	Versions  []string `json:"versions"`  // without the empty one
	Instances int      `json:"instances"` // that were ever seen
	Inbound   int      `json:"inbound"`   // endpoints, without those of replays
	Outbound  int      `json:"outbound"`
}

// ValuesQuery asks for the values that a key has, for completion.
type ValuesQuery struct {
	// Query chooses exchanges. For keys of endpoints and for version only its
	// conditions on endpoints count, over all time.
	Query
	Key selector.Key
	// Tag is the tag's name when the key is tag; without it the names of tags
	// are the values.
	Tag   string
	Limit int // default 1000, at most 10,000
}

const (
	defaultValues = 1000
	maxValues     = 10_000
)

func (q *ValuesQuery) check() error {
	if q.Limit <= 0 {
		q.Limit = defaultValues
	}
	q.Limit = min(q.Limit, maxValues)
	switch q.Key {
	case selector.Duration, selector.Size, selector.Session, selector.Trace:
		return queryError("%s has too many values to list", q.Key)
	}
	if !slices.Contains(selector.Keys(), string(q.Key)) && q.Key != selector.Tag {
		return queryError("unknown key %q", q.Key)
	}
	return nil
}

// fixed are the values of a key that never has others.
func (q *ValuesQuery) fixed() []string {
	if q.Key == selector.Error {
		return []string{"false", "true"}
	}
	return selector.Words(q.Key)
}

// endpointValues are the distinct values of an endpoint's key, without the
// empty one.
func endpointValues(list []endpointInfo, q *ValuesQuery) []string {
	values := map[string]bool{}
	for i := range list {
		values[list[i].value(q.Key)] = true
	}
	return sortedValues(values, q.Limit)
}

func sortedValues(values map[string]bool, limit int) []string {
	delete(values, "")
	sorted := slices.Sorted(maps.Keys(values))
	if sorted == nil {
		sorted = []string{}
	}
	return sorted[:min(len(sorted), limit)]
}

// workload is what the dictionary of workloads has.
type workloadInfo struct {
	events.Service
	version, instance string
}

// serviceList makes the list of services from the dictionaries.
func serviceList(workloads []workloadInfo, endpoints []endpointInfo) []ServiceInfo {
	services := map[events.Service]*ServiceInfo{}
	versions := map[events.Service]map[string]bool{}
	for _, w := range workloads {
		s := services[w.Service]
		if s == nil {
			s = &ServiceInfo{Service: w.Service}
			services[w.Service], versions[w.Service] = s, map[string]bool{}
		}
		versions[w.Service][w.version] = true
		s.Instances++
	}
	for i := range endpoints {
		e := &endpoints[i]
		s := services[e.Service]
		switch {
		case s == nil || e.replay:
		case e.direction == events.Direction_INBOUND:
			s.Inbound++
		default:
			s.Outbound++
		}
	}
	list := []ServiceInfo{}
	for key, s := range services {
		s.Versions = sortedValues(versions[key], maxValues)
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b ServiceInfo) int { return compareServices(a.Service, b.Service) })
	return list
}

func compareServices(a, b events.Service) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Service, b.Service))
}
