package traffic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// Views is what users look at. A Reader answers from the index, a Scan from
// the tapes themselves: of the same exchanges they say the same.
//
// Every view but Get, Trace and Session leaves replays out unless the selector
// mentions the key replay.
type Views interface {
	List(context.Context, ListQuery) (*Page, error)
	Get(context.Context, events.ID) (*Located, error)
	Trace(context.Context, events.TraceID) ([]Step, error)
	Session(context.Context, SessionQuery) ([]Step, error)
	Throughput(context.Context, SeriesQuery) (*Throughput, error)
	Latency(context.Context, SeriesQuery) (*Latency, error)
	HeatMap(context.Context, SeriesQuery) (*HeatMap, error)
	Top(context.Context, TopQuery) (*Top, error)
	Dependencies(context.Context, Query) (*DependencyList, error)
	Map(context.Context, Query) (*Graph, error)
	Services(context.Context) ([]ServiceInfo, error)
	Values(context.Context, ValuesQuery) ([]string, error)
}

var (
	_ Views = (*Reader)(nil)
	_ Views = (*Scan)(nil)
)

// ErrNotFound says that an exchange is not in the index (or not any more).
var ErrNotFound = errors.New("exchange not found")

// ErrQuery is wrapped by errors about a query that can't be answered as asked.
var ErrQuery = errors.New("query refused")

func queryError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrQuery, fmt.Sprintf(format, args...))
}

// Query chooses exchanges: those of the selector whose first byte is in
// [From, To). A zero time is no bound, a nil selector everything.
type Query struct {
	Selector *selector.Expr `json:"selector,omitempty"`
	From     time.Time      `json:"from,omitzero"`
	To       time.Time      `json:"to,omitzero"`
}

// includes says whether t is in the range.
func (q *Query) includes(t time.Time) bool {
	return (q.From.IsZero() || !t.Before(q.From)) && (q.To.IsZero() || t.Before(q.To))
}

// Place is where a tape lies in the archive.
type Place struct {
	Object string `json:"object"`
	Offset int64  `json:"offset"` // of the tape's first byte
	Length int64  `json:"length"` // of the tape
}

// Located is an exchange with the place of its tape; Place is nil while the
// tape is not archived yet, and from a Scan, which does not know it.
type Located struct {
	events.Row
	Place *Place `json:"place,omitempty"`
}

// Totals add up exchanges.
type Totals struct {
	Requests      int64         `json:"requests"`
	OK            int64         `json:"ok"`
	Client        int64         `json:"client"`
	Server        int64         `json:"server"`
	Failed        int64         `json:"failed"`
	RequestBytes  int64         `json:"request_bytes"`
	ResponseBytes int64         `json:"response_bytes"`
	Mean          time.Duration `json:"mean_ns"` // duration
	Max           time.Duration `json:"max_ns"`
}

// Errors are the exchanges that the selector key error finds.
func (t Totals) Errors() int64 { return t.Server + t.Failed }

func (t *totals) view() Totals {
	v := Totals{
		Requests: t.requests, OK: t.ok, Client: t.client, Server: t.server, Failed: t.failed,
		RequestBytes: t.requestBytes, ResponseBytes: t.responseBytes,
		Max: time.Duration(t.maxMicros) * time.Microsecond,
	}
	if t.requests > 0 {
		v.Mean = time.Duration(t.durationMicros/t.requests) * time.Microsecond
	}
	return v
}

// Quantiles of the duration are known to ±9 %.
type Quantiles struct {
	P50 time.Duration `json:"p50_ns"`
	P90 time.Duration `json:"p90_ns"`
	P95 time.Duration `json:"p95_ns"`
	P99 time.Duration `json:"p99_ns"`
}

func quantiles(h *Histogram) Quantiles {
	return Quantiles{h.Quantile(0.5), h.Quantile(0.9), h.Quantile(0.95), h.Quantile(0.99)}
}

// Labels say what a series is of: the keys it was split by.
type Labels map[selector.Key]string

// splitKeys are the keys that series can be split by.
var splitKeys = []selector.Key{
	selector.Cluster, selector.Namespace, selector.Service, selector.Direction, selector.Protocol,
	selector.Host, selector.Method, selector.Endpoint,
}

func checkSplit(by []selector.Key) error {
	for _, k := range by {
		if !slices.Contains(splitKeys, k) {
			return queryError("series can't be split by %q, but by %v", k, splitKeys)
		}
	}
	return nil
}

// endpointInfo is an endpoint with its service, as the dictionary has it.
type endpointInfo struct {
	id        int64
	replay    bool
	direction events.Direction
	events.Service
	protocol, host, method, template string
}

// endpointOf is the endpoint of a row, without its id: hashing is dear.
func endpointOf(r *events.Row) endpointInfo {
	return endpointInfo{
		replay: r.Replay, direction: r.Direction,
		Service:  events.Service{Cluster: r.Cluster, Namespace: r.Namespace, Service: r.Service},
		protocol: r.Protocol, host: r.Host, method: r.Method, template: r.Template,
	}
}

func (e *endpointInfo) value(k selector.Key) string {
	switch k {
	case selector.Cluster:
		return e.Cluster
	case selector.Namespace:
		return e.Namespace
	case selector.Service:
		return e.Service.Service
	case selector.Direction:
		return e.direction.Name()
	case selector.Protocol:
		return e.protocol
	case selector.Host:
		return e.host
	case selector.Method:
		return e.method
	case selector.Endpoint:
		return e.template
	}
	return ""
}

func (e *endpointInfo) labels(by []selector.Key) Labels {
	l := make(Labels, len(by))
	for _, k := range by {
		l[k] = e.value(k)
	}
	return l
}
