package replayer

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"tapedeck/events"
	"tapedeck/replayer/report"
)

// Bounds of what a replay remembers.
const (
	maxMisses      = 10_000   // kept for misses.json; all are counted
	maxMissBytes   = 32 << 20 // of all kept misses
	maxDetails     = 200      // misses with both answers
	maxDetailBytes = 16 << 20 // of all details
	maxEndpoints   = 2_000    // counted apart; the rest is one endpoint
	maxLatency     = time.Hour
)

// outcome is what came of one test.
type outcome struct {
	method, template string
	latency          time.Duration // from the intended start
	recorded         time.Duration
	kind             outcomeKind
	redacted         bool                 // passed, as far as redaction lets it be known
	miss             events.Miss          // of missed and failed
	detail           func() report.Detail // of missed and failed
}

type outcomeKind int

const (
	passed outcomeKind = iota
	missed
	failed    // no complete answer
	unchecked // nothing was proved
)

// tally adds up outcomes. It is safe for concurrent use.
type tally struct {
	mu          sync.Mutex
	tests       events.Checked
	answers     int
	latency     *hdrhistogram.Histogram // µs
	endpoints   map[endpoint]*endpointTally
	misses      []events.Miss
	missBytes   int
	details     []report.Detail
	detailBytes int
}

type endpoint struct{ method, template string }

type endpointTally struct {
	tests             events.Checked
	latency, recorded *hdrhistogram.Histogram // µs
}

func newTally() *tally {
	return &tally{latency: newHistogram(3), endpoints: map[endpoint]*endpointTally{}}
}

func newHistogram(digits int) *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxLatency.Microseconds(), digits)
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	h.RecordValue(min(max(d, time.Microsecond), maxLatency).Microseconds()) // in its range: never an error
}

// plan sets how many tests there are to send, and how many that can't be sent.
func (t *tally) plan(total, leftOut int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tests.Total, t.tests.Unchecked = total+leftOut, leftOut
}

// planSent says that what was sent is all there was to send.
func (t *tally) planSent() {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.tests
	c.Total = c.Passed + c.Missed + c.Failed + c.Unchecked
}

// add counts an outcome.
func (t *tally) add(o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.endpoint(endpoint{o.method, o.template})
	e.tests.Total++
	count(&t.tests, &o)
	count(&e.tests, &o)
	if o.kind == passed || o.kind == missed {
		t.answers++
	}
	// A request that was not answered in time counts with the time it took;
	// one that could not be sent has no latency.
	if o.latency > 0 {
		record(t.latency, o.latency)
		record(e.latency, o.latency)
		record(e.recorded, o.recorded)
	}
	if o.kind == missed || o.kind == failed {
		t.addMiss(o)
	}
}

func count(c *events.Checked, o *outcome) {
	switch o.kind {
	case passed:
		c.Passed++
		if o.redacted {
			c.Redacted++
		}
	case missed:
		c.Missed++
	case failed:
		c.Failed++
	case unchecked:
		c.Unchecked++
	}
}

func (t *tally) endpoint(key endpoint) *endpointTally {
	e := t.endpoints[key]
	if e == nil && len(t.endpoints) >= maxEndpoints {
		key = endpoint{"", "(others)"}
		e = t.endpoints[key]
	}
	if e == nil {
		e = &endpointTally{latency: newHistogram(2), recorded: newHistogram(2)}
		t.endpoints[key] = e
	}
	return e
}

func (t *tally) addMiss(o outcome) {
	if len(t.misses) < maxMisses && t.missBytes < maxMissBytes {
		t.misses = append(t.misses, o.miss)
		for _, d := range o.miss.Diffs {
			t.missBytes += len(d.Place) + len(d.Want) + len(d.Got)
		}
	}
	if len(t.details) >= maxDetails || t.detailBytes >= maxDetailBytes {
		return
	}
	d := o.detail()
	t.details = append(t.details, d)
	t.detailBytes += len(d.Request.Body) + len(d.Recorded.Body) + len(d.Got.Body)
}

// progress is the tally as it is.
func (t *tally) progress(id string, shard int, elapsed time.Duration, final bool) (events.ReplayProgress, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	histogram, err := packHistogram(t.latency)
	return events.ReplayProgress{
		ID: id, Shard: shard, Elapsed: elapsed, Planned: t.tests.Total, Tests: t.tests, Histogram: histogram, Final: final,
	}, err
}

func packHistogram(h *hdrhistogram.Histogram) ([]byte, error) {
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, fmt.Errorf("encode histogram: %w", err)
	}
	return base64.StdEncoding.AppendDecode(nil, text)
}

// UnpackHistogram reads the histogram of a ReplayProgress, to be merged with
// those of other shards. Values are µs.
func UnpackHistogram(packed []byte) (*hdrhistogram.Histogram, error) {
	h, err := hdrhistogram.Decode(base64.StdEncoding.AppendEncode(nil, packed))
	if err != nil {
		return nil, fmt.Errorf("decode histogram: %w", err)
	}
	return h, nil
}

// fill puts what was counted into a result.
func (t *tally) fill(r *events.ReplayResult, elapsed time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Tests, r.Errors = t.tests, t.tests.Failed
	r.Latency = latencyOf(t.latency)
	if elapsed > 0 {
		r.Throughput = float64(t.answers) / elapsed.Seconds()
	}
	r.Misses = slices.Clone(t.misses)
	r.Endpoints = nil
	for key, e := range t.endpoints {
		r.Endpoints = append(r.Endpoints, events.EndpointResult{
			Method: key.method, Template: key.template, Tests: e.tests, Latency: latencyOf(e.latency),
			Recorded: micros(e.recorded.ValueAtQuantile(50)),
		})
	}
	slices.SortFunc(r.Endpoints, byTrouble)
}

// byTrouble puts endpoints with misses first, then those with more tests.
func byTrouble(a, b events.EndpointResult) int {
	return cmp.Or(
		cmp.Compare(b.Tests.Missed+b.Tests.Failed, a.Tests.Missed+a.Tests.Failed),
		cmp.Compare(b.Tests.Total, a.Tests.Total),
		cmp.Compare(a.Template, b.Template),
		cmp.Compare(a.Method, b.Method),
	)
}

func latencyOf(h *hdrhistogram.Histogram) events.Latency {
	if h.TotalCount() == 0 {
		return events.Latency{}
	}
	return events.Latency{
		Count: h.TotalCount(), Min: micros(h.Min()), Mean: time.Duration(h.Mean() * float64(time.Microsecond)),
		P50: micros(h.ValueAtQuantile(50)), P90: micros(h.ValueAtQuantile(90)), P95: micros(h.ValueAtQuantile(95)),
		P99: micros(h.ValueAtQuantile(99)), P999: micros(h.ValueAtQuantile(99.9)), Max: micros(h.Max()),
	}
}

func micros(us int64) time.Duration { return time.Duration(us) * time.Microsecond }
