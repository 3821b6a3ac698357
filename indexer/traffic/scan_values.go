package traffic

import (
	"context"
	"slices"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// Services lists every service that was ever recorded.
func (s *Scan) Services(ctx context.Context) ([]ServiceInfo, error) {
	workloads, endpoints, err := s.dictionaries(ctx)
	if err != nil {
		return nil, err
	}
	return serviceList(workloads, endpoints), nil
}

// dictionaries are what the index keeps of workloads and endpoints.
func (s *Scan) dictionaries(ctx context.Context) (workloads []workloadInfo, endpoints []endpointInfo, err error) {
	seen := newSeen()
	err = s.all(ctx, func(r *events.Row) { seen.add(r) })
	return seen.workloads, seen.endpoints, err
}

// seen collects dictionaries.
type seen struct {
	workloadIDs map[workloadInfo]bool
	endpointIDs map[endpointInfo]int // without the id
	workloads   []workloadInfo
	endpoints   []endpointInfo
}

func newSeen() *seen {
	return &seen{workloadIDs: map[workloadInfo]bool{}, endpointIDs: map[endpointInfo]int{}}
}

// add returns the number of the row's endpoint.
func (s *seen) add(r *events.Row) int {
	w := workloadInfo{events.Service{Cluster: r.Cluster, Namespace: r.Namespace, Service: r.Service}, r.Version, r.Instance}
	if !s.workloadIDs[w] {
		s.workloadIDs[w] = true
		s.workloads = append(s.workloads, w)
	}
	key := endpointOf(r)
	n, known := s.endpointIDs[key]
	if !known {
		n = len(s.endpoints)
		s.endpointIDs[key] = n
		key.id = r.EndpointID()
		s.endpoints = append(s.endpoints, key)
	}
	return n
}

// Values lists the values of a key, sorted, without the empty one. Values that
// only rows have are those of the last 24 hours of the range.
func (s *Scan) Values(ctx context.Context, q ValuesQuery) ([]string, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if fixed := q.fixed(); fixed != nil {
		return fixed, nil
	}
	filter := selector.ExcludeReplays(q.Selector)
	if !slices.Contains(endpointKeys, q.Key) && q.Key != selector.Version {
		return s.rowValues(ctx, &q, filter)
	}
	workloads, endpoints, err := s.dictionaries(ctx)
	if err != nil {
		return nil, err
	}
	about, _ := split(filter)
	endpoints = slices.DeleteFunc(endpoints, func(e endpointInfo) bool { return !e.matches(about) })
	if q.Key != selector.Version {
		return endpointValues(endpoints, &q), nil
	}
	services, versions := map[events.Service]bool{}, map[string]bool{}
	for _, e := range endpoints {
		services[e.Service] = true
	}
	for _, w := range workloads {
		if services[w.Service] {
			versions[w.version] = true
		}
	}
	return sortedValues(versions, q.Limit), nil
}

func (s *Scan) rowValues(ctx context.Context, q *ValuesQuery, filter *selector.Expr) ([]string, error) {
	newest, err := s.newestIn(ctx, &q.Query)
	if err != nil {
		return nil, err
	}
	bound := q.Query
	if from := newest.Add(-MaxRawRange); from.After(bound.From) {
		bound.From = from
	}
	values := map[string]bool{}
	err = s.each(ctx, func(r *events.Row) {
		switch {
		case !bound.includes(r.Time) || !filter.Match(r):
		case q.Key == selector.Tag && q.Tag == "":
			for _, t := range r.Tags {
				values[t.Key] = true
			}
		default:
			values[selector.ValueOf(r, q.Key, q.Tag)] = true
		}
	})
	return sortedValues(values, q.Limit), err
}
